"""Pure-function environments, `reset(key)` and `step(key, state, action)`.

`base.Environment` is the protocol. `spec.EnvSpec` describes an environment and what
comes with it (scripted players, measures, text, ...); `register` adds one by name.
"""

from aajax.envs.base import ActionSpace, Box, Discrete, Environment, MultiDiscrete
from aajax.envs.check import check_environment
from aajax.envs.registry import find_spec, make, names, register
from aajax.envs.spec import EnvSpec, Players, TextSpec
from aajax.envs.wrappers import AutoReset

__all__ = [
    "ActionSpace",
    "AutoReset",
    "Box",
    "Discrete",
    "EnvSpec",
    "Environment",
    "MultiDiscrete",
    "Players",
    "TextSpec",
    "check_environment",
    "find_spec",
    "make",
    "names",
    "register",
]
