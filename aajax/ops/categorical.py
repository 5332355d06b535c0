"""Categorical distributions given by logits, over the last axis.

Logits may be −inf for actions of probability 0.
"""

import itertools

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array, PRNGKey

# Up to so many, formulas run over the leading axis, action by action, so that a CPU
# computes several games at once.
FEW_ACTIONS = 32
_BLOCK = 128  # of more


def sample(key: PRNGKey, logits: Array) -> Array:
    """Samples i32[...] from logits f[..., A], by inverting the CDF.

    Draws one uniform number per sample, where the Gumbel-max trick of
    `jax.random.categorical` draws A.
    """
    uniform = jax.random.uniform(key, logits.shape[:-1], logits.dtype)
    if logits.shape[-1] > FEW_ACTIONS:
        return _place_among_many(uniform, jnp.exp(jax.nn.log_softmax(logits)))
    cumulative = list(itertools.accumulate(jnp.exp(_log_softmax_first(logits))))
    # Scaled by the last entry: rounding may leave it a little below 1.
    threshold = uniform * cumulative[-1]
    index = jnp.zeros(threshold.shape, jnp.int32)
    for step in cumulative[:-1]:
        index += (step <= threshold).astype(jnp.int32)
    return index


def log_prob(logits: Array, action: Array) -> Array:
    """log π(action), f[...] from logits f[..., A] and action i[...] below A."""
    chex.assert_type(action, int)
    if logits.shape[-1] > FEW_ACTIONS:
        log_probs = jax.nn.log_softmax(logits)
        return jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]
    log_probs = _log_softmax_first(logits)
    result = jnp.zeros_like(log_probs[0])
    for index, each in enumerate(log_probs):
        result = jnp.where(action == index, each, result)
    return result


def log_probs(logits: Array) -> Array:
    """log π of every action, f[..., A]."""
    if logits.shape[-1] > FEW_ACTIONS:
        return jax.nn.log_softmax(logits)
    return jnp.moveaxis(_log_softmax_first(logits), 0, -1)


def entropy(logits: Array) -> Array:
    """−Σ_a π(a) log π(a) in nats, f[...]; actions of probability 0 add nothing."""
    log_p = log_probs(logits)
    # Both factors are made finite, or the gradient of 0 · −inf would be nan.
    finite = jnp.where(jnp.isneginf(log_p), 0.0, log_p)
    return -jnp.sum(jnp.exp(log_p) * finite, axis=-1)


def divergence(log_p: Array, log_q: Array) -> Array:
    """KL(p ‖ q) = Σ_a p(a) (log p(a) − log q(a)) in nats, f[...].

    Args:
      log_p: f[..., A]; actions of probability 0 add nothing.
      log_q: f[..., A].
    """
    possible = ~jnp.isneginf(log_p)
    # Both factors are made finite, or the gradient of 0 · −inf would be nan.
    difference = jnp.where(possible, log_p, 0.0) - jnp.where(possible, log_q, 0.0)
    return jnp.sum(jnp.exp(log_p) * difference, axis=-1)


def epsilon_soft(logits: Array, epsilon: Array | float) -> Array:
    """Logits of (1 − ε) π + ε · uniform, f[..., A].

    The ε-soft policy. Both sampling and log-probabilities use the mixture, so that
    learning stays on-policy for any ε.
    """
    log_p = log_probs(logits)
    epsilon = jnp.asarray(epsilon, logits.dtype)
    mixture = (1 - epsilon) * jnp.exp(log_p) + epsilon / logits.shape[-1]
    # Without exploration a probability may underflow to 0, whose logarithm has no
    # gradient: log π itself is then exact.
    tiny = jnp.finfo(logits.dtype).tiny
    return jnp.where(epsilon > 0, jnp.log(jnp.maximum(mixture, tiny)), log_p)


def _log_softmax_first(logits: Array) -> Array:
    """f[A, ...] from f[..., A]."""
    return jax.nn.log_softmax(jnp.moveaxis(logits, -1, 0), axis=0)


def _place_among_many(uniform: Array, probs: Array) -> Array:
    """As `_place`, in two levels of blocks: CPUs are slow to sum along a long axis."""
    count = probs.shape[-1]
    padding = [(0, 0)] * (probs.ndim - 1) + [(0, -count % _BLOCK)]
    blocks = jnp.pad(probs, padding).reshape(*probs.shape[:-1], -1, _BLOCK)
    block, rest = _place(uniform, blocks.sum(-1))
    inside = jnp.take_along_axis(blocks, block[..., None, None], axis=-2)[..., 0, :]
    return _BLOCK * block + _place(rest, inside)[0]


def _place(uniform: Array, weights: Array) -> tuple[Array, Array]:
    """Inverse CDF at uniform · Σ weights: the index, and the remainder in [0, 1)."""
    cumulative = jnp.cumsum(weights, axis=-1)
    # A long sum is rounded unevenly: without this a weight of 0 could have a gap of
    # its own.
    positive = jnp.where(weights > 0, cumulative, 0.0)
    cumulative = jax.lax.cummax(positive, axis=weights.ndim - 1)
    threshold = (uniform * cumulative[..., -1])[..., None]
    index = jnp.sum(cumulative[..., :-1] <= threshold, axis=-1, dtype=jnp.int32)
    own = jnp.take_along_axis(weights, index[..., None], axis=-1)
    into = threshold - (jnp.take_along_axis(cumulative, index[..., None], -1) - own)
    below_one = 1 - jnp.finfo(uniform.dtype).epsneg
    return index, jnp.clip(into / own, 0, below_one)[..., 0]
