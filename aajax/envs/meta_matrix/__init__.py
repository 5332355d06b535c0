"""The meta-game against a naive learner of a matrix game."""

from aajax.envs.meta_matrix.env import LIMIT, MetaMatrixGame, MetaState, meta_ipd

__all__ = ["LIMIT", "MetaMatrixGame", "MetaState", "meta_ipd"]
