"""Objectives of the published algorithms, as compositions of rewards and credit."""

from functools import partial

from aajax.learners.advantages import AdvantageEstimator
from aajax.learners.attribution import Attribution
from aajax.learners.objective import Objective
from aajax.ops import alignment, rewards
from aajax.types import Array


def naive(advantage: AdvantageEstimator, **options) -> Objective:
    """Each agent maximises its own reward: independent policy gradient, or PPO."""
    return Objective(advantage, **options)


def sum_of_rewards(advantage: AdvantageEstimator, **options) -> Objective:
    """Each agent maximises the sum of all rewards: fully cooperative, exploitable."""
    return Objective(advantage, rewards=rewards.total, **options)


def advantage_alignment(
    advantage: AdvantageEstimator,
    *,
    gamma: Array | float,
    beta: Array | float,
    past: alignment.Past = alignment.discounted_past,
    **options,
) -> Objective:
    """Each agent maximises its own reward, with the credit of `ops.alignment`."""
    credit = partial(alignment.alignment_credit, gamma=gamma, beta=beta, past=past)
    return Objective(advantage, credit=credit, **options)


def pairwise_alignment(
    advantage: AdvantageEstimator,
    attribution: Attribution,
    *,
    gamma: Array | float,
    beta: Array | float,
    past: alignment.Past = alignment.discounted_past,
    **options,
) -> Objective:
    """Likewise, and each co-player is paid back for what it did itself."""
    credit = partial(alignment.pairwise_credit, gamma=gamma, beta=beta, past=past)
    return Objective(advantage, credit=credit, attribution=attribution, **options)
