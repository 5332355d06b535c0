"""Policies as tuples of pure functions, action distributions, seating.

A seat is a player's slot in a game, 0, ..., N − 1.
"""

from aajax.policies import distributions
from aajax.policies.base import (
    Evaluation,
    Network,
    Policy,
    PolicyOutput,
    action_value_policy,
    categorical_policy,
    network_policy,
)
from aajax.policies.seating import by_group, seated

__all__ = [
    "Evaluation",
    "Network",
    "Policy",
    "PolicyOutput",
    "action_value_policy",
    "by_group",
    "categorical_policy",
    "distributions",
    "network_policy",
    "seated",
]
