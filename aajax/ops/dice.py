"""Objectives that stay right however often they are differentiated: DiCE.

An expectation over play depends on parameters through the chances of actions, which
samples do not show. The magic box writes the dependence into each sample: it is 1,
and its derivative is the score of the actions that it holds.

See "DiCE: The Infinitely Differentiable Monte-Carlo Estimator"
(https://arxiv.org/abs/1802.05098) and "Loaded DiCE"
(https://arxiv.org/abs/1909.10549).
"""

import chex
import jax
import jax.numpy as jnp

from aajax.ops import alignment, returns
from aajax.types import Array


def magic_box(x: Array) -> Array:
    """exp(x − stop_gradient(x)): 1 wherever x is finite, and ∇ box(x) = box(x) ∇x."""
    return jnp.exp(x - jax.lax.stop_gradient(x))


def action_boxes(
    log_prob_t: Array, lambda_: Array | float = 1.0, last_t: Array | None = None
) -> Array:
    """What the action at t adds to the box of all actions until then.

        box(w_t) − box(w_t − log π_t),   w_t = Σ_{k≤t} λ^(t−k) log π_k

    Zero in value; its gradient is ∇ log π_t, its Hessian that of the likelihood
    ratio, cross terms with earlier actions included.

    Args:
      log_prob_t: f[T], of the action at t; of the joint action, summed over agents,
        if derivatives by several agents' parameters are to be right.
      lambda_: λ in [0, 1]; below 1 derivatives of second and higher order forget
        earlier actions (less variance, some bias). The first is not changed.
      last_t: bool[T], steps after which another episode begins; None for one episode.

    Returns:
      f[T].
    """
    chex.assert_rank(log_prob_t, 1)
    chex.assert_type(log_prob_t, float)
    earlier_t = alignment.strict_past(log_prob_t, lambda_, last_t)
    # As a product, so that sums of scores are not first added and then taken away.
    return magic_box(earlier_t) * (magic_box(log_prob_t) - 1)


def loaded_dice_returns(
    log_prob_t: Array,
    return_t: Array,
    value_t: Array,
    gamma: Array | float,
    lambda_: Array | float,
    last_t: Array | None = None,
) -> Array:
    """Returns that know how an agent's actions shape them.

        R̃_t = R_t + Z_t,   Z_t = d_t (R_t − V_t) + γ λ Z_{t+1}

    with d from `action_boxes`. In value R̃_t = R_t; its gradient is

        ∇R̃_t = Σ_{k≥t} (γ λ)^(k−t) (R_k − V_k) ∇ log π_k,

    as in LOQA (https://arxiv.org/abs/2405.01035), where π is one agent's policy and
    R, V another's. Neither R nor V is differentiated.

    Args:
      log_prob_t: f[T], of the actions of the agent whose influence is asked for.
      return_t: f[T], R, discounted returns.
      value_t: f[T], V, expected returns.
      gamma: γ in [0, 1].
      lambda_: λ in [0, 1].
      last_t: bool[T], steps after which another episode begins; None for one episode.

    Returns:
      f[T].
    """
    chex.assert_equal_shape([log_prob_t, return_t, value_t])
    return_t, value_t = jax.lax.stop_gradient((return_t, value_t))
    boxes = action_boxes(log_prob_t, 1.0, last_t)
    slope_t = jnp.full_like(return_t, gamma * lambda_)
    if last_t is not None:
        slope_t = jnp.where(last_t, 0.0, slope_t)
    shaped = returns.discounted_returns(boxes * (return_t - value_t), slope_t)
    return return_t + shaped


def dice_objective(
    log_prob_t: Array,
    advantage_t: Array,
    gamma: Array | float,
    lambda_: Array | float = 1.0,
    last_t: Array | None = None,
) -> Array:
    """Zero, with the derivatives of an agent's discounted return (loaded DiCE).

        L = Σ_t γ^t d_t A_t

    with d from `action_boxes`. With λ = 1 and A_t = R_t − b_t, R the Monte-Carlo
    return from t and b any baseline that does not depend on the actions from t on,
    derivatives of every order are unbiased, by the parameters of every agent in
    `log_prob_t` and across agents.

    Args:
      log_prob_t: f[T], of the joint action: the sum over agents.
      advantage_t: f[T], of the agent whose return it is; not differentiated.
      gamma: γ in [0, 1].
      lambda_: as for `action_boxes`.
      last_t: bool[T], steps after which another episode begins; None for one episode.

    Returns:
      f[]; the sum over the episodes.
    """
    chex.assert_equal_shape([log_prob_t, advantage_t])
    boxes = action_boxes(log_prob_t, lambda_, last_t)
    step_t = alignment.summed_past(jnp.ones_like(log_prob_t), gamma, last_t)
    return jnp.sum(gamma**step_t * boxes * jax.lax.stop_gradient(advantage_t))
