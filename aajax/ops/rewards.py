"""Social transforms of rewards: whose gain an agent is trained for.

All map f[..., N] to f[..., N].
"""

import jax.numpy as jnp

from aajax.types import Array


def own(reward: Array) -> Array:
    """Each agent its own."""
    return reward


def total(reward: Array) -> Array:
    """Σ_j r_j for everyone: the sum-of-rewards learner."""
    return jnp.broadcast_to(reward.sum(-1, keepdims=True), reward.shape)


def mixed(reward: Array, weights: Array) -> Array:
    """Σ_j w_ij r_j, with weights f[N, N]; the identity is `own`, ones are `total`."""
    return reward @ weights.T
