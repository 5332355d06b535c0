"""Reward transforms: whose rewards an agent is trained to maximise.

All map the agents' rewards f[..., N] to f[..., N].
"""

import jax.numpy as jnp

from aajax.types import Array


def own(reward: Array) -> Array:
    """r_i: each agent's own reward."""
    return reward


def total(reward: Array) -> Array:
    """Σ_j r_j for every agent: the sum of rewards, fully cooperative."""
    return jnp.broadcast_to(reward.sum(-1, keepdims=True), reward.shape)


def mixed(reward: Array, weights: Array) -> Array:
    """Σ_j w_ij r_j, with weights f[N, N]; the identity is `own`, ones are `total`."""
    return reward @ weights.T
