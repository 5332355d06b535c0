"""Pure worlds: `reset(key)`, `step(key, state, action)`; see `base.Environment`."""

from aajax.envs.base import Discrete, Environment
from aajax.envs.registry import ENVIRONMENTS, make
from aajax.envs.wrappers import AutoReset

__all__ = ["ENVIRONMENTS", "AutoReset", "Discrete", "Environment", "make"]
