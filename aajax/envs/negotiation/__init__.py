"""The Negotiation Game, also known as Exchange Game or Deal or No Deal."""

from aajax.envs.negotiation.env import (
    NegotiationGame,
    NegotiationState,
    best_total,
    negotiation,
    stakes_seen,
)

__all__ = [
    "NegotiationGame",
    "NegotiationState",
    "best_total",
    "negotiation",
    "stakes_seen",
]
