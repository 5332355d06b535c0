"""Scripted players of the Coin Game, which act on their observations alone.

A player scores its moves and takes one of the best, uniformly. All share one policy,
`scripted`, whose parameter is the player's index, so that players can be stacked and
vmapped over.
"""

from typing import NamedTuple

import jax.numpy as jnp

from aajax.envs.coin.env import CoinGame
from aajax.envs.spec import Players
from aajax.ops import categorical
from aajax.policies.base import (
    Policy,
    PolicyOutput,
    player_number,
    scripted_policy,
)
from aajax.types import Array

SCRIPTED = ("always_cooperate", "always_defect", "tit_for_tat", "random")
# Rows down and columns right.
MOVES = {
    "left": (0, -1),
    "right": (0, 1),
    "up": (-1, 0),
    "down": (1, 0),
    "stay": (0, 0),
}


class Sight(NamedTuple):
    """An observation decoded, the observer's own entries first.

    Attributes:
      agent: i32[..., N], the cell of each agent.
      coin: i32[..., N], the cell of each one's coin, −1 where there is none.
    """

    agent: Array
    coin: Array


class Grudge(NamedTuple):
    """Memory of tit-for-tat.

    Attributes:
      coin: i32[..., N], the coins' cells one step ago; −1 before the first step.
      robbed: bool[..., N − 1], whether the last coin that each co-player took was the
        observer's.
    """

    coin: Array
    robbed: Array


def scripted(env: CoinGame) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    * always_cooperate approaches its own coin and moves away from the others'. With
      several coins on the board it first avoids stepping on the others' (unless its own
      lies there too), then minimises the distance to its own, then maximises that to
      the others'.
    * always_defect approaches the nearest coin.
    * tit_for_tat plays always_defect while the last coin that some co-player took was
      tit_for_tat's, else always_cooperate.
    * random moves uniformly.

    Distances are steps on the torus. LOQA (https://arxiv.org/abs/2405.01035) has the
    first two for one coin, and POLA (https://arxiv.org/abs/2210.10125) the third.
    """

    def act(params, key, observation, memory):
        sight = _look(env, observation)
        memory = _judge(sight, memory)
        distance = _distances(env, sight)
        turned = memory.robbed.any(-1) & (params == SCRIPTED.index("tit_for_tat"))
        defects = turned | (params == SCRIPTED.index("always_defect"))
        score = jnp.where(
            defects[..., None],
            _defecting(env, sight, distance),
            _cooperating(env, sight, distance),
        )
        score = jnp.where(params == SCRIPTED.index("random"), 0, score)
        best = score == score.max(-1, keepdims=True)
        logits = jnp.where(best, 0.0, -jnp.inf)
        action = categorical.sample(key, logits)
        log_prob = categorical.log_prob(logits, action)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    def initial_memory(batch_shape):
        agents = env.num_agents
        return Grudge(
            coin=jnp.full((*batch_shape, agents), -1, jnp.int32),
            robbed=jnp.zeros((*batch_shape, agents - 1), bool),
        )

    return scripted_policy(act, initial_memory)


def scripted_params(name: str) -> Array:
    """The index of a named player, i32[], the parameter of `scripted`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def _look(env: CoinGame, observation: Array) -> Sight:
    shape = (*observation.shape[:-1], 2 * env.num_agents, env.num_cells)
    planes = observation[..., : shape[-2] * shape[-1]].reshape(shape)
    cell = jnp.argmax(planes, axis=-1).astype(jnp.int32)
    cell = jnp.where(planes.any(-1), cell, -1)
    return Sight(cell[..., : env.num_agents], cell[..., env.num_agents :])


def _judge(sight: Sight, memory: Grudge) -> Grudge:
    """Updates the memory by the coins that co-players have just stepped on."""
    took = sight.agent[..., 1:, None] == memory.coin[..., None, :]
    robbed = jnp.where(took.any(-1), took[..., 0], memory.robbed)
    return Grudge(sight.coin, robbed)


def _distances(env: CoinGame, sight: Sight) -> Array:
    """Steps to each coin after each move of the observer, i32[..., A, N].

    The entries of absent coins are arbitrary.
    """

    def around(steps, size):
        steps = steps % size
        return jnp.minimum(steps, size - steps)

    own = sight.agent[..., :1]
    rows = sight.coin // env.width - own // env.width
    columns = sight.coin % env.width - own % env.width
    moves = [MOVES[name] for name in env.action_names]
    after = [
        around(rows - down, env.height) + around(columns - right, env.width)
        for down, right in moves
    ]
    return jnp.stack(after, axis=-2)


def _defecting(env: CoinGame, sight: Sight, distance: Array) -> Array:
    """Score of each move: minus the distance to the nearest coin, i32[..., A]."""
    there = (sight.coin >= 0)[..., None, :]
    return -jnp.where(there, distance, _farthest(env) + 1).min(-1)


def _cooperating(env: CoinGame, sight: Sight, distance: Array) -> Array:
    """Score of each move for always_cooperate (see `scripted`), i32[..., A]."""
    there = (sight.coin >= 0)[..., None, :]
    at_own = (there & (distance == 0))[..., 0]
    robs = (there & (distance == 0))[..., 1:].any(-1) & ~at_own
    distance = jnp.where(there, distance, 0)
    own, others = distance[..., 0], distance[..., 1:].sum(-1)
    # What comes first outweighs all that comes after it.
    weight = 1 + (env.num_agents - 1) * _farthest(env)
    first = weight * (1 + _farthest(env))
    return others - weight * own - first * robs.astype(jnp.int32)


def _farthest(env: CoinGame) -> int:
    """The greatest distance on the torus."""
    return env.height // 2 + env.width // 2


def players(env: CoinGame) -> Players:
    """The scripted players."""
    return Players(scripted(env), SCRIPTED, scripted_params)
