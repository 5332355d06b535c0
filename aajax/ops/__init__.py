"""Pure functions of arrays, unbatched: batch them with `jax.vmap`."""

from aajax.ops import (
    alignment,
    baselines,
    categorical,
    dice,
    memory_one,
    returns,
    rewards,
    surrogate,
    values,
)

__all__ = [
    "alignment",
    "baselines",
    "categorical",
    "dice",
    "memory_one",
    "returns",
    "rewards",
    "surrogate",
    "values",
]
