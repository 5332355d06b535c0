"""Measures of public goods with amounts."""

import jax.numpy as jnp

from aajax.envs.measures import efficiency
from aajax.envs.public_goods.env import PublicGoods, best_total
from aajax.envs.spec import Measure
from aajax.types import Array, Episodes


def measures(env: PublicGoods, episodes: Episodes) -> dict[str, Array]:
    """Share of their coins that agents give; efficiency, of the best total reward."""
    share = _share(env, episodes.trajectory.action)
    best = jnp.full(share.shape[:2], best_total(env))
    return {
        "contribution": episodes.mean(share).mean(),
        "efficiency": efficiency(episodes, best),
    }


def training_measures(env: PublicGoods) -> Measure:
    """The share of their coins that agents give."""
    return lambda before, trajectory: {
        "contribution": _share(env, trajectory.action).mean()
    }


def _share(env: PublicGoods, action: Array) -> Array:
    """Share of the endowment that is given, f32[...]."""
    return action.astype(jnp.float32) / (env.num_levels - 1)
