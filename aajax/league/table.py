"""Tables of who earns what against whom, with intervals over seeds."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy.special import stdtrit

from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.league.match import Group, play_line_ups
from aajax.types import Array, PRNGKey, PyTree, Trajectory

MAX_LINE_UPS = 20_000


class LineUp(NamedTuple):
    """One line-up of players and what they earned.

    Attributes:
      players: who sits in each seat.
      reward: mean reward per step of each seat.
      interval: half-width of the 95 % interval of each, over seeds; None where
        nobody at the table has more than one seed.
    """

    players: tuple[str, ...]
    reward: tuple[float, ...]
    interval: tuple[float | None, ...]


def mean_reward(trajectory: Trajectory) -> Array:
    """Mean reward per step and seat, f32[]."""
    return trajectory.reward.mean()


def round_robin(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    num_games: int,
    num_steps: int,
) -> list[LineUp]:
    """Plays all line-ups of all members, and sums them up by player.

    The interval of a seat is taken over the seeds of the player in it, after
    averaging over its co-players' seeds; a player of one seed is measured over the
    seeds of its co-players instead.

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
    for seating in itertools.product(groups, repeat=env.num_agents):
        sizes = [len(group.names) for group in seating]
        members = np.indices(sizes).reshape(env.num_agents, -1).T
        reward = play_line_ups(key, env, seating, members, num_games, num_steps)
        reward = np.asarray(reward, float).reshape(*sizes, env.num_agents)
        line_ups += _by_player(reward, seating)
    return line_ups


def against_copies(
    key: PRNGKey,
    env: Environment,
    focal: Group,
    opponents: Group,
    num_games: int,
    num_steps: int,
) -> np.ndarray:
    """What each focal member earns per step among copies of each opponent.

    Returns:
      f64[M_focal, M_opponents], the mean over the seats that the focal member takes.
    """
    shape = len(focal.names), len(opponents.names)
    who, whom = np.indices(shape).reshape(2, -1)
    rewards = []
    for seat in range(env.num_agents):
        seating, members = [opponents] * env.num_agents, [whom] * env.num_agents
        seating[seat], members[seat] = focal, who
        reward = play_line_ups(
            key, env, seating, np.stack(members, 1), num_games, num_steps
        )
        rewards.append(np.asarray(reward[:, seat], float).reshape(shape))
    return np.mean(rewards, axis=0)


def with_itself(
    key: PRNGKey,
    env: Environment,
    group: Group,
    num_games: int,
    num_steps: int,
    measure: Callable[[Trajectory], PyTree] = mean_reward,
) -> PyTree:
    """What is measured of each member in self-play, leaves f64[M, ...].

    By default its reward per step, the mean over seats, f64[M].
    """
    members = np.tile(np.arange(len(group.names))[:, None], env.num_agents)
    seating = [group] * env.num_agents
    measured = play_line_ups(key, env, seating, members, num_games, num_steps, measure)
    return jax.tree.map(lambda x: np.asarray(x, float), measured)


def _by_player(reward: np.ndarray, seating: Sequence[Group]) -> list[LineUp]:
    """Sums up f64[M_1, ..., M_N, N] by the members' names."""
    num_agents = len(seating)
    line_ups = []
    for players in itertools.product(*(dict.fromkeys(g.names) for g in seating)):
        members = [
            [m for m, name in enumerate(group.names) if name == player]
            for group, player in zip(seating, players, strict=True)
        ]
        games = reward[np.ix_(*members, range(num_agents))]
        means, intervals = zip(
            *(_mean_and_interval(games[..., seat], seat) for seat in range(num_agents)),
            strict=True,
        )
        line_ups.append(LineUp(players, means, intervals))
    return line_ups


def _mean_and_interval(reward: np.ndarray, seat: int) -> tuple[float, float | None]:
    axis = seat if reward.shape[seat] > 1 else int(np.argmax(reward.shape))
    others = tuple(other for other in range(reward.ndim) if other != axis)
    over_seeds = reward.mean(others)
    num_seeds = len(over_seeds)
    if num_seeds == 1:
        return float(over_seeds[0]), None
    error = over_seeds.std(ddof=1) / np.sqrt(num_seeds)
    return float(over_seeds.mean()), float(stdtrit(num_seeds - 1, 0.975) * error)
