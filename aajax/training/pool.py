"""A pool of past selves (earlier parameters of the learner), as opponents.

The pool is a ring buffer of parameters on the device. Every so many updates the current
parameters replace the oldest member, by a scatter that writes nothing in other updates,
so that there is no branch. The pool is written after it was sampled from, which saves a
copy.
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

    capacity: Natural = 0  # past policies that are kept as opponents; 0: none
    every: Count = 10  # updates between two policies that are kept
    groups: Count = 16  # groups of games, each of which meets one past policy
    current: Share = 0.0  # fraction of groups that meet the current policy instead
    # number of last seats played by past policies; 0: all but the first
    seats: Natural = 0

    __post_init__ = check


class Pool(NamedTuple):
    """A ring buffer of parameters.

    Attributes:
      members: parameters [C, ...], of the latest C past selves.
      filled: i32[], past selves kept so far, those that were overwritten too.
    """

    members: PyTree
    filled: Array


def create(params: PyTree, capacity: int) -> Pool:
    """An empty pool for `capacity` selves like `params`."""
    members = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (capacity, *x.shape)).astype(x.dtype), params
    )
    return Pool(members, jnp.zeros((), jnp.int32))


def record(pool: Pool, params: PyTree, keeps: Array) -> Pool:
    """Replaces the oldest past self by `params` if `keeps`, bool[]."""
    capacity = _capacity(pool)
    # Beyond the end of the ring nothing is written.
    slot = jnp.where(keeps, pool.filled % capacity, capacity)
    members = jax.tree.map(
        lambda ring, x: ring.at[slot].set(x, mode="drop"), pool.members, params
    )
    return Pool(members, pool.filled + keeps.astype(jnp.int32))


def draw(key: PRNGKey, pool: Pool, present: PyTree, options: Opponents) -> PyTree:
    """Samples an opponent for each group of games, leaves [G, ...].

    Opponents are uniform over past selves, but the current parameters for the first
    groups, a fraction `options.current`, and for all as long as the pool is empty.
    """
    groups = jnp.arange(options.groups)
    size = jnp.clip(pool.filled, 1, _capacity(pool))
    index = jax.random.randint(key, (options.groups,), 0, size)
    meets_present = groups < round(options.current * options.groups)
    meets_present |= pool.filled == 0

    def pick(ring: Array, x: Array) -> Array:
        mask = meets_present.reshape(-1, *(1,) * x.ndim)
        return jnp.where(mask, x, ring[index])

    return jax.tree.map(pick, pool.members, present)


def _capacity(pool: Pool) -> int:
    return jax.tree.leaves(pool.members)[0].shape[0]
