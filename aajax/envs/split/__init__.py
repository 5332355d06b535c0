"""Split: two agents divide items by simultaneous proposals."""

from aajax.envs.split.env import (
    NUM_AGENTS,
    STOCK,
    Round,
    Split,
    SplitState,
    best_total,
    divide,
    split,
    values_seen,
)

__all__ = [
    "NUM_AGENTS",
    "STOCK",
    "Round",
    "Split",
    "SplitState",
    "best_total",
    "divide",
    "split",
    "values_seen",
]
