"""Who meets whom: groups of players, and every line-up of their members."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.envs.base import Environment
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import begin, rollout
from aajax.types import Array, PRNGKey, PyTree


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


def line_up_rewards(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    num_games: int,
    num_steps: int,
) -> Array:
    """Mean reward per step of every line-up of members, one group per seat.

    All line-ups meet in the same worlds (common random numbers).

    Args:
      key: consumed.
      env: one game.
      groups: who may take each seat, N of them.
      num_games: games per line-up.
      num_steps: steps per game.

    Returns:
      f32[M_1, ..., M_N, N].
    """
    seats = [[seat] for seat in range(env.num_agents)]
    table = seated([group.policy for group in groups], seats)

    def play(*params: PyTree) -> Array:
        begin_key, play_key = jax.random.split(key)
        tables = begin(begin_key, env, table, num_games)
        _, trajectory = rollout(play_key, env, table, params, tables, num_steps)
        return trajectory.reward.mean((0, 1))

    # The first seat's members one after another: memory stays that of one of them.
    over_members = play
    for seat in reversed(range(1, env.num_agents)):
        axes = [0 if other == seat else None for other in range(env.num_agents)]
        over_members = jax.vmap(over_members, axes)

    @jax.jit
    def all_line_ups(first: PyTree, others: tuple[PyTree, ...]) -> Array:
        return jax.lax.map(lambda params: over_members(params, *others), first)

    params = [group.params[seat] for seat, group in enumerate(groups)]
    return all_line_ups(params[0], tuple(params[1:]))


def seatings(num_groups: int, num_agents: int) -> list[tuple[int, ...]]:
    """Which group sits where, all ways."""
    grids = jnp.indices((num_groups,) * num_agents).reshape(num_agents, -1).T
    return [tuple(int(i) for i in row) for row in grids]
