"""Trust-and-Split: two agents with hidden hands talk, then divide coins."""

from aajax.envs.trust_and_split.env import (
    HANDS,
    NEVER,
    SILENT,
    Round,
    TrustAndSplit,
    TrustAndSplitState,
    best_total,
    trust_and_split,
    wins,
)

__all__ = [
    "HANDS",
    "NEVER",
    "SILENT",
    "Round",
    "TrustAndSplit",
    "TrustAndSplitState",
    "best_total",
    "trust_and_split",
    "wins",
]
