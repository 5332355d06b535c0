"""Who meets whom: groups of players, and line-ups of their members."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Environment
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.types import Array, PRNGKey, PyTree

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


def play_line_ups(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    members: np.ndarray,
    num_games: int,
    num_steps: int,
) -> Array:
    """Mean reward per step of every seat in every line-up.

    All line-ups meet in the same worlds (common random numbers).

    Args:
      key: consumed.
      env: one game.
      groups: whose members take each seat, N of them.
      members: i64[P, N], which member of the seat's group plays, line-up by line-up.
      num_games: games per line-up.
      num_steps: steps per game.

    Returns:
      f32[P, N].
    """
    seats = [[seat] for seat in range(env.num_agents)]
    table = seated([group.policy for group in groups], seats)
    params = tuple(group.params[seat] for seat, group in enumerate(groups))

    @jax.jit
    def play_all(params: tuple[PyTree, ...], members: Array) -> Array:
        def play(line_up: Array) -> Array:
            chosen = tuple(
                jax.tree.map(lambda x, m=member: x[m], own)
                for own, member in zip(params, line_up, strict=True)
            )
            begin_key, play_key = jax.random.split(key)
            tables = begin(begin_key, env, table, num_games)
            _, trajectory = rollout(play_key, env, table, chosen, tables, num_steps)
            return trajectory.reward.mean((0, 1))

        batch_size = min(TABLES_AT_ONCE, len(members))
        return jax.lax.map(play, members, batch_size=batch_size)

    return play_all(params, jnp.asarray(members, jnp.int32))
