"""Head-to-head tables: rewards of all line-ups, with intervals over seeds."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.keys import stream
from aajax.rollout import Episodes
from aajax.tournament.intervals import mean_over_games, mean_over_seeds
from aajax.tournament.match import Group, game_totals, play_line_ups
from aajax.types import Array, PRNGKey, PyTree

MAX_LINE_UPS = 20_000


class LineUp(NamedTuple):
    """A line-up of players and their rewards.

    Attributes:
      players: name of the player in each seat.
      reward: mean reward per step of each seat.
      interval: half-width of each mean's 95 % interval, over the seeds of all players
        in the line-up; over games if no player has several seeds. None for one game.
    """

    players: tuple[str, ...]
    reward: tuple[float, ...]
    interval: tuple[float | None, ...]


def mean_reward(episodes: Episodes) -> Array:
    """Mean reward per step and seat, f32[]."""
    return episodes.mean(episodes.trajectory.reward).mean()


def round_robin(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    num_games: int,
    num_steps: int,
) -> list[LineUp]:
    """Plays a round-robin of all members, and aggregates it by player.

    Every line-up has random keys of its own. Where a player meets itself, different
    seeds of it meet; see `intervals.mean_over_seeds`, also for the intervals.

    Raises:
      InputError: if there are too many line-ups to play.
    """
    num_members = sum(len(group.names) for group in groups)
    if num_members**env.num_agents > MAX_LINE_UPS:
        raise InputError(
            f"players are {num_members} for {env.num_agents} seats: at most "
            f"{MAX_LINE_UPS} line-ups can be played"
        )
    line_ups = []
    seatings = itertools.product(groups, repeat=env.num_agents)
    for number, seating in enumerate(seatings):
        sizes = [len(group.names) for group in seating]
        members = np.indices(sizes).reshape(env.num_agents, -1).T
        total, count = play_line_ups(
            stream(key, "league", number),
            *(env, seating, members, num_games, num_steps),
            measure=game_totals,
        )
        total, count = np.asarray(total, float), np.asarray(count, float)
        total = total.reshape(*sizes, *total.shape[1:])
        line_ups += _by_player(total, count.reshape(*sizes, -1), seating)
    return line_ups


def against_copies(
    key: PRNGKey,
    env: Environment,
    focal: Group,
    opponents: Group,
    num_games: int,
    num_steps: int,
) -> np.ndarray:
    """Reward per step of each focal member among copies of each opponent.

    Returns:
      f64[M_focal, M_opponents], the mean over the focal member's seat.
    """
    shape = len(focal.names), len(opponents.names)
    who, whom = np.indices(shape).reshape(2, -1)
    rewards = []
    for seat in range(env.num_agents):
        seating, members = [opponents] * env.num_agents, [whom] * env.num_agents
        seating[seat], members[seat] = focal, who
        reward = play_line_ups(
            stream(key, "focal seat", seat),
            *(env, seating, np.stack(members, 1), num_games, num_steps),
        )
        rewards.append(np.asarray(reward[:, seat], float).reshape(shape))
    return np.mean(rewards, axis=0)


def with_itself(
    key: PRNGKey,
    env: Environment,
    group: Group,
    num_games: int,
    num_steps: int,
    measure: Callable[[Episodes], PyTree] = mean_reward,
) -> PyTree:
    """Measures each member in self-play, leaves f64[M, ...].

    By default the reward per step, mean over seats, f64[M].
    """
    members = np.tile(np.arange(len(group.names))[:, None], env.num_agents)
    seating = [group] * env.num_agents
    measured = play_line_ups(key, env, seating, members, num_games, num_steps, measure)
    return jax.tree.map(lambda x: np.asarray(x, float), measured)


def _by_player(
    total: np.ndarray, count: np.ndarray, seating: Sequence[Group]
) -> list[LineUp]:
    """Aggregates games by the members' names.

    Args:
      total: f64[M_1, ..., M_N, B, N], what each seat earned in each game.
      count: f64[M_1, ..., M_N, B], steps of each game.
      seating: who the members are.
    """
    num_agents = len(seating)
    reward = total.sum(-2) / count.sum(-1)[..., None]
    line_ups = []
    for players in itertools.product(*(dict.fromkeys(g.names) for g in seating)):
        members = np.ix_(
            *(
                [m for m, name in enumerate(group.names) if name == player]
                for group, player in zip(seating, players, strict=True)
            )
        )
        # Players of one name in different groups are different ones.
        whom = [
            (id(group), player) for group, player in zip(seating, players, strict=True)
        ]
        numbers = [whom.index(who) for who in whom]
        means, intervals = [], []
        for seat in range(num_agents):
            mean, interval = mean_over_seeds(reward[members][..., seat], numbers)
            if interval is None:
                games = total[members][..., seat].ravel(), count[members].ravel()
                interval = mean_over_games(*games)[1]
            means.append(mean)
            intervals.append(interval)
        line_ups.append(LineUp(players, tuple(means), tuple(intervals)))
    return line_ups
