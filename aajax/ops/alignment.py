"""The advantage-alignment credit, for small networks and LLMs alike.

    c_i,t = A_i,t + β · past(A_i)_t · Σ_{j≠i} A_j,t

An agent is paid, on top of its own advantage, for actions that serve its co-players
when its own past went well, and for actions that hurt them when it did not. The
published variants differ only in `past`: small functions `past(a_t, gamma, last_t)`
here, and functions of their result, joined by `chain`.

See "Advantage Alignment Algorithms" (https://arxiv.org/abs/2406.14662) and "Learning
Robust Social Strategies with LLMs" (https://arxiv.org/abs/2511.19405).
"""

from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.types import Array

Past = Callable[..., Array]  # (a_t[T, ...], gamma, last_t[T] | None) -> [T, ...]


def discounted_past(
    a_t: Array, gamma: Array | float, last_t: Array | None = None
) -> Array:
    """γ Σ_{k<t} γ^(t−k) a_k, the published estimator (both papers' code).

    Computed by s_{t+1} = γ (s_t + a_t), never by γ^−k, so that it stays finite for
    any T.

    Args:
      a_t: f[T, ...], advantages, time first.
      gamma: γ in [0, 1].
      last_t: bool[T], steps after which a new episode begins and the past is
        forgotten; None for a single episode.

    Returns:
      f[T, ...]; 0 at the first step of every episode.
    """
    return gamma * strict_past(a_t, gamma, last_t)


def strict_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """Σ_{k<t} γ^(t−k) a_k: `discounted_past` without the extra factor γ."""
    return _scan_past(a_t, last_t, lambda past, a: gamma * (past + a))


def inclusive_past(
    a_t: Array, gamma: Array | float, last_t: Array | None = None
) -> Array:
    """Σ_{k≤t} γ^(t−k) a_k: the present advantage counts as past."""
    return a_t + strict_past(a_t, gamma, last_t)


def fading_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """Σ_{k<t} γ^(t−k) a_k + γ^t a_t: the present counts, less and less."""
    return strict_past(a_t, gamma, last_t) + gamma ** _steps(a_t, last_t) * a_t


def summed_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """Σ_{k<t} a_k, undiscounted; `gamma` is not used."""
    del gamma
    return _scan_past(a_t, last_t, jnp.add)


def mean_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """(1/t) Σ_{k<t} a_k, 0 at t = 0: the small-network code; `gamma` is not used."""
    return summed_past(a_t, gamma, last_t) / jnp.maximum(_steps(a_t, last_t), 1)


def chain(past: Past, *functions: Callable[[Array, Array], Array]) -> Past:
    """`past`, then each function in turn on its result.

    Args:
      past: any of the pasts above.
      *functions: `(w_t[T, ...], step_t[T, ...]) -> [T, ...]`, where `step_t` counts
        steps within the episode from 0: `sign`, `clip(c)`, `per_step`,
        `cooperative_start`.
    """

    def chained(a_t, gamma, last_t=None):
        w_t = past(a_t, gamma, last_t)
        for function in functions:
            w_t = function(w_t, _steps(a_t, last_t))
        return w_t

    return chained


def chosen(pasts: Sequence[Past], index: Array) -> Past:
    """The past numbered `index`, i32[], known only at run time, as in a sweep."""

    def past(a_t, gamma, last_t=None):
        return jnp.stack([one(a_t, gamma, last_t) for one in pasts])[index]

    return past


def sign(w_t: Array, step_t: Array) -> Array:
    """Only the direction of the past: −1, 0 or 1."""
    del step_t
    return jnp.sign(w_t)


def clip(limit: float) -> Callable[[Array, Array], Array]:
    """The past bounded to [−limit, limit]."""
    if not limit > 0:
        raise InputError(f"limit is {limit}: a number above 0 is needed")
    return lambda w_t, step_t: jnp.clip(w_t, -limit, limit)


def positive(w_t: Array, step_t: Array) -> Array:
    """max(w_t, 0): rewards a good past, and does not take revenge for a bad one."""
    del step_t
    return jnp.maximum(w_t, 0.0)


def per_step(w_t: Array, step_t: Array) -> Array:
    """w_t / (1 + t), so that late steps do not weigh more than early ones."""
    return w_t / (1 + step_t)


def cooperative_start(w_t: Array, step_t: Array) -> Array:
    """w_0 = 1: with no past to judge by, side with the co-players."""
    return jnp.where(step_t == 0, 1.0, w_t)


def own_credit(advantage_t: Array, *, last_t: Array | None = None) -> Array:
    """c_i,t = A_i,t: plain policy gradient."""
    del last_t
    return advantage_t


def alignment_credit(
    advantage_t: Array,
    gamma: Array | float,
    beta: Array | float,
    past: Past = discounted_past,
    *,
    last_t: Array | None = None,
) -> Array:
    """c_i,t = A_i,t + β · past(A_i)_t · Σ_{j≠i} A_j,t.

    β = 0 gives `own_credit`. With two agents and `discounted_past` it is equation 7
    of https://arxiv.org/abs/2406.14662; with N the co-players' advantages add up.

    Args:
      advantage_t: f[T, N], every agent's advantage at its own action, unnormalised
        or whitened; not differentiated through.
      gamma: γ in [0, 1], by which `past` discounts.
      beta: β, weight of the alignment term.
      past: how an agent's past advantages are summed up.
      last_t: bool[T], as for `past`.

    Returns:
      f[T, N], what multiplies ∇ log π_i(a_i,t).
    """
    chex.assert_rank(advantage_t, 2)
    chex.assert_type(advantage_t, float)
    advantage_t = jax.lax.stop_gradient(advantage_t)
    # Added up, and not taken from the sum of all: that would leave a rounding error of
    # the size of one's own advantage.
    others_t = sum(
        (jnp.roll(advantage_t, -k, axis=1) for k in range(1, advantage_t.shape[1])),
        start=jnp.zeros_like(advantage_t),
    )
    return advantage_t + beta * past(advantage_t, gamma, last_t) * others_t


def _scan_past(
    a_t: Array, last_t: Array | None, push: Callable[[Array, Array], Array]
) -> Array:
    """past_0 = 0, past_{t+1} = push(past_t, a_t), or 0 after a last step."""
    last_t = jnp.zeros(a_t.shape[0], bool) if last_t is None else last_t
    chex.assert_shape(last_t, a_t.shape[:1])

    def body(past, x):
        a, last = x
        return jnp.where(last, 0.0, push(past, a)), past

    return jax.lax.scan(body, jnp.zeros_like(a_t[0]), (a_t, last_t))[1]


def _steps(a_t: Array, last_t: Array | None) -> Array:
    """Steps since the episode began, as floats of a_t's shape and type."""
    # Counted in float32: bfloat16 would not count beyond 256.
    steps = _scan_past(jnp.ones(a_t.shape, jnp.float32), last_t, jnp.add)
    return steps.astype(a_t.dtype)
