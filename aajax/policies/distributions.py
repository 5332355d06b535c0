"""Action distributions, parametrised by a network's scores f32[..., S].

All take `epsilon`, the ε of the ε-soft distribution (1 − ε) π + ε · uniform, from which
actions are sampled; None for π itself. Log-probabilities are those of the mixture if
`corrected`, else those of π (exploration that the learner does not know of).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from aajax.ops import categorical as ops
from aajax.types import Array, PRNGKey

QUADRATURE_POINTS = 20  # entropies to within 3e-4 nats
LOG_STD_RANGE = (-3.0, 1.0)
MEAN_RANGE = 3.0  # of a normal before tanh: tanh 3 = .995
LIMIT = 1 - 1e-6  # of tanh; float32 has no atanh beyond
FARTHEST = 5.3  # deviations from the mean of a normal in float32
LOG_2PI = float(np.log(2 * np.pi))


class Distribution(NamedTuple):
    """An action distribution as pure functions of scores.

    Attributes:
      num_scores: S; None if it is the number of discrete actions.
      sample: `(key, scores) -> (action, log_prob)`.
      log_prob: `(scores, action) -> f32[...]`.
      entropy: `scores -> f32[...]`, in nats.
      probs: `scores -> f32[..., A]`; None if actions cannot be enumerated.
      log_probs: `scores -> f32[..., A]`, of all actions what `log_prob` is of one;
        None likewise.
    """

    num_scores: int | None
    sample: Callable[[PRNGKey, Array], tuple[Array, Array]]
    log_prob: Callable[[Array, Array], Array]
    entropy: Callable[[Array], Array]
    probs: Callable[[Array], Array] | None = None
    log_probs: Callable[[Array], Array] | None = None


def categorical(
    epsilon: Array | float | None = None, corrected: bool = True
) -> Distribution:
    """Categorical over A actions; scores are logits f32[..., A]."""

    def soften(scores):
        return scores if epsilon is None else ops.epsilon_soft(scores, epsilon)

    def log_prob(scores, action):
        return ops.log_prob(soften(scores) if corrected else scores, action)

    def sample(key, scores):
        action = ops.sample(key, soften(scores))
        return action, log_prob(scores, action)

    def entropy(scores):
        return ops.entropy(soften(scores) if corrected else scores)

    def probs(scores):
        return jax.nn.softmax(soften(scores))

    def log_probs(scores):
        return ops.log_probs(soften(scores) if corrected else scores)

    return Distribution(None, sample, log_prob, entropy, probs, log_probs)


def multi_categorical(
    size: int,
    num_actions: int,
    epsilon: Array | float | None = None,
    corrected: bool = True,
) -> Distribution:
    """`size` independent categoricals over A; scores are logits f32[..., size · A].

    Each component is ε-soft on its own.
    """
    single = categorical(epsilon, corrected)

    def split(scores):
        scores = scores.reshape(*scores.shape[:-1], size, num_actions)
        return jnp.moveaxis(scores, -2, 0)

    def sample(key, scores):
        action, log_prob = single.sample(key, split(scores))
        return jnp.moveaxis(action, 0, -1), log_prob.sum(0)

    def log_prob(scores, action):
        return single.log_prob(split(scores), jnp.moveaxis(action, -1, 0)).sum(0)

    def entropy(scores):
        return single.entropy(split(scores)).sum(0)

    return Distribution(size * num_actions, sample, log_prob, entropy)


def binned(
    size: int,
    low: float,
    high: float,
    num_bins: int,
    epsilon: Array | float | None = None,
    corrected: bool = True,
) -> Distribution:
    """`size` real numbers in [low, high], each discretised into `num_bins` even steps.

    A continuous action as independent categoricals (https://arxiv.org/abs/1901.10500):
    unlike a normal it can be multimodal, and it includes `low` and `high`.
    """
    inner = multi_categorical(size, num_bins, epsilon, corrected)
    width = (high - low) / (num_bins - 1)

    def sample(key, scores):
        index, log_prob = inner.sample(key, scores)
        return low + width * index.astype(scores.dtype), log_prob

    def log_prob(scores, action):
        return inner.log_prob(
            scores, jnp.round((action - low) / width).astype(jnp.int32)
        )

    return Distribution(inner.num_scores, sample, log_prob, inner.entropy)


def tanh_normal(
    size: int,
    low: float,
    high: float,
    epsilon: Array | float | None = None,
    corrected: bool = True,
) -> Distribution:
    """`size` independent tanh-transformed normals, real numbers in (low, high).

        a = middle + half · tanh(x),  x ~ N(3 tanh(s_0 / 3), σ²) within ±7.25,
        log σ = s_1 within [−3, 1]

    with scores (s_0, s_1), f32[..., 2 · size]. The normal is truncated to where tanh x
    differs from ±1 in float32, so that densities are exact at the ends too. With
    probability ε the whole action is uniform (not each number on its own). The entropy
    is that of π without ε, by Gauss-Legendre quadrature over x.
    """
    middle, half = (low + high) / 2, (high - low) / 2

    def log_slope(x):
        """log |da/dx| = log half + log(1 − tanh² x), without cancellation."""
        return np.log(4 * half) - 2 * jnp.logaddexp(x, -x)

    def log_prob(scores, action):
        mean, log_std = _moments(scores)
        inner = (jnp.moveaxis(action, -1, 0) - middle) / half
        x = jnp.arctanh(jnp.clip(inner, -LIMIT, LIMIT))
        z = (x - mean) * jnp.exp(-log_std)
        total = jnp.sum(_log_density(z, mean, log_std) - log_slope(x), axis=0)
        if not corrected:
            return total
        return _mixed(total, epsilon, -size * np.log(high - low))

    def sample(key, scores):
        keys = jax.random.split(key, 3)
        mean, log_std = _moments(scores)
        z = jax.random.truncated_normal(keys[0], *_bounds(mean, log_std))
        action = middle + half * jnp.tanh(mean + jnp.exp(log_std) * z)
        if epsilon is not None:
            shape = action.shape
            uniform = jax.random.uniform(keys[1], shape, minval=low, maxval=high)
            explores = jax.random.bernoulli(keys[2], epsilon, shape[1:])
            action = jnp.where(explores[None], uniform, action)
        action = jnp.moveaxis(action, 0, -1)
        return action, log_prob(scores, action)

    def entropy(scores):
        mean, log_std = _moments(scores)
        std = jnp.exp(log_std)
        begin, end = _bounds(mean, log_std)

        # Node by node, and once more when differentiated: nothing is stored.
        @jax.checkpoint
        def add(total, node):
            place, weight = node
            z = (begin + end) / 2 + (end - begin) / 2 * place
            log_p = _log_density(z, mean, log_std)
            inside = weight * (end - begin) / 2 * std * jnp.exp(log_p)
            return total + inside * (log_slope(mean + std * z) - log_p), None

        nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_POINTS)
        nodes, weights = np.asarray(nodes, np.float32), np.asarray(weights, np.float32)
        total, _ = jax.lax.scan(add, jnp.zeros_like(mean), (nodes, weights))
        return jnp.sum(total, axis=0)

    return Distribution(2 * size, sample, log_prob, entropy)


def _moments(scores: Array) -> tuple[Array, Array]:
    """Mean and log σ of the normal before tanh, f32[size, ...] each."""
    mean, log_std = jnp.split(jnp.moveaxis(scores, -1, 0), 2)
    low, high = LOG_STD_RANGE
    squashed = jax.nn.sigmoid(log_std - (low + high) / 2)
    return MEAN_RANGE * jnp.tanh(mean / MEAN_RANGE), low + (high - low) * squashed


def _ends(mean: Array, log_std: Array) -> tuple[Array, Array]:
    """Bounds of the truncated normal, in standard deviations from its mean."""
    inverse = jnp.exp(-log_std)
    most = np.arctanh(LIMIT)
    return (-most - mean) * inverse, (most - mean) * inverse


def _bounds(mean: Array, log_std: Array) -> tuple[Array, Array]:
    """The same, as far as float32 has normal numbers."""
    begin, end = _ends(mean, log_std)
    return jnp.maximum(begin, -FARTHEST), jnp.minimum(end, FARTHEST)


def _log_density(z: Array, mean: Array, log_std: Array) -> Array:
    """Log-density of the truncated normal at x = mean + σ z."""
    begin, end = _ends(mean, log_std)
    outside = ndtr(begin) + ndtr(-end)
    return -0.5 * (jnp.square(z) + LOG_2PI) - log_std - jnp.log1p(-outside)


def _mixed(log_prob: Array, epsilon: Array | float | None, uniform: float) -> Array:
    """log((1 − ε) exp(log_prob) + ε exp(uniform))."""
    if epsilon is None:
        return log_prob
    epsilon = jnp.asarray(epsilon, log_prob.dtype)
    # Without exploration the mixture is π, and log 0 has no gradient.
    explores = epsilon > 0
    safe = jnp.where(explores, epsilon, 0.5)
    mixture = jnp.logaddexp(
        jnp.log1p(-safe) + log_prob,
        jnp.log(safe) + jnp.asarray(uniform, log_prob.dtype),
    )
    return jnp.where(explores, mixture, log_prob)
