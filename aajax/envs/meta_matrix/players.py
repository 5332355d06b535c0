"""Scripted players of meta-games: each plays one inner policy whatever is learned."""

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.meta_matrix.env import LIMIT, MetaMatrixGame
from aajax.envs.spec import Players
from aajax.errors import InputError
from aajax.policies.base import PolicyOutput, scripted_policy
from aajax.types import Array

# P(cooperate) after START, CC, CD, DC, DD, one's own action first.
CHANCES = {
    "always_cooperate": (1, 1, 1, 1, 1),
    "always_defect": (0, 0, 0, 0, 0),
    "tit_for_tat": (1, 1, 0, 1, 0),
    # Earns thrice what the other does, over the punishment (Press & Dyson 2012).
    "extortion": (0, 5 / 7, 0, 5 / 7, 0),
}
RANDOM = "random"  # draws every probability anew in each step


def players(env: MetaMatrixGame) -> Players:
    """The scripted players, whose parameters are the logits that they play.

    Those of "random" are NaN: probabilities are drawn uniformly in their place.
    """
    del env

    def act(params, key, observation, memory):
        shape = (*observation.shape[:-1], len(params))
        nothing = jnp.zeros(observation.shape[:-1])
        drawn = jnp.clip(jax.random.logistic(key, shape), -LIMIT, LIMIT)
        played = jnp.where(jnp.isnan(params), drawn, params)
        return PolicyOutput(played, nothing, nothing, memory)

    return Players(scripted_policy(act), (*CHANCES, RANDOM), logits)


def logits(name: str) -> Array:
    """Of cooperation, f32[5], of a named player.

    Raises:
      InputError: if there is no such player.
    """
    if name == RANDOM:
        return jnp.full(len(CHANCES["always_defect"]), jnp.nan, jnp.float32)
    if name not in CHANCES:
        names = ", ".join([*CHANCES, RANDOM])
        raise InputError(f"player is {name!r}: one of {names} is needed")
    with np.errstate(divide="ignore"):
        chance = np.array(CHANCES[name], float)
        odds = np.log(chance) - np.log1p(-chance)
    return jnp.asarray(np.clip(odds, -LIMIT, LIMIT), jnp.float32)
