"""The algorithms by name: compositions of rewards and credit, and nothing else."""

from functools import partial

from aajax.learners.advantages import AdvantageEstimator
from aajax.learners.objective import Objective
from aajax.ops import alignment, rewards
from aajax.types import Array


def naive(advantage: AdvantageEstimator, **options) -> Objective:
    """Every agent for itself: independent policy gradient, or PPO."""
    return Objective(advantage, **options)


def sum_of_rewards(advantage: AdvantageEstimator, **options) -> Objective:
    """Every agent for the sum of all rewards: fully cooperative, exploitable."""
    return Objective(advantage, rewards=rewards.total, **options)


def advantage_alignment(
    advantage: AdvantageEstimator,
    *,
    gamma: Array | float,
    beta: Array | float,
    past: alignment.Past = alignment.discounted_past,
    **options,
) -> Objective:
    """Every agent for itself, with the alignment credit of `ops.alignment`."""
    credit = partial(alignment.alignment_credit, gamma=gamma, beta=beta, past=past)
    return Objective(advantage, credit=credit, **options)
