"""A pool of past selves, as opponents.

The pool is a ring of parameters that stays on the device. Its head always holds the
present self, written anew after every update, and moves on every so many updates: so no
update has a branch, and only one member is ever written. It is written after it was
drawn from, which spares a copy of the ring.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.types import Array, PRNGKey, PyTree


@dataclasses.dataclass(frozen=True)
class Opponents:
    """How past selves are kept and met."""

    capacity: int = 0  # past selves kept; 0: learners meet only themselves
    every: int = 10  # updates between two of them
    groups: int = 16  # groups of games, each against one of them
    current: float = 0.0  # share of groups against the present self
    seats: int = 0  # last seats, which they take; 0: all but the first

    def check(self, num_games: int) -> None:
        """Raises InputError for numbers out of range."""
        least = {"capacity": 0, "every": 1, "groups": 1, "seats": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value < low:
                raise InputError(
                    f"opponents.{name} is {value}: at least {low} is needed"
                )
        if self.capacity and num_games % self.groups:
            raise InputError(
                f"opponents.groups is {self.groups}: a divisor of the {num_games} "
                "games is needed"
            )
        if not 0 <= self.current <= 1:
            raise InputError(
                f"opponents.current is {self.current}: a share in [0, 1] is needed"
            )


class Pool(NamedTuple):
    """A ring of parameters.

    Attributes:
      members: parameters [C, ...].
      filled: i32[], selves that were left behind so far.
    """

    members: PyTree
    filled: Array


def create(params: PyTree, capacity: int) -> Pool:
    """A pool in which all are alike."""
    members = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (capacity, *x.shape)).astype(x.dtype), params
    )
    return Pool(members, jnp.zeros((), jnp.int32))


def record(pool: Pool, params: PyTree) -> Pool:
    """Writes the present self at the head."""
    head = pool.filled % _capacity(pool)
    members = jax.tree.map(
        lambda ring, x: jax.lax.dynamic_update_index_in_dim(ring, x, head, 0),
        pool.members,
        params,
    )
    return pool._replace(members=members)


def advance(pool: Pool, moves: Array) -> Pool:
    """Leaves the present self behind where `moves`, bool[]."""
    return pool._replace(filled=pool.filled + moves.astype(jnp.int32))


def draw(key: PRNGKey, pool: Pool, options: Opponents) -> PyTree:
    """Opponents for every group, leaves [G, ...]: uniform over those in the pool.

    The first groups, a share of `options.current`, meet the head.
    """
    capacity = _capacity(pool)
    size = jnp.minimum(pool.filled + 1, capacity)
    index = jax.random.randint(key, (options.groups,), 0, size)
    meets_head = jnp.arange(options.groups) < round(options.current * options.groups)
    index = jnp.where(meets_head, pool.filled % capacity, index)
    return jax.tree.map(lambda ring: ring[index], pool.members)


def _capacity(pool: Pool) -> int:
    return jax.tree.leaves(pool.members)[0].shape[0]
