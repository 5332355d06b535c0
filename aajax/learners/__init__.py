"""Learners: pairs `(init, update)`, where `update` trains a policy on a trajectory."""

from aajax.learners.advantages import (
    centred,
    critic,
    group_relative,
    jointly_whitened,
    whitened,
)
from aajax.learners.base import Learner, LearnerState
from aajax.learners.lola import JointLearner, lola_dice, lola_exact
from aajax.learners.loqa import LoqaObjective, loqa
from aajax.learners.objective import Objective
from aajax.learners.policy_gradient import policy_gradient
from aajax.learners.ppo import ppo
from aajax.learners.presets import advantage_alignment, naive, sum_of_rewards

__all__ = [
    "JointLearner",
    "Learner",
    "LearnerState",
    "LoqaObjective",
    "Objective",
    "advantage_alignment",
    "centred",
    "critic",
    "group_relative",
    "jointly_whitened",
    "lola_dice",
    "lola_exact",
    "loqa",
    "naive",
    "policy_gradient",
    "ppo",
    "sum_of_rewards",
    "whitened",
]
