"""Baselines that need no critic, and normalisation."""

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array


def leave_one_out(x: Array, group: Array | None = None) -> Array:
    """Each member minus the mean of the other members of its group.

        y_b = x_b − (1 / (|G_b| − 1)) Σ_{c ∈ G_b, c ≠ b} x_c

    Applied column-wise to returns it is the group-relative baseline: unbiased, since
    a member's own action does not enter its baseline. See "Buy 4 REINFORCE Samples,
    Get a Baseline for Free!" (Kool et al. 2019) and https://arxiv.org/abs/2402.14740.

    Args:
      x: f[B, ...].
      group: i[B], members with equal ids share a baseline; None puts all in one.

    Returns:
      f[B, ...]. A group of one keeps its x: there is nothing to compare it with.
    """
    chex.assert_type(x, float)
    num_members = x.shape[0]
    if group is None:
        total, count = x.sum(0, keepdims=True), jnp.full((1,), num_members)
    else:
        chex.assert_shape(group, (num_members,))
        _, index = jnp.unique(group, return_inverse=True, size=num_members)
        total = jax.ops.segment_sum(x, index, num_members)[index]
        count = jnp.bincount(index, length=num_members)[index]
    count = count.reshape(count.shape + (1,) * (x.ndim - 1)).astype(x.dtype)
    others = (total - x) / jnp.maximum(count - 1, 1)
    return jnp.where(count > 1, x - others, x)


def whiten(x: Array, mask: Array | None = None, epsilon: float = 1e-8) -> Array:
    """Shifts and scales to mean 0 and (population) standard deviation 1.

    Args:
      x: f[...], normalised over all of its axes together.
      mask: bool[...], entries that count; the others return 0.
      epsilon: added to the standard deviation.

    Returns:
      f[...].
    """
    chex.assert_type(x, float)
    mask = jnp.ones(x.shape, bool) if mask is None else mask
    chex.assert_equal_shape([x, mask])
    count = jnp.maximum(jnp.sum(mask), 1).astype(x.dtype)
    mean = jnp.sum(x, where=mask) / count
    centred = jnp.where(mask, x - mean, 0.0)
    deviation = jnp.sqrt(jnp.sum(jnp.square(centred)) / count)
    return centred / (deviation + epsilon)
