"""The advantage-alignment credit, for small networks and LLMs alike.

    c_i,t = A_i,t + β · past(A_i)_t · Σ_{j≠i} A_j,t

The credit multiplies ∇ log π in a policy gradient. Its second term rewards actions
that help the co-players while the agent's own past advantages are positive, and
actions that harm them while these are negative: tit-for-tat as a gradient. The
published variants differ only in `past`, how past advantages are summed up. A `past`
is a function `(a_t, gamma, last_t) -> [T, ...]`; `chain` applies further functions
(`sign`, `clip(c)`, `per_step`, ...) to its result.

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
    """γ Σ_{k<t} γ^(t−k) a_k, discounted sum of past advantages.

    That of the first paper, and of the published code for language models. Computed by
    the recurrence s_{t+1} = γ (s_t + a_t): powers γ^−k would overflow for long
    episodes.

    Args:
      a_t: f[T, ...], advantages, time first.
      gamma: γ in [0, 1].
      last_t: bool[T], true at the last step of an episode, after which the sum starts
        again from 0; None for a single episode.

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
    """Σ_{k≤t} γ^(t−k) a_k: includes the advantage at t itself."""
    return a_t + strict_past(a_t, gamma, last_t)


def fading_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """Σ_{k<t} γ^(t−k) a_k + γ^t a_t: includes a_t with a decaying weight."""
    return strict_past(a_t, gamma, last_t) + gamma ** _steps(a_t, last_t) * a_t


def summed_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """Σ_{k<t} a_k, undiscounted; `gamma` is not used."""
    del gamma
    return _scan_past(a_t, last_t, jnp.add)


def mean_past(a_t: Array, gamma: Array | float, last_t: Array | None = None) -> Array:
    """(1/t) Σ_{k<t} a_k, 0 at t = 0; `gamma` is not used.

    The variant in the published code for small networks.
    """
    return summed_past(a_t, gamma, last_t) / jnp.maximum(_steps(a_t, last_t), 1)


def chain(past: Past, *functions: Callable[[Array, Array], Array]) -> Past:
    """A `past` whose result is passed through `functions` in order.

    Args:
      past: such as `discounted_past` or `mean_past`.
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


def selected(pasts: Sequence[Past], index: Array) -> Past:
    """`pasts[index]` for a traced index, i32[], as in a sweep over variants."""

    def past(a_t, gamma, last_t=None):
        return jnp.stack([one(a_t, gamma, last_t) for one in pasts])[index]

    return past


def sign(w_t: Array, step_t: Array) -> Array:
    """sign(w_t): −1, 0 or 1."""
    del step_t
    return jnp.sign(w_t)


def clip(limit: float) -> Callable[[Array, Array], Array]:
    """Clips w_t to [−limit, limit]."""
    if not limit > 0:
        raise InputError(f"limit is {limit}: a number above 0 is needed")
    return lambda w_t, step_t: jnp.clip(w_t, -limit, limit)


def positive(w_t: Array, step_t: Array) -> Array:
    """max(w_t, 0): never rewards harming co-players."""
    del step_t
    return jnp.maximum(w_t, 0.0)


def per_step(w_t: Array, step_t: Array) -> Array:
    """w_t / (1 + t), so that sums over a longer past do not weigh more."""
    return w_t / (1 + step_t)


def cooperative_start(w_t: Array, step_t: Array) -> Array:
    """Sets w_0 = 1: the first action is rewarded for helping the co-players."""
    return jnp.where(step_t == 0, 1.0, w_t)


def own_credit(advantage_t: Array, *, last_t: Array | None = None) -> Array:
    """c_i,t = A_i,t: the plain policy gradient, without an alignment term."""
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

    With two agents and `discounted_past` this is equation 7 of
    https://arxiv.org/abs/2406.14662; with more, the co-players' advantages are summed.
    β = 0 gives `own_credit`.

    Args:
      advantage_t: f[T, N], advantage of each agent's own action, whitened or not; no
        gradient flows through it.
      gamma: γ in [0, 1], discount factor passed to `past`.
      beta: β, weight of the alignment term.
      past: how an agent's past advantages are summed up, one of the functions above.
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


def pairwise_credit(
    advantage_t: Array,
    gamma: Array | float,
    beta: Array | float,
    past: Past = discounted_past,
    *,
    advantage_by_t: Array,
    last_t: Array | None = None,
) -> Array:
    """c_i,t = A_i,t + β Σ_{j≠i} past(A_i^j)_t · A_j,t.

    A_i^j is the part of agent i's advantage that is owed to agent j's action. In
    `alignment_credit` an agent has one past, so that what one co-player did is paid
    back to all; here each is paid back for what it did itself. With two agents it
    leaves out of the past what an agent brought upon itself.

    With A_i^j = E[A_i | s, a_j], `strict_past` and γ = 1 its expected gradient is, per
    β, what an agent gains to first order by shaping co-players that step along their
    natural gradients (LOLA, https://arxiv.org/abs/1709.04326, with as many co-players
    as there are), if they judge the present step as though the agent did not move.

    Args:
      advantage_t: f[T, N], as for `alignment_credit`.
      gamma: γ in [0, 1], discount factor passed to `past`.
      beta: β, weight of the alignment term.
      past: how past advantages are summed up, one of the functions above.
      advantage_by_t: f[T, N, N], A_i^j in row i and column j; the diagonal is not read.
        `ops.attribution` estimates it.
      last_t: bool[T], as for `past`.

    Returns:
      f[T, N], what multiplies ∇ log π_i(a_i,t).
    """
    chex.assert_rank(advantage_t, 2)
    chex.assert_shape(advantage_by_t, (*advantage_t.shape, advantage_t.shape[1]))
    chex.assert_type([advantage_t, advantage_by_t], float)
    advantage_t, advantage_by_t = jax.lax.stop_gradient((advantage_t, advantage_by_t))
    past_t = past(advantage_by_t, gamma, last_t)
    themselves = jnp.eye(advantage_t.shape[1], dtype=bool)
    owed_t = jnp.where(themselves, 0.0, past_t * advantage_t[:, None])
    return advantage_t + beta * jnp.sum(owed_t, axis=2)


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
