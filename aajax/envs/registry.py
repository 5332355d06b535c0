"""Worlds by name."""

import inspect
from typing import Any

from aajax import schema
from aajax.envs import coin, matrix, negotiation, split, trust_and_split
from aajax.envs.base import Environment
from aajax.envs.harvest import commons_harvest
from aajax.errors import InputError

ENVIRONMENTS = {
    "ipd": matrix.prisoners_dilemma,
    "ipd_points": matrix.prisoners_dilemma_points,
    "contribution": matrix.contribution_game,
    "chicken": matrix.chicken,
    "stag_hunt": matrix.stag_hunt,
    "battle_of_the_sexes": matrix.battle_of_the_sexes,
    "matching_pennies": matrix.matching_pennies,
    "public_goods": matrix.public_goods,
    "coin": coin.coin_game,
    "negotiation": negotiation.negotiation,
    "harvest": commons_harvest,
    "split": split.split,
    "trust_and_split": trust_and_split.trust_and_split,
}


def make(name: str, **options) -> Environment:
    """The world called `name`, built with its constructor's options.

    Raises:
      InputError: if there is no such world, or it has no such option.
    """
    accepted = parameters(name)
    for option in options:
        if option not in accepted:
            raise InputError(
                f"game {name!r} has no such option: {option}, only "
                f"{', '.join(accepted)}"
            )
    return ENVIRONMENTS[name](**options)


def parameters(name: str) -> dict[str, Any]:
    """The options of a world by name, with their annotations.

    Raises:
      InputError: if there is no such world.
    """
    if name not in ENVIRONMENTS:
        raise InputError(
            f"game is {name!r}: one of {', '.join(ENVIRONMENTS)} is needed"
        )
    own = schema.parameters(ENVIRONMENTS[name])
    if not is_matrix_game(name):
        return own
    # What a named matrix game passes on, payoff and names of actions being its own.
    others = schema.parameters(matrix.matrix_game)
    del others["payoff"], others["action_names"]
    return {**own, **others}


def is_matrix_game(name: str) -> bool:
    """Whether the world called `name` is an iterated matrix game."""
    made = inspect.signature(ENVIRONMENTS[name]).return_annotation
    return made is matrix.IteratedMatrixGame
