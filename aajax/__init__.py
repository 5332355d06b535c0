"""Advantage Alignment in JAX, for small networks and for LLMs."""

from aajax import envs, learners, nets, ops, policies, rollout
from aajax.types import TimeStep, Trajectory

__version__ = "0.1.0"

__all__ = [
    "TimeStep",
    "Trajectory",
    "envs",
    "learners",
    "nets",
    "ops",
    "policies",
    "rollout",
]
