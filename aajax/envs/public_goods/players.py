"""Scripted players of public goods with amounts, which act on their observations alone.

All share one policy, `scripted`, whose parameter is the player's index, so that players
can be stacked and vmapped over.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.public_goods.env import PublicGoods
from aajax.envs.spec import Players
from aajax.policies.base import (
    Policy,
    PolicyOutput,
    player_number,
    scripted_policy,
)
from aajax.types import Array


class View(NamedTuple):
    """Inputs of a player.

    Attributes:
      played: bool[...], whether there was a step before.
      others: i32[..., N − 1], levels of what the co-players gave in it.
      uniform: f32[...], random numbers in [0, 1).
      most: the level of who gives all.
    """

    played: Array
    others: Array
    uniform: Array
    most: int


def always_cooperate(view: View) -> Array:
    """Contributes all."""
    return jnp.full(view.played.shape, view.most, jnp.int32)


def always_defect(view: View) -> Array:
    """Keeps all."""
    return jnp.zeros(view.played.shape, jnp.int32)


def tit_for_tat(view: View) -> Array:
    """Contributes all at first, then the mean of what the others gave, rounded.

    A conditional cooperator (Fischbacher, Gächter and Fehr 2001,
    https://doi.org/10.1016/S0165-1765(01)00394-9); halves are rounded up.
    """
    num_others = view.others.shape[-1]
    mean = (2 * view.others.sum(-1) + num_others) // (2 * num_others)
    return jnp.where(view.played, mean, view.most).astype(jnp.int32)


def least(view: View) -> Array:
    """Contributes all at first, then as much as the one who gave least."""
    return jnp.where(view.played, view.others.min(-1), view.most).astype(jnp.int32)


def random(view: View) -> Array:
    """A uniformly random contribution."""
    return jnp.floor(view.uniform * (1 + view.most)).astype(jnp.int32)


RESPONSES: dict[str, Callable[[View], Array]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "least": least,
    "random": random,
}
SCRIPTED = tuple(RESPONSES)


def scripted_params(name: str) -> Array:
    """The index of a named player, i32[], the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def scripted(env: PublicGoods) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    `log_prob` is 0 for all but the random player.
    """
    most = env.num_levels - 1

    def act(params, key, observation, memory):
        parts = env.read(observation)
        # Scaling may have left whole numbers a little off.
        others = jnp.round(parts["others_contribution"] * (most / env.endowment))
        view = View(
            parts["played"][..., 0] > 0.5,
            others.astype(jnp.int32),
            jax.random.uniform(key, observation.shape[:-1]),
            most,
        )
        action = jnp.stack([answer(view) for answer in RESPONSES.values()])[params]
        chance = -jnp.log(1.0 + most)
        log_prob = jnp.where(params == SCRIPTED.index("random"), chance, 0.0)
        log_prob = jnp.full(action.shape, log_prob)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    # All that they go by is in the last step, which they see.
    return scripted_policy(act)


def players(env: PublicGoods) -> Players:
    """The scripted players."""
    return Players(scripted(env), SCRIPTED, scripted_params)
