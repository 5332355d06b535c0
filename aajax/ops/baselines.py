"""Baselines that need no critic (leave-one-out means), and whitening.

Inputs that are all equal give exactly 0, whatever their size: means are computed from
differences to one member, so that no rounding error is left for a later division by a
small standard deviation to amplify.
"""

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array


def leave_one_out(x: Array, group: Array | None = None) -> Array:
    """Each member minus the mean of the other members of its group.

        y_b = x_b − (1 / (|G_b| − 1)) Σ_{c ∈ G_b, c ≠ b} x_c

    Applied to returns at each time step it is the group-relative baseline of RLOO:
    unbiased, since a member's own action does not enter its baseline. See "Buy 4
    REINFORCE Samples, Get a Baseline for Free!" (Kool et al. 2019) and
    https://arxiv.org/abs/2402.14740.

    Args:
      x: f[B, ...].
      group: i[B], members with equal ids share a baseline; None puts all in one.

    Returns:
      f[B, ...]; exactly 0 where all members of a group are equal. The member of a
      group of one keeps its x.
    """
    difference, size = _differences(x, group)
    return jnp.where(size > 1, difference, x)


def advantage_over_group(x: Array, group: Array | None = None) -> Array:
    """`leave_one_out`, but 0 for a group of one.

    With nothing to compare it with, `leave_one_out` would return the raw return in
    place of an advantage, and an alignment credit would multiply it with co-players'
    advantages.

    Args:
      x: f[B, ...].
      group: i[B], as for `leave_one_out`.

    Returns:
      f[B, ...].
    """
    difference, size = _differences(x, group)
    return jnp.where(size > 1, difference, 0.0)


def whiten(x: Array, mask: Array | None = None, epsilon: float = 1e-8) -> Array:
    """Shifts and scales to mean 0 and (population) standard deviation 1.

    Args:
      x: f[...], normalised over all of its axes together.
      mask: bool[...], entries that count; the others return 0.
      epsilon: added to the standard deviation.

    Returns:
      f[...]; exactly 0 where all entries that count are equal.
    """
    chex.assert_type(x, float)
    mask = jnp.ones(x.shape, bool) if mask is None else mask
    chex.assert_equal_shape([x, mask])
    count = jnp.maximum(jnp.sum(mask), 1).astype(x.dtype)
    # The first that counts.
    origin = x.reshape(-1)[jnp.argmax(mask.reshape(-1))]
    offset = jnp.where(mask, x - origin, 0.0)
    centred = jnp.where(mask, offset - jnp.sum(offset) / count, 0.0)
    deviation = jnp.sqrt(jnp.sum(jnp.square(centred)) / count)
    return centred / (deviation + epsilon)


def _differences(x: Array, group: Array | None) -> tuple[Array, Array]:
    """Members minus the mean of the others, f[B, ...], and sizes of groups [B, 1...].

    The difference is computed from x minus the first member of the group.
    """
    chex.assert_type(x, float)
    num_members = x.shape[0]
    if group is None:
        offset = x - x[:1]
        total, size = offset.sum(0, keepdims=True), jnp.full((1,), num_members)
    else:
        chex.assert_shape(group, (num_members,))
        _, index = jnp.unique(group, return_inverse=True, size=num_members)
        first = jax.ops.segment_min(jnp.arange(num_members), index, num_members)
        offset = x - x[first[index]]
        total = jax.ops.segment_sum(offset, index, num_members)[index]
        size = jnp.bincount(index, length=num_members)[index]
    size = size.reshape(size.shape + (1,) * (x.ndim - 1))
    others = (total - offset) / jnp.maximum(size - 1, 1).astype(x.dtype)
    return offset - others, size
