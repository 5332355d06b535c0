"""Advantage estimators for all seats of a trajectory, and their normalisation.

An estimator maps a trajectory to `(advantage, target)`, both f32[T, B, N]: advantages,
and regression targets of the critic; None without a critic.
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
    """A_t = G_t − mean of G_t over the other games of the group, at each time step t.

    A leave-one-out baseline in place of a critic, as in RLOO and GRPO. G is the
    discounted return within the episode, without a bootstrap at truncation. A game that
    is alone in its group has advantage 0.

    Args:
      gamma: γ in [0, 1].
      group: i32[B], ids of the games' groups; None puts all in one.
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
    """Generalised advantage estimates (GAE) from the values recorded in the trajectory.

    Targets are the λ-returns A + V. Truncated episodes bootstrap from the value of the
    final observation, terminated ones do not.
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
    """`estimator`'s advantages minus their mean over the group's other games, per step.

    A critic with a constant error, as at the start of training, shifts all advantages
    of a step by a constant. This does not bias plain policy gradients, but it does bias
    an alignment credit: if all past advantages come out negative, it makes agents harm
    one another.
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, Array | None]:
        advantage, target = estimator(trajectory)
        compare = partial(baselines.leave_one_out, group=group)
        return jax.vmap(compare)(advantage), target

    return estimate


def selected(
    estimators: Sequence[AdvantageEstimator], index: Array
) -> AdvantageEstimator:
    """`estimators[index]` for a traced index, i32[], as in a sweep over estimators.

    Targets are those of the last estimator that has any; set `Objective.value_weight`
    to 0 where no critic is to be trained on them.
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
    """Advantages whitened to mean 0 and standard deviation 1, per learner.

    The seats that learn share one mean and deviation, over [T, B] and these seats.
    Every other seat is whitened by itself, so that the scale of its rewards changes
    neither the learner's own advantages nor the alignment term.
    """
    seats = range(advantage.shape[2]) if seats is None else seats
    others = set(range(advantage.shape[2])).difference(seats)
    result = advantage
    for together in (list(seats), *([seat] for seat in sorted(others))):
        place = np.asarray(together)
        result = result.at[:, :, place].set(baselines.whiten(advantage[:, :, place]))
    return result


def jointly_whitened(advantage: Array, seats: Sequence[int] | None) -> Array:
    """Advantages whitened with one mean and deviation over all seats.

    As in the published code, where all seats share parameters. With other policies in
    some seats (other learners, past checkpoints, frozen policies), the scale of their
    advantages affects the learner's.
    """
    del seats
    return baselines.whiten(advantage)
