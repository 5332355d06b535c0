"""Discounted returns, λ-returns and generalised advantages of one agent.

Everything is unbatched, `[T]`; batch with `jax.vmap`. As in rlax, `discount_t` is γ
times the environment's continuation. At a termination it is 0, which ends sums over
time. At a truncation it stays γ and `last_t` is set: the sum ends there too, but
bootstraps from the value of the final observation.
"""

import chex
import jax
import jax.numpy as jnp

from aajax.types import Array


def _reverse_affine(offset_t: Array, slope_t: Array, start: Array) -> Array:
    """y_t = offset_t + slope_t · y_{t+1}, from y_T = start."""

    def body(y, x):
        offset, slope = x
        y = offset + slope * y
        return y, y

    return jax.lax.scan(body, start, (offset_t, slope_t), reverse=True)[1]


def discounted_returns(
    reward_t: Array, discount_t: Array, bootstrap_value: Array | float = 0.0
) -> Array:
    """Monte-Carlo return at every step.

        G_t = r_t + discount_t · G_{t+1},   G_T = bootstrap_value

    Args:
      reward_t: f[T], reward of the action at t.
      discount_t: f[T], γ times the continuation after the action at t.
      bootstrap_value: f[], value of the observation after the last step; 0 for none.

    Returns:
      f[T].
    """
    chex.assert_rank([reward_t, discount_t], 1)
    chex.assert_equal_shape([reward_t, discount_t])
    chex.assert_type([reward_t, discount_t], float)
    start = jnp.asarray(bootstrap_value, reward_t.dtype)
    return _reverse_affine(reward_t, discount_t, start)


def gae(
    reward_t: Array,
    discount_t: Array,
    value_t: Array,
    lambda_: Array | float,
    *,
    last_t: Array | None = None,
    final_value_t: Array | None = None,
) -> Array:
    """Generalised advantage estimates.

        δ_t = r_t + discount_t · v'_{t+1} − v_t
        A_t = δ_t + discount_t · λ · (1 − last_t) · A_{t+1},   A_T = 0

    where v'_{t+1} is `final_value_t[t]` at a last step and `value_t[t + 1]`
    elsewhere. See "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation" (https://arxiv.org/abs/1506.02438).

    Args:
      reward_t: f[T].
      discount_t: f[T], γ times the continuation after the action at t; 0 where the
        game terminated.
      value_t: f[T + 1], value of the observation before each action, and of the one
        after the last action.
      lambda_: λ in [0, 1].
      last_t: bool[T], true at the last step of an episode; None if the array holds
        (part of) one episode.
      final_value_t: f[T], value of an episode's final observation, read only where
        `last_t`; None reads `value_t[t + 1]`, which is right only at the array's end.

    Returns:
      f[T].
    """
    chex.assert_rank([reward_t, discount_t, value_t], 1)
    chex.assert_equal_shape([reward_t, discount_t, value_t[1:]])
    chex.assert_type([reward_t, discount_t, value_t], float)
    next_value_t = value_t[1:]
    slope_t = discount_t * lambda_
    if last_t is not None:
        slope_t = jnp.where(last_t, 0.0, slope_t)
        if final_value_t is not None:
            next_value_t = jnp.where(last_t, final_value_t, next_value_t)
    delta_t = reward_t + discount_t * next_value_t - value_t[:-1]
    return _reverse_affine(delta_t, slope_t, jnp.zeros((), delta_t.dtype))


def lambda_returns(
    reward_t: Array,
    discount_t: Array,
    value_t: Array,
    lambda_: Array | float,
    **options: Array | None,
) -> Array:
    """λ-returns, G^λ_t = v_t + A_t with A from `gae`; same arguments as `gae`."""
    return value_t[:-1] + gae(reward_t, discount_t, value_t, lambda_, **options)
