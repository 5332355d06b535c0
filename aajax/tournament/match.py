"""Plays line-ups: one member of a group of players in each seat."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Environment
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import Episodes, play_episodes
from aajax.types import Array, PRNGKey, PyTree

TABLES_AT_ONCE = 64  # line-ups played side by side; bounds memory


class Group(NamedTuple):
    """M players that share policies and differ in parameters, so that they are vmapped.

    Attributes:
      names: of the members; members with equal names are seeds of one player.
      policies: for each seat, the policy of all members there.
      params: for each seat, the members' parameters, leaves [M, ...].
    """

    names: tuple[str, ...]
    policies: tuple[Policy, ...]
    params: tuple[PyTree, ...]


def reward_per_seat(episodes: Episodes) -> Array:
    """Mean reward per step, f32[N]."""
    return episodes.mean(episodes.trajectory.reward)


def game_totals(episodes: Episodes) -> tuple[Array, Array]:
    """Return of each seat in each game, f32[B, N], and the game's steps, f32[B]."""
    inside = episodes.inside.astype(jnp.float32)
    reward = episodes.trajectory.reward * inside[..., None]
    return reward.sum(0), inside.sum(0)


def play_line_ups(
    key: PRNGKey,
    env: Environment,
    groups: Sequence[Group],
    members: np.ndarray,
    num_games: int,
    num_steps: int,
    measure: Callable[[Episodes], PyTree] = reward_per_seat,
    paired: bool = False,
) -> PyTree:
    """Plays P line-ups and measures each: by default the seats' rewards per step.

    Args:
      key: consumed.
      env: unbatched.
      groups: the group whose members play each seat, N of them.
      members: i64[P, N], index of the member that plays each seat, by line-up.
      num_games: games per line-up.
      num_steps: upper bound of the steps per game; padding after its end is not
        measured.
      measure: of a line-up's games.
      paired: whether all line-ups use the same random keys (common random numbers),
        which makes differences between them more precise, but intervals over them too
        short; else each has its own.

    Returns:
      What `measure` returns, with a leading axis of line-ups; f32[P, N] by default.
    """
    table = seated(
        [group.policies[seat] for seat, group in enumerate(groups)],
        [[seat] for seat in range(env.num_agents)],
    )

    # Compiled for this call: kept, programs of all policies ever met would pile up.
    @jax.jit
    def play_all(
        key: PRNGKey, params: tuple[PyTree, ...], numbered: tuple[Array, Array]
    ) -> PyTree:
        def play(numbered: tuple[Array, Array]) -> PyTree:
            number, line_up = numbered
            chosen = tuple(
                jax.tree.map(lambda x, m=member: x[m], own)
                for own, member in zip(params, line_up, strict=True)
            )
            own_key = key if paired else jax.random.fold_in(key, number)
            return measure(
                play_episodes(own_key, env, table, chosen, num_games, num_steps)
            )

        batch_size = min(TABLES_AT_ONCE, len(members))
        return jax.lax.map(play, numbered, batch_size=batch_size)

    params = tuple(group.params[seat] for seat, group in enumerate(groups))
    numbers = jnp.arange(len(members), dtype=jnp.int32)
    return play_all(key, params, (numbers, jnp.asarray(members, jnp.int32)))
