"""Iterated matrix games: the prisoner's dilemma, public goods and others."""

from aajax.envs.matrix.env import (
    MOST_AGENTS,
    IteratedMatrixGame,
    MatrixState,
    battle_of_the_sexes,
    chicken,
    contribution_game,
    matching_pennies,
    matrix_game,
    prisoners_dilemma,
    prisoners_dilemma_points,
    public_goods,
    seat_views,
    stag_hunt,
    symmetric_game,
)

__all__ = [
    "MOST_AGENTS",
    "IteratedMatrixGame",
    "MatrixState",
    "battle_of_the_sexes",
    "chicken",
    "contribution_game",
    "matching_pennies",
    "matrix_game",
    "prisoners_dilemma",
    "prisoners_dilemma_points",
    "public_goods",
    "seat_views",
    "stag_hunt",
    "symmetric_game",
]
