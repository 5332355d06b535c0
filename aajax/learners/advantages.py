"""Advantages of every seat of a trajectory: from a baseline or from a critic.

An estimator maps a trajectory to `(advantage, target)`, both f32[T, B, N]; the target,
what a critic should have said, is None where there is no critic.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from aajax.ops import baselines, returns
from aajax.types import Array, Trajectory

AdvantageEstimator = Callable[[Trajectory], tuple[Array, Array | None]]


def group_relative(
    gamma: Array | float, group: Array | None = None
) -> AdvantageEstimator:
    """A_t = G_t − mean of G_t over the other games of the group, step by step.

    G is the Monte-Carlo return within the episode: nothing is added where it is cut
    off, so that the baseline of each step compares like with like.

    Args:
      gamma: γ in [0, 1].
      group: i32[B], games to be compared with one another; None compares all.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, None]:
        discount = jnp.where(trajectory.last, 0.0, gamma * trajectory.discount)
        over_games = jax.vmap(returns.discounted_returns, (1, 1), 1)
        over_seats = jax.vmap(over_games, (2, None), 2)
        return_ = over_seats(trajectory.reward, discount)
        return _relative(return_, group), None

    return estimate


def critic(gamma: Array | float, lambda_: Array | float) -> AdvantageEstimator:
    """Generalised advantages from the values that the policies recorded in play.

    Targets are the λ-returns, A + v. An episode that is cut off counts on with the
    value of its final observation; one that ends does not.
    """

    def estimate_one(reward_t, discount_t, last_t, value_t, next_value_t):
        advantage_t = returns.gae(
            reward_t,
            discount_t,
            jnp.append(value_t, next_value_t[-1]),
            lambda_,
            last_t=last_t,
            final_value_t=next_value_t,
        )
        return advantage_t, advantage_t + value_t

    def estimate(trajectory: Trajectory) -> tuple[Array, Array]:
        over_games = jax.vmap(estimate_one, 1, 1)
        over_seats = jax.vmap(over_games, (2, None, None, 2, 2), 2)
        return over_seats(
            trajectory.reward,
            gamma * trajectory.discount,
            trajectory.last,
            trajectory.value,
            trajectory.next_value,
        )

    return estimate


def centred(
    estimator: AdvantageEstimator, group: Array | None = None
) -> AdvantageEstimator:
    """The estimator's advantages, minus their mean over the other games, by step.

    A critic that is wrong by the same amount everywhere, as every critic is at first,
    makes all advantages of a step wrong by the same amount. Plain policy gradients do
    not mind; an alignment credit does: if every past looks worse than expected, it
    turns agents against one another.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, Array | None]:
        advantage, target = estimator(trajectory)
        return _relative(advantage, group), target

    return estimate


def chosen(
    estimators: Sequence[AdvantageEstimator], index: Array
) -> AdvantageEstimator:
    """The estimator numbered `index`, i32[], known only at run time, as in a sweep.

    Targets are those of the last estimator that has any: one without leaves the critic
    to learn what nothing asks for.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, Array | None]:
        estimates, targets = zip(*(one(trajectory) for one in estimators), strict=True)
        target = next((t for t in reversed(targets) if t is not None), None)
        return jnp.stack(estimates)[index], target

    return estimate


def _relative(x: Array, group: Array | None) -> Array:
    """f32[T, B, N], each step and seat relative to the other games of the group."""
    return jax.vmap(lambda step: baselines.leave_one_out(step, group))(x)
