"""Measures of the Negotiation Game."""

import jax
import jax.numpy as jnp

from aajax.envs.measures import efficiency
from aajax.envs.negotiation.env import NegotiationGame, best_total
from aajax.types import Array, Episodes


def measures(env: NegotiationGame, episodes: Episodes) -> dict[str, Array]:
    """Efficiency, the share of the best possible total reward, in turns that pay."""
    state = jax.tree.map(lambda x: x[:-1], episodes.state)
    pays = state.turn + 1 >= state.num_turns
    best = jnp.where(pays, best_total(env, state.stakes), 0.0)
    return {"efficiency": efficiency(episodes, best)}
