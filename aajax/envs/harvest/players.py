"""Scripted players of Commons Harvest, which act on their observations alone.

Melting Pot's background players are trained networks of two kinds, which harvest
without restraint, with and without zapping; "greedy" and "pacifist" stand in for them.
All share one policy, `scripted`, whose parameter is the player's index, so that players
can be stacked and vmapped over.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.envs.harvest import CommonsHarvest, rules
from aajax.envs.harvest.layout import REACH
from aajax.envs.harvest.observe import PLANES
from aajax.envs.spec import Players
from aajax.errors import InputError
from aajax.ops import categorical
from aajax.policies.base import (
    Policy,
    PolicyOutput,
    player_number,
    scripted_policy,
)
from aajax.types import Array

SCRIPTED = ("greedy", "pacifist", "sustainable", "random")
SPARED = 3  # apples that "sustainable" wants near one that it takes
# (right, ahead) of each walk.
WALKS = {
    rules.FORWARD: (0, 1),
    rules.BACKWARD: (0, -1),
    rules.STEP_LEFT: (-1, 0),
    rules.STEP_RIGHT: (1, 0),
}
WANDER = {rules.FORWARD: 0.6, rules.TURN_LEFT: 0.2, rules.TURN_RIGHT: 0.2}


class Sight(NamedTuple):
    """An observation decoded, cells in the order of `Window`.

    Attributes:
      wall, other, apple: bool[..., H · W].
      ready: bool[...], whether the observer can zap.
    """

    wall: Array
    other: Array
    apple: Array
    ready: Array


class Window(NamedTuple):
    """Constants of the window's cells, row by row.

    Attributes:
      distance: i32[4, H · W], steps to each cell after each of the four moves.
      near: f32[H · W, H · W], 1 for two cells whose apples make each other grow.
      beam: cells of each column of a beam, nearest first; None for one out of sight.
      beside: i32[4], the cell that each move leads to.
    """

    distance: np.ndarray
    near: np.ndarray
    beam: tuple[tuple[int | None, ...], ...]
    beside: np.ndarray


def scripted(env: CommonsHarvest) -> Policy:
    """The policy of all scripted players: `params` is the player's index, i32[].

    * greedy zaps if a beam would hit somebody, else walks to the nearest apple in
    sight. * pacifist walks to the nearest apple, and never zaps. * sustainable does so
    too, but only takes apples with at least 3 others near enough
      to make them grow back, and avoids stepping on any other.
    * random acts uniformly.

    With no such apple in sight they move at random: forward with probability 0.6, a
    turn to either side with 0.2 each; only turns if the way is blocked.

    Raises:
      InputError: if the view does not include the cells around the agent.
    """
    if min(env.view) < 1:
        raise InputError(f"view is {env.view}: 1 or more on each side is needed")
    cells = _window(env)
    number = {name: i for i, name in enumerate(SCRIPTED)}

    def act(params, key, observation, memory):
        sight = _look(env, observation)
        spare = sight.apple.astype(jnp.float32) @ cells.near >= SPARED
        spares = params == number["sustainable"]
        wanted = sight.apple & (spare | ~spares)
        blocked = sight.wall | sight.other | (sight.apple & ~wanted)
        logits = _walk(cells, wanted, blocked)
        zaps = (params == number["greedy"]) & sight.ready & _can_hit(cells, sight)
        zap = _only({rules.ZAP: 1.0})
        logits = jnp.where(zaps[..., None], zap, logits)
        logits = jnp.where(params == number["random"], 0.0, logits)
        action = categorical.sample(key, logits)
        log_prob = categorical.log_prob(logits, action)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    return scripted_policy(act)


def scripted_params(name: str) -> Array:
    """The index of a named player, i32[], the parameter of `scripted`.

    Raises:
      InputError: if there is no such player.
    """
    return player_number(name, SCRIPTED)


def _look(env: CommonsHarvest, observation: Array) -> Sight:
    planes = env.unflatten(observation)
    planes = planes.reshape(*planes.shape[:-2], -1)
    wall, other, apple = (
        planes[..., PLANES.index(name), :] > 0 for name in ("wall", "other", "apple")
    )
    return Sight(wall, other, apple, planes[..., PLANES.index("ready"), 0] == 1)


def _walk(cells: Window, wanted: Array, blocked: Array) -> Array:
    """Logits of walking to the nearest wanted apple, or wandering, f32[..., A]."""
    free = ~blocked[..., cells.beside]
    far = int(cells.distance.max()) + 1
    distance = jnp.where(wanted[..., None, :], cells.distance, far).min(-1)
    distance = jnp.where(free, distance, far)
    nearest = distance.min(-1, keepdims=True)
    best = (distance == nearest) & (nearest < far)
    actions = np.array(list(WALKS))
    logits = jnp.full((*best.shape[:-1], len(rules.ACTION_NAMES)), -jnp.inf)
    logits = logits.at[..., actions].set(jnp.where(best, 0.0, -jnp.inf))
    ahead = free[..., list(WALKS).index(rules.FORWARD)]
    turns = {action: p for action, p in WANDER.items() if action != rules.FORWARD}
    wander = jnp.where(ahead[..., None], _only(WANDER), _only(turns))
    return jnp.where(best.any(-1, keepdims=True), logits, wander)


def _can_hit(cells: Window, sight: Sight) -> Array:
    """Whether a beam would hit somebody, bool[...]."""
    hit = jnp.zeros(sight.ready.shape, bool)
    for column in cells.beam:
        reaches = jnp.ones(sight.ready.shape, bool)
        for cell in filter(lambda cell: cell is not None, column):
            reaches &= ~sight.wall[..., cell]
            hit |= reaches & sight.other[..., cell]
    return hit


def _only(probabilities: dict[int, float]) -> Array:
    """Logits of the given actions' probabilities, −∞ for all others, f32[A]."""
    logits = np.full(len(rules.ACTION_NAMES), -np.inf, np.float32)
    for action, probability in probabilities.items():
        logits[action] = np.log(probability)
    return jnp.asarray(logits)


def _window(env: CommonsHarvest) -> Window:
    ahead, behind, left, right = env.view
    up, across = np.meshgrid(
        np.arange(ahead, -behind - 1, -1), np.arange(-left, right + 1), indexing="ij"
    )
    up, across = up.reshape(-1), across.reshape(-1)
    cells = zip(across.tolist(), up.tolist(), strict=True)
    number = {cell: i for i, cell in enumerate(cells)}
    walks = np.array(list(WALKS.values()))
    distance = np.abs(across - walks[:, :1]) + np.abs(up - walks[:, 1:])
    squared = (across[:, None] - across) ** 2 + (up[:, None] - up) ** 2
    return Window(
        distance.astype(np.int32),
        ((squared > 0) & (squared <= REACH**2)).astype(np.float32),
        tuple(tuple(number.get(cell) for cell in column) for column in rules.BEAM),
        np.array([number[walk] for walk in WALKS.values()]),
    )


def players(env: CommonsHarvest) -> Players:
    """The scripted players."""
    return Players(scripted(env), SCRIPTED, scripted_params)
