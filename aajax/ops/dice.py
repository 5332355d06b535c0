"""DiCE: Monte-Carlo objectives whose derivatives of every order are right.

An expected return depends on the parameters through the probabilities of the sampled
actions, which the sample itself does not show to automatic differentiation. DiCE
multiplies each sample by a "magic box" of its log-probabilities: 1 in value, with the
score function as its gradient.

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
    """Difference of the magic boxes with and without the action at t; 0 in value.

        box(w_t) − box(w_t − log π_t),   w_t = Σ_{k≤t} λ^(t−k) log π_k

    The gradient is ∇ log π_t; the Hessian is that of the likelihood ratio, with cross
    terms between the action at t and earlier ones.

    Args:
      log_prob_t: f[T], log-probability of the action at t; of the joint action (summed
        over agents) for derivatives with respect to several agents' parameters.
      lambda_: λ in [0, 1], decay of earlier actions' terms in derivatives of second
        and higher order (less variance, some bias); the gradient does not depend on it.
      last_t: bool[T], true at the last step of an episode; None for one episode.

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
    """Returns that are differentiable with respect to an agent's action probabilities.

        R̃_t = R_t + Z_t,   Z_t = d_t (R_t − V_t) + γ λ Z_{t+1}

    with d from `action_boxes`. The value of R̃_t is R_t; its gradient is

        ∇R̃_t = Σ_{k≥t} (γ λ)^(k−t) (R_k − V_k) ∇ log π_k,

    as in LOQA (https://arxiv.org/abs/2405.01035), where π is one agent's policy and
    R, V are the return and value of another. No gradient flows through R and V.

    Args:
      log_prob_t: f[T], log π of the agent with respect to whose policy R̃ is
        differentiated.
      return_t: f[T], R, discounted returns.
      value_t: f[T], V, expected returns.
      gamma: γ in [0, 1].
      lambda_: λ in [0, 1].
      last_t: bool[T], true at the last step of an episode; None for one episode.

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
    """Loaded-DiCE objective: 0, with the derivatives of the discounted return.

        L = Σ_t γ^t d_t A_t

    with d from `action_boxes`. With λ = 1 and A_t = R_t − b_t (R_t the Monte-Carlo
    return from t, b_t a baseline that does not depend on actions from t on),
    derivatives of every order are unbiased, with respect to the parameters of every
    agent in `log_prob_t`, mixed derivatives between agents included.

    Args:
      log_prob_t: f[T], of the joint action: the sum over agents.
      advantage_t: f[T], of the agent whose return is differentiated; no gradient flows
        through it.
      gamma: γ in [0, 1].
      lambda_: as for `action_boxes`.
      last_t: bool[T], true at the last step of an episode; None for one episode.

    Returns:
      f[]; the sum over the episodes.
    """
    chex.assert_equal_shape([log_prob_t, advantage_t])
    boxes = action_boxes(log_prob_t, lambda_, last_t)
    step_t = alignment.summed_past(jnp.ones_like(log_prob_t), gamma, last_t)
    return jnp.sum(gamma**step_t * boxes * jax.lax.stop_gradient(advantage_t))
