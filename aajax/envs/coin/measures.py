"""Measures of the Coin Game."""

import jax.numpy as jnp

from aajax.envs.coin.env import CoinGame, pickups
from aajax.types import Array, Episodes


def measures(env: CoinGame, episodes: Episodes) -> dict[str, Array]:
    """Coins of one's own and of others that are taken."""
    own, other = (
        episodes.mean(x.astype(jnp.float32)).mean() for x in pickups(episodes.state)
    )
    return {
        "own of the coins taken": own / jnp.maximum(own + other, 1e-9),
        "coins per step and agent": own + other,
    }
