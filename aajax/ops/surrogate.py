"""Surrogate losses: their negative gradient is a policy gradient weighted by credit.

All take `(log_prob, behaviour_log_prob, credit)` of equal shapes: log π of the policy
that learns, log μ of the policy that acted, and what multiplies ∇ log π. They return a
loss per entry, to be averaged by the caller; only `log_prob` is differentiated.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array

Surrogate = Callable[[Array, Array, Array], Array]


def reinforce(log_prob: Array, behaviour_log_prob: Array, credit: Array) -> Array:
    """−c · log π(a): REINFORCE (Williams 1992); `behaviour_log_prob` is not used."""
    chex.assert_equal_shape([log_prob, behaviour_log_prob, credit])
    return -jax.lax.stop_gradient(credit) * log_prob


def clipped(clip: Array | float) -> Surrogate:
    """−min(ρ c, clip(ρ, 1 − ε, 1 + ε) c) with ρ = π(a) / μ(a).

    The clipped surrogate of PPO (https://arxiv.org/abs/1707.06347). With an alignment
    credit it is Proximal Advantage Alignment.

    Args:
      clip: ε, how far the importance ratio ρ may move from 1.
    """

    def surrogate(log_prob, behaviour_log_prob, credit):
        chex.assert_equal_shape([log_prob, behaviour_log_prob, credit])
        credit = jax.lax.stop_gradient(credit)
        difference = log_prob - jax.lax.stop_gradient(behaviour_log_prob)
        # Far outside any clip; an infinite ratio would make the gradient nan.
        ratio = jnp.exp(jnp.clip(difference, -40.0, 40.0))
        bounded = jnp.clip(ratio, 1 - clip, 1 + clip)
        return -jnp.minimum(ratio * credit, bounded * credit)

    return surrogate


def truncated_importance(cap: Array | float) -> Surrogate:
    """−stop_gradient(min(π(a) / μ(a), cap)) · c · log π(a).

    Off-policy REINFORCE with a truncated importance ratio (Ionides 2008): the actions
    were sampled by μ, an older version of π or a sampler of lower precision.

    Args:
      cap: upper bound of the importance ratio.
    """

    def surrogate(log_prob, behaviour_log_prob, credit):
        chex.assert_equal_shape([log_prob, behaviour_log_prob, credit])
        ratio = jnp.minimum(jnp.exp(log_prob - behaviour_log_prob), cap)
        return -jax.lax.stop_gradient(ratio * credit) * log_prob

    return surrogate


def kl_k3(log_prob: Array, reference_log_prob: Array) -> Array:
    """exp(d) − 1 − d with d = log π_ref(a) − log π(a).

    The "k3" estimator: in value an unbiased estimate of KL(π ‖ π_ref) from actions of
    π, never negative and of lower variance than −d
    (http://joschu.net/blog/kl-approx.html).

    Its gradient, (1 − exp(d)) ∇ log π(a), estimates another quantity: in expectation
    over actions of π it is ∇ KL(π_ref ‖ π). This is the penalty of published code
    (GRPO, https://arxiv.org/abs/2402.03300). It is largest at actions that are likely
    under the reference and rare under π, where one action weighs exp(d). For the
    gradient of KL(π ‖ π_ref) see `kl_k3_reverse`.
    """
    chex.assert_equal_shape([log_prob, reference_log_prob])
    difference = reference_log_prob - log_prob
    return jnp.expm1(difference) - difference


def kl_k3_reverse(log_prob: Array, reference_log_prob: Array) -> Array:
    """`kl_k3` in value, with a gradient that is unbiased for ∇ KL(π ‖ π_ref).

    The gradient is −d ∇ log π(a), that of ½ d² ("k2"): over actions of π its
    expectation is ∇ KL(π ‖ π_ref) = E[(log π − log π_ref) ∇ log π]. For a sequence it
    is summed over tokens, each conditioned on those before it; the effect of earlier
    tokens on later divergences is left out, as in `kl_k3`.
    """
    value = jax.lax.stop_gradient(kl_k3(log_prob, reference_log_prob))
    k2 = jnp.square(reference_log_prob - log_prob) / 2
    return value + k2 - jax.lax.stop_gradient(k2)
