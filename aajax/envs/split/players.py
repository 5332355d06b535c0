"""Scripted players of Split, which act on their observations alone.

"always_cooperate" and "always_defect" are what the paper calls the welfare-maximising
and the greedy player. All share one policy, `scripted`, whose parameter is the player's
index, so that players can be stacked and vmapped over.

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
    """Inputs of a player.

    Attributes:
      preference: i32[..., num_items], own value minus the other's.
      robbed: bool[...], whether in the previous round the other asked for more than
        half of an item that the player valued more.
      uniform: f32[..., num_items], random numbers in [0, 1).
    """

    preference: Array
    robbed: Array
    uniform: Array


def always_cooperate(view: View) -> Array:
    """Asks for all of what it values more, half of what both value alike, no other."""
    return HALF * (1 + jnp.sign(view.preference))


def always_defect(view: View) -> Array:
    """Asks for all of everything."""
    return jnp.full_like(view.preference, STOCK)


def tit_for_tat(view: View) -> Array:
    """Cooperates, but defects in the round after the other was greedy.

    The other was greedy if it asked for more than half of an item that tit-for-tat
    valued more.
    """
    return jnp.where(
        view.robbed[..., None], always_defect(view), always_cooperate(view)
    )


def random(view: View) -> Array:
    """A uniformly random proposal."""
    return jnp.floor(view.uniform * (1 + STOCK)).astype(jnp.int32)


RESPONSES: dict[str, Callable[[View], Array]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "random": random,
}
SCRIPTED = tuple(RESPONSES)


def scripted_params(name: str) -> Array:
    """The index of a named player, i32[], the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def scripted(env: Split) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    `log_prob` is 0 for all but the random player.
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
