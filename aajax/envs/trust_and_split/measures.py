"""Measures of Trust-and-Split."""

import jax
import jax.numpy as jnp

from aajax.envs.measures import efficiency
from aajax.envs.trust_and_split.env import TrustAndSplit, best_total
from aajax.types import Array, Episodes


def measures(env: TrustAndSplit, episodes: Episodes) -> dict[str, Array]:
    """Efficiency, the share of the best possible total reward, of complete rounds."""
    if episodes.trajectory.reward.shape[0] < env.num_turns:
        return {}
    splits = env.splits(jax.tree.map(lambda x: x[:-1], episodes.state))
    best = jnp.where(splits, best_total(env), 0.0)
    return {"efficiency": efficiency(episodes, best)}
