"""A replay buffer of games, mixed into on-policy batches.

The buffer is a ring of trajectories on the device. In every update some of the new
games are replaced by older ones, whose values are recomputed by the current critic;
their log-probabilities stay those of the policy that acted, for surrogates with
importance ratios. See the appendix of https://arxiv.org/abs/2406.14662.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.policies.base import Policy
from aajax.schema import Count, Natural, check
from aajax.types import Array, PRNGKey, PyTree, Trajectory


@dataclasses.dataclass(frozen=True)
class Replay:
    """How many games are kept and replayed."""

    games: Natural = 0  # games per update that are replayed from the buffer; 0: none
    capacity: Count = 1024  # size of the replay buffer, in games

    __post_init__ = check

    def check_relations(self):
        if self.capacity <= self.games:
            raise InputError(
                f"capacity is {self.capacity}: more than the {self.games} games "
                "that an update adds is needed"
            )


class Store(NamedTuple):
    """A ring buffer of games.

    Attributes:
      games: trajectories with the ring's axis first, [C, T, ...].
      added: i32[], games added so far.
    """

    games: PyTree
    added: Array


def create(like: Trajectory, capacity: int) -> Store:
    """An empty store for trajectories of these shapes."""
    rows = jax.eval_shape(_swap, like)
    games = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape[1:]), x.dtype), rows)
    return Store(games, jnp.zeros((), jnp.int32))


def mix(
    key: PRNGKey, store: Store, trajectory: Trajectory, num_replayed: int
) -> tuple[Store, Trajectory, Array]:
    """Replaces the last `num_replayed` games by older ones, and stores the former.

    As long as the buffer is empty, none are replayed; when it is full, none of those
    that are overwritten in this update.

    Returns:
      The store, the trajectory, and bool[B], which games are replayed.
    """
    rows = _swap(trajectory)
    num_games = trajectory.last.shape[1]
    capacity = jax.tree.leaves(store.games)[0].shape[0]
    # Written before it is read: the other way round, XLA would copy the ring.
    slots = (store.added + jnp.arange(num_replayed)) % capacity
    games = jax.tree.map(
        lambda ring, row: ring.at[slots].set(row[num_games - num_replayed :]),
        store.games,
        rows,
    )
    num_older = jnp.minimum(store.added, capacity - num_replayed)
    back = jax.random.randint(key, (num_replayed,), 1, jnp.maximum(num_older, 1) + 1)
    index = (store.added - back) % capacity
    is_old = (jnp.arange(num_games) >= num_games - num_replayed) & (num_older > 0)

    def replace(row, ring):
        old = jnp.concatenate([row[: num_games - num_replayed], ring[index]])
        return jnp.where(is_old.reshape(-1, *(1,) * (row.ndim - 1)), old, row)

    mixed = jax.tree.map(replace, rows, games)
    return Store(games, store.added + num_replayed), _swap(mixed), is_old


def revalue(
    policy: Policy,
    params: PyTree,
    trajectory: Trajectory,
    memory: PyTree,
    seats: Sequence[int],
    is_old: Array,
) -> Trajectory:
    """Recomputes the values of replayed games with the current critic.

    The value after an episode's last step stays as recorded, since that observation is
    not stored.

    Args:
      policy: that plays the seats.
      params: of the policy.
      trajectory: of all seats.
      memory: of these seats, [B, n, ...], before the first step.
      seats: n of them.
      is_old: bool[B], which games are replayed.
    """
    own = jnp.asarray(seats)
    evaluation = policy.read_again(
        params,
        trajectory.observation[:, :, own],
        trajectory.action[:, :, own],
        trajectory.last,
        memory,
    )
    value = evaluation.value
    recorded = trajectory.next_value[:, :, own]
    next_value = jnp.concatenate([value[1:], recorded[-1:]])
    next_value = jnp.where(trajectory.last[..., None], recorded, next_value)
    changes = {"value": value, "next_value": next_value}
    if evaluation.action_value is not None and trajectory.action_value is not None:
        changes["action_value"] = evaluation.action_value

    def put(old, new):
        mask = is_old.reshape(1, -1, *(1,) * (new.ndim - 2))
        return old.at[:, :, own].set(jnp.where(mask, new, old[:, :, own]))

    return trajectory._replace(
        **{name: put(getattr(trajectory, name), x) for name, x in changes.items()}
    )


def _swap(trajectory: Trajectory) -> Trajectory:
    """From steps first to games first, or back."""
    # Memory is [B, ...] already.
    swapped = jax.tree.map(
        lambda x: jnp.swapaxes(x, 0, 1), trajectory._replace(memory=())
    )
    return swapped._replace(memory=trajectory.memory)
