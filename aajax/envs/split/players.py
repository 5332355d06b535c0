"""Scripted players of Split, who know nothing but what they see.

"always_cooperate" and "always_defect", named as in other environments, are what the
paper calls the welfare-maximising and the greedy player. Who plays is a number, the
parameter of one policy, `scripted`, so that a league can stack and vmap players.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.spec import Players
from aajax.envs.split.env import STOCK, Split
from aajax.policies.base import (
    Policy,
    PolicyOutput,
    player_number,
    scripted_policy,
)
from aajax.types import Array

HALF = STOCK // 2


class View(NamedTuple):
    """What a player goes by.

    Attributes:
      preference: i32[..., num_items], own value minus the other's.
      robbed: bool[...], whether in the round before the other asked for more than half
        of an item that the player valued more.
      uniform: f32[..., num_items], random numbers in [0, 1).
    """

    preference: Array
    robbed: Array
    uniform: Array


def always_cooperate(view: View) -> Array:
    """Asks for all that it values more, half of what is worth the same, no other."""
    return HALF * (1 + jnp.sign(view.preference))


def always_defect(view: View) -> Array:
    """Asks for all of everything."""
    return jnp.full_like(view.preference, STOCK)


def tit_for_tat(view: View) -> Array:
    """Cooperates, but defects in the round after it was robbed.

    It is robbed by who asks for more than half of an item that it valued more.
    """
    return jnp.where(
        view.robbed[..., None], always_defect(view), always_cooperate(view)
    )


def random(view: View) -> Array:
    """Every proposal equally often."""
    return jnp.floor(view.uniform * (1 + STOCK)).astype(jnp.int32)


RESPONSES: dict[str, Callable[[View], Array]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "random": random,
}
SCRIPTED = tuple(RESPONSES)


def scripted_params(name: str) -> Array:
    """The number of a named player, i32[], which is the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def scripted(env: Split) -> Policy:
    """Plays the player numbered `params`, i32[]; see `scripted_params`.

    The log-probability is that of the player's own chances: 0 but for the random one.
    """

    def act(params, key, observation, memory):
        # Items first: a CPU is slow to draw along a short last axis.
        uniform = jax.random.uniform(key, (env.num_items, *observation.shape[:-1]))
        parts = {
            name: jnp.round(part).astype(jnp.int32)
            for name, part in env.read(observation).items()
        }
        preferred = parts["own_last_values"] > parts["other_last_values"]
        taken = preferred & (parts["other_proposal"] > HALF)
        view = View(
            parts["own_values"] - parts["other_values"],
            taken.any(-1),
            jnp.moveaxis(uniform, 0, -1),
        )
        action = jnp.stack([answer(view) for answer in RESPONSES.values()])[params]
        chance = -env.num_items * jnp.log(1.0 + STOCK)
        log_prob = jnp.where(params == SCRIPTED.index("random"), chance, 0.0)
        log_prob = jnp.full(action.shape[:-1], log_prob)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    # All that they go by is in the last round, which they see.
    return scripted_policy(act)


def players(env: Split) -> Players:
    """The scripted players."""
    return Players(scripted(env), SCRIPTED, scripted_params)
