"""Advantages of every seat of a trajectory: from a baseline or from a critic.

An estimator maps a trajectory to `(advantage, target)`, both f32[T, B, N]; the target,
what a critic should have said, is None where there is no critic.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from aajax.ops import baselines, returns
from aajax.types import Array, Trajectory

AdvantageEstimator = Callable[[Trajectory], tuple[Array, Array | None]]
# (advantage f32[T, B, N], the seats that learn or None for all) -> f32[T, B, N]
Normaliser = Callable[[Array, Sequence[int] | None], Array]


def group_relative(
    gamma: Array | float, group: Array | None = None
) -> AdvantageEstimator:
    """A_t = G_t − mean of G_t over the other games of the group, step by step.

    G is the Monte-Carlo return within the episode: nothing is added where it is cut
    off, so that the baseline of each step compares like with like. A game that is alone
    in its group has advantage 0.

    Args:
      gamma: γ in [0, 1].
      group: i32[B], games to be compared with one another; None compares all.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, None]:
        discount = jnp.where(trajectory.last, 0.0, gamma * trajectory.discount)
        over_games = jax.vmap(returns.discounted_returns, (1, 1), 1)
        over_seats = jax.vmap(over_games, (2, None), 2)
        return_ = over_seats(trajectory.reward, discount)
        compare = partial(baselines.advantage_over_group, group=group)
        return jax.vmap(compare)(return_), None

    return estimate


def critic(
    gamma: Array | float, lambda_: Array | float
) -> Callable[[Trajectory], tuple[Array, Array]]:
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
        compare = partial(baselines.leave_one_out, group=group)
        return jax.vmap(compare)(advantage), target

    return estimate


def chosen(
    estimators: Sequence[AdvantageEstimator], index: Array
) -> AdvantageEstimator:
    """The estimator numbered `index`, i32[], known only at run time, as in a sweep.

    Targets are those of the last estimator that has any: `Objective.value_weight` says
    whether a critic is to learn them.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, Array | None]:
        estimates, targets = zip(*(one(trajectory) for one in estimators), strict=True)
        target = next((t for t in reversed(targets) if t is not None), None)
        return jnp.stack(estimates)[index], target

    return estimate


def unchanged(advantage: Array, seats: Sequence[int] | None) -> Array:
    """A `Normaliser` that leaves advantages as they are."""
    del seats
    return advantage


def whitened(advantage: Array, seats: Sequence[int] | None) -> Array:
    """Advantages of mean 0 and standard deviation 1, learner by learner.

    The seats that learn share one mean and deviation, over [T, B] and themselves. Every
    other seat is whitened by itself: how much it earns, and in what units, must not
    change the size of the learner's own advantages, nor that of the alignment term.
    """
    seats = range(advantage.shape[2]) if seats is None else seats
    others = set(range(advantage.shape[2])).difference(seats)
    result = advantage
    for together in (list(seats), *([seat] for seat in sorted(others))):
        place = np.asarray(together)
        result = result.at[:, :, place].set(baselines.whiten(advantage[:, :, place]))
    return result


def jointly_whitened(advantage: Array, seats: Sequence[int] | None) -> Array:
    """One mean and deviation for all seats of the table, whoever plays them.

    The form of the published code, in which all seats learn with shared parameters and
    earn alike. With other learners, past selves or frozen policies at the table, the
    scale of their advantages becomes that of the learner's.
    """
    del seats
    return baselines.whiten(advantage)
