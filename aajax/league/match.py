"""Who meets whom: groups of players, and line-ups of their members."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Environment
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.types import Array, PRNGKey, PyTree, Trajectory

TABLES_AT_ONCE = 64  # line-ups played side by side; bounds memory


class Group(NamedTuple):
    """Players that share a policy and differ in its parameters.

    Attributes:
      names: one per member; members of one name are seeds of one player.
      policy: that all of them play.
      params: for each seat, the members' parameters, leaves [M, ...].
    """

    names: tuple[str, ...]
    policy: Policy
    params: tuple[PyTree, ...]


def reward_per_seat(trajectory: Trajectory) -> Array:
    """Mean reward per step, f32[N]."""
    return trajectory.reward.mean((0, 1))


def play_line_ups(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    members: np.ndarray,
    num_games: int,
    num_steps: int,
    measure: Callable[[Trajectory], PyTree] = reward_per_seat,
) -> PyTree:
    """What is measured in every line-up: by default each seat's reward per step.

    All line-ups meet in the same worlds (common random numbers).

    Args:
      key: consumed.
      env: one game.
      groups: whose members take each seat, N of them.
      members: i64[P, N], which member of the seat's group plays, line-up by line-up.
      num_games: games per line-up.
      num_steps: steps per game.
      measure: of a line-up's games, [T, B, N, ...].

    Returns:
      What `measure` returns, with a leading axis of line-ups; f32[P, N] by default.
    """
    seats = [[seat] for seat in range(env.num_agents)]
    table = seated([group.policy for group in groups], seats)
    params = tuple(group.params[seat] for seat, group in enumerate(groups))

    @jax.jit
    def play_all(params: tuple[PyTree, ...], members: Array) -> PyTree:
        def play(line_up: Array) -> PyTree:
            chosen = tuple(
                jax.tree.map(lambda x, m=member: x[m], own)
                for own, member in zip(params, line_up, strict=True)
            )
            begin_key, play_key = jax.random.split(key)
            tables = begin(begin_key, env, table, num_games)
            _, trajectory = rollout(play_key, env, table, chosen, tables, num_steps)
            return measure(trajectory)

        batch_size = min(TABLES_AT_ONCE, len(members))
        return jax.lax.map(play, members, batch_size=batch_size)

    return play_all(params, jnp.asarray(members, jnp.int32))
