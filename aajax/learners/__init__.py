"""Learners: pairs `(init, update)`, where `update` trains a policy on a trajectory."""

from aajax.learners.advantages import (
    centred,
    critic,
    group_relative,
    jointly_whitened,
    whitened,
)
from aajax.learners.attribution import by_regression
from aajax.learners.base import Learner, LearnerState
from aajax.learners.lola import lola_dice, lola_exact
from aajax.learners.lookahead import JointLearner, Lookahead, Outer, joint_learner
from aajax.learners.loqa import LoqaObjective, loqa
from aajax.learners.objective import Objective
from aajax.learners.pola import pola_dice, pola_exact
from aajax.learners.policy_gradient import policy_gradient
from aajax.learners.ppo import ppo
from aajax.learners.presets import (
    advantage_alignment,
    naive,
    pairwise_alignment,
    sum_of_rewards,
)
from aajax.learners.shaping import across_episodes

__all__ = [
    "JointLearner",
    "Learner",
    "LearnerState",
    "Lookahead",
    "LoqaObjective",
    "Objective",
    "Outer",
    "across_episodes",
    "advantage_alignment",
    "by_regression",
    "centred",
    "critic",
    "group_relative",
    "joint_learner",
    "jointly_whitened",
    "lola_dice",
    "lola_exact",
    "loqa",
    "naive",
    "pairwise_alignment",
    "pola_dice",
    "pola_exact",
    "policy_gradient",
    "ppo",
    "sum_of_rewards",
    "whitened",
]
