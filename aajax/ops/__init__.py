"""Pure functions of arrays, unbatched: batch them with `jax.vmap`."""

from aajax.ops import (
    alignment,
    attribution,
    baselines,
    categorical,
    dice,
    memory_one,
    returns,
    rewards,
    shaping,
    surrogate,
    values,
)

__all__ = [
    "alignment",
    "attribution",
    "baselines",
    "categorical",
    "dice",
    "memory_one",
    "returns",
    "rewards",
    "shaping",
    "surrogate",
    "values",
]
