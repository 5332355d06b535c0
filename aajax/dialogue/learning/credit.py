"""Advantages and credit of each round of text games, from rewards.

    R_i,t = Σ_{l≥t} γ^(l−t) r_i,l / c        discounted returns of M matches
    A_i,t = R_i,t − mean of R_i,t over comparable matches
    c_i,t by `ops.alignment`, as for small networks

For each seat, matches are comparable if the seat is trained in both or in neither, and,
with the baseline "group", if their environments have the same seed.

Source: https://arxiv.org/abs/2511.19405.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from aajax.dialogue.play.matches import Match
from aajax.ops import rewards as sharing
from aajax.ops.alignment import alignment_credit, own_credit
from aajax.ops.baselines import advantage_over_group
from aajax.ops.returns import discounted_returns, gae
from aajax.types import Array

Credit = Callable[[Array], Array]  # advantages f[T, N] → credits f[T, N]


@dataclasses.dataclass(frozen=True)
class Goal:
    """An objective: reward transform and credit.

    Attributes:
      share: reward transform `f[..., N] -> f[..., N]`; see `ops.rewards`.
      credit: advantages to credit; see `ops.alignment`.
    """

    share: Callable[[Array], Array]
    credit: Credit


def naive() -> Goal:
    """Each player maximises its own reward: plain policy gradient."""
    return Goal(sharing.own, own_credit)


def sum_of_rewards() -> Goal:
    """Each player maximises the sum of all rewards."""
    return Goal(sharing.total, own_credit)


def advantage_alignment(gamma: float, beta: float, **options) -> Goal:
    """Each player maximises its own reward, with `ops.alignment.alignment_credit`."""
    return Goal(
        sharing.own,
        lambda advantage_t: alignment_credit(advantage_t, gamma, beta, **options),
    )


def reward_array(matches: Sequence[Match]) -> np.ndarray:
    """f32[M, T, N], raw points."""
    return np.array([match.rewards for match in matches], np.float32)


def comparable(
    matches: Sequence[Match], baseline: Literal["group", "batch"]
) -> np.ndarray:
    """Group ids for the baseline, i32[M, N].

    Two matches have equal ids at a seat if the seat is trained in both or in neither,
    and, with "group", their environments have the same seed.
    """
    group = np.array([match.group for match in matches])
    trained = np.array([match.trained for match in matches])
    return comparable_in(group, trained, baseline)


def comparable_in(
    group: np.ndarray, trained: np.ndarray, baseline: Literal["group", "batch"]
) -> np.ndarray:
    """`comparable` of arrays: the matches' `group`, i[M], and `trained`, bool[M, N]."""
    if baseline == "batch":
        group = np.zeros_like(group)
    group = np.unique(group, return_inverse=True)[1]
    return (2 * group[:, None] + trained.astype(int)).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("discount", "scale"))
def group_advantages(
    reward: Array, compared: Array, discount: float, scale: float
) -> Array:
    """Returns minus the mean return of the other matches of the group, per round.

    The leave-one-out baseline of RLOO and GRPO. A match that is alone in its group has
    advantage 0; see `ops.baselines.advantage_over_group`.

    Args:
      reward: f[M, T, N].
      compared: i32[M, N], group ids of `comparable`.
      discount: γ.
      scale: c, by which rewards are divided.

    Returns:
      f[M, T, N].
    """
    reward = jnp.asarray(reward, jnp.float32) / scale
    discount_t = jnp.full(reward.shape[1], discount, reward.dtype)
    of_seat = jax.vmap(discounted_returns, (1, None), 1)
    returns = jax.vmap(of_seat, (0, None))(reward, discount_t)
    return jax.vmap(advantage_over_group, (2, 1), 2)(returns, jnp.asarray(compared))


@functools.partial(jax.jit, static_argnames=("discount", "lambda_", "scale"))
def critic_advantages(
    reward: Array, value: Array, discount: float, lambda_: float, scale: float
) -> Array:
    """Generalised advantage estimates (GAE); a match terminates with its last round.

    Args:
      reward: f[M, T, N].
      value: f[M, T, N], a critic's estimate of the scaled return at each round.
      discount: γ.
      lambda_: λ.
      scale: c, what rewards are divided by.

    Returns:
      f[M, T, N].
    """
    reward = jnp.asarray(reward, jnp.float32) / scale
    num_rounds = reward.shape[1]
    discount_t = jnp.full(num_rounds, discount, reward.dtype).at[-1].set(0.0)
    value = jnp.concatenate([value, jnp.zeros_like(value[:, :1])], 1)

    def of_seat(reward_t, value_t):
        return gae(reward_t, discount_t, value_t, lambda_)

    return jax.vmap(jax.vmap(of_seat, (1, 1), 1))(reward, value)
