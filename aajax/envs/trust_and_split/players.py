"""Scripted players of Trust-and-Split, which act on their observations alone.

They use the symbols 0, 1 and 2 for rock, paper and scissors; if there are fewer than
three symbols, messages are ignored. "always_cooperate" and "always_defect" are what the
paper calls the welfare-maximising and the greedy player. All share one policy,
`scripted`, whose parameter is the player's index, so that players can be stacked and
vmapped over.

Source: AdAlign for language models, https://arxiv.org/abs/2511.19405.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.spec import Players
from aajax.envs.split import STOCK
from aajax.envs.trust_and_split.env import HANDS, SILENT, TrustAndSplit
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
      splits: bool[...], whether this is the step of proposals, not of talk.
      hand: i32[...], its own, an index into HANDS.
      heard: i32[...], the hand that the other last claimed in this round; SILENT if
        none.
      forgiving: bool[...], whether the other was cooperative in the last round that
        could tell; see `tit_for_tat`.
      uniform: f32[...], random numbers in [0, 1).
      num_symbols: size of the alphabet of messages.
      num_actions: size of the action space.
    """

    splits: Array
    hand: Array
    heard: Array
    forgiving: Array
    uniform: Array
    num_symbols: int
    num_actions: int


def always_cooperate(view: View) -> tuple[Array, Array]:
    """Tells its hand, believes the other: asks for all, nothing, or half if unsure."""
    ahead = (view.hand - view.heard) % len(HANDS)
    believed = jnp.where(ahead == 1, STOCK, 0)
    unclear = (view.heard == SILENT) | (ahead == 0)
    coins = jnp.where(unclear, HALF, believed)
    # With symbols too few for all hands there is nothing to tell.
    symbol = view.hand if view.num_symbols >= len(HANDS) else jnp.zeros_like(view.hand)
    return jnp.where(view.splits, coins, symbol), jnp.zeros(view.hand.shape)


def always_defect(view: View) -> tuple[Array, Array]:
    """Says a random symbol, and asks for all coins."""
    symbol = jnp.floor(view.uniform * view.num_symbols).astype(jnp.int32)
    log_prob = jnp.where(view.splits, 0.0, -jnp.log(float(view.num_symbols)))
    return jnp.where(view.splits, STOCK, symbol), log_prob


def tit_for_tat(view: View) -> tuple[Array, Array]:
    """Cooperates, but defects after the other was greedy.

    The other was greedy if it asked for more than half of coins that were worth more to
    tit-for-tat. Rounds in which they were not are skipped.
    """
    nice, nice_log_prob = always_cooperate(view)
    mean, mean_log_prob = always_defect(view)
    return (
        jnp.where(view.forgiving, nice, mean),
        jnp.where(view.forgiving, nice_log_prob, mean_log_prob),
    )


def liar(view: View) -> tuple[Array, Array]:
    """Claims the hand that beats what it heard, or rock; asks for all coins."""
    told = jnp.where(view.heard == SILENT, 0, (view.heard + 1) % len(HANDS))
    return jnp.where(view.splits, STOCK, told), jnp.zeros(view.hand.shape)


def random(view: View) -> tuple[Array, Array]:
    """A uniformly random action."""
    action = jnp.floor(view.uniform * view.num_actions).astype(jnp.int32)
    return action, jnp.full(action.shape, -jnp.log(float(view.num_actions)))


RESPONSES: dict[str, Callable[[View], tuple[Array, Array]]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "liar": liar,
    "random": random,
}
SCRIPTED = tuple(RESPONSES)


def scripted_params(name: str) -> Array:
    """The index of a named player, i32[], the parameter of `scripted(env)`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def scripted(env: TrustAndSplit) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    `log_prob` is that of the player's random choices, 0 for deterministic ones. The
    memory is `View.forgiving`, bool[...].
    """

    def act(params, key, observation, memory):
        parts = env.read(observation)
        seen = {name: part[..., 0] for name, part in parts.items() if part.shape[-1]}
        could_tell = (seen["played"] > 0.5) & (seen["own_upper"] > 0.5)
        forgiving = jnp.where(could_tell, seen["other_proposal"] < HALF + 0.5, memory)
        view = View(
            splits=seen["splits"] > 0.5,
            hand=jnp.argmax(parts["own_hand"], -1).astype(jnp.int32),
            heard=_heard(env, parts["other_said"]),
            forgiving=forgiving,
            uniform=jax.random.uniform(key, observation.shape[:-1]),
            num_symbols=env.num_symbols,
            num_actions=env.action_spaces[0].num_actions,
        )
        actions, log_probs = zip(
            *(answer(view) for answer in RESPONSES.values()), strict=True
        )
        action, log_prob = jnp.stack(actions)[params], jnp.stack(log_probs)[params]
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), forgiving)

    def initial_memory(batch_shape):
        return jnp.ones(batch_shape, bool)

    return scripted_policy(act, initial_memory)


def _heard(env: TrustAndSplit, said: Array) -> Array:
    """The hand in the last of the messages f32[..., num_messages · num_symbols]."""
    heard = jnp.full(said.shape[:-1], SILENT, jnp.int32)
    if env.num_symbols < len(HANDS):
        return heard
    for number in range(env.num_messages):
        start = number * env.num_symbols
        one_hot = said[..., start : start + env.num_symbols] > 0.5
        symbol = jnp.argmax(one_hot, -1).astype(jnp.int32)
        hand = jnp.where(symbol < len(HANDS), symbol, SILENT)
        heard = jnp.where(one_hot.any(-1), hand, heard)
    return heard


def players(env: TrustAndSplit) -> Players:
    """The scripted players."""
    return Players(scripted(env), SCRIPTED, scripted_params)
