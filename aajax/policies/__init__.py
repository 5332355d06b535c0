"""How a seat acts: policies over plain pytrees, scripted players, seating."""

from aajax.policies.base import (
    Evaluation,
    Network,
    Policy,
    PolicyOutput,
    categorical_policy,
)
from aajax.policies.seating import seated

__all__ = [
    "Evaluation",
    "Network",
    "Policy",
    "PolicyOutput",
    "categorical_policy",
    "seated",
]
