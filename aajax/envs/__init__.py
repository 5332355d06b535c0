"""Pure worlds: `reset(key)`, `step(key, state, action)`; see `base.Environment`."""

from aajax.envs.base import ActionSpace, Box, Discrete, Environment, MultiDiscrete
from aajax.envs.registry import ENVIRONMENTS, is_matrix_game, make, parameters
from aajax.envs.wrappers import AutoReset

__all__ = [
    "ENVIRONMENTS",
    "ActionSpace",
    "AutoReset",
    "Box",
    "Discrete",
    "Environment",
    "MultiDiscrete",
    "is_matrix_game",
    "make",
    "parameters",
]
