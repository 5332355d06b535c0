"""Categorical distributions given by logits, over the last axis.

Logits may be −inf for actions that are never taken.
"""

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array, PRNGKey

FEW_ACTIONS = 32


def sample(key: PRNGKey, logits: Array) -> Array:
    """One index per distribution, i32[...] from f[..., A], by inverse CDF.

    One uniform number per sample, against A for the Gumbel trick.
    """
    probs = jnp.exp(_log_softmax(logits))
    cumulative = jnp.cumsum(probs, axis=-1)
    if logits.shape[-1] > 2:
        # A long sum is rounded unevenly: without this an action of probability 0
        # could have a gap of its own.
        positive = jnp.where(probs > 0, cumulative, 0.0)
        cumulative = jax.lax.cummax(positive, axis=logits.ndim - 1)
    # Scaled by the last entry: rounding may leave it a little below 1.
    uniform = jax.random.uniform(key, logits.shape[:-1], logits.dtype)
    threshold = (uniform * cumulative[..., -1])[..., None]
    return jnp.sum(cumulative[..., :-1] <= threshold, axis=-1, dtype=jnp.int32)


def log_prob(logits: Array, action: Array) -> Array:
    """log π(action), f[...] from logits f[..., A] and action i[...]."""
    chex.assert_type(action, int)
    log_probs = _log_softmax(logits)
    return jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]


def entropy(logits: Array) -> Array:
    """−Σ_a π(a) log π(a) in nats, f[...]; actions of probability 0 add nothing."""
    log_probs = _log_softmax(logits)
    # Both factors are made finite, or the gradient of 0 · −inf would be nan.
    finite = jnp.where(jnp.isneginf(log_probs), 0.0, log_probs)
    return -jnp.sum(jnp.exp(log_probs) * finite, axis=-1)


def epsilon_soft(logits: Array, epsilon: Array | float) -> Array:
    """Logits of (1 − ε) π + ε · uniform, f[..., A].

    The ε-soft policy samples, and is differentiated, as the mixture that it is, so
    that learning stays on-policy however large ε.
    """
    log_probs = _log_softmax(logits)
    epsilon = jnp.asarray(epsilon, logits.dtype)
    mixture = (1 - epsilon) * jnp.exp(log_probs) + epsilon / logits.shape[-1]
    # Without exploration a probability may underflow to 0, whose logarithm has no
    # gradient: log π itself is then exact.
    tiny = jnp.finfo(logits.dtype).tiny
    return jnp.where(epsilon > 0, jnp.log(jnp.maximum(mixture, tiny)), log_probs)


def _log_softmax(logits: Array) -> Array:
    if logits.shape[-1] > FEW_ACTIONS:
        return jax.nn.log_softmax(logits)
    # Reduced over the leading axis, so that a CPU computes several games at once: three
    # times as fast for two actions.
    moved = jax.nn.log_softmax(jnp.moveaxis(logits, -1, 0), axis=0)
    return jnp.moveaxis(moved, 0, -1)
