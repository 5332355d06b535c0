"""Pure environments: `reset(key)`, `step(key, state, action)`; see `base.Environment`.

`spec.EnvSpec` describes one with all that belongs to it, and `register` makes it known.
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
