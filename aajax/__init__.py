"""Advantage Alignment in JAX, for small networks and for LLMs."""

from aajax import envs, learners, nets, ops, policies, rollout
from aajax.envs import EnvSpec, Players, TextSpec, make, register
from aajax.types import TimeStep, Trajectory

__version__ = "0.1.0"

__all__ = [
    "EnvSpec",
    "Players",
    "TextSpec",
    "TimeStep",
    "Trajectory",
    "envs",
    "learners",
    "make",
    "nets",
    "ops",
    "policies",
    "register",
    "rollout",
]
