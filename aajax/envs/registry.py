"""Worlds by name."""

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
    if name not in ENVIRONMENTS:
        raise InputError(
            f"game is {name!r}: one of {', '.join(ENVIRONMENTS)} is needed"
        )
    try:
        return ENVIRONMENTS[name](**options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"game {name!r} has no such option: {error}") from None
