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

from aajax.schema import Count, Natural, Share, check
from aajax.types import Array, PRNGKey, PyTree


@dataclasses.dataclass(frozen=True)
class Opponents:
    """How past selves are kept and met."""

    capacity: Natural = 0  # past selves kept; 0: learners meet only themselves
    every: Count = 10  # updates between two of them
    groups: Count = 16  # groups of games, each against one of them
    current: Share = 0.0  # share of groups against the present self
    seats: Natural = 0  # last seats, which they take; 0: all but the first

    __post_init__ = check


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
