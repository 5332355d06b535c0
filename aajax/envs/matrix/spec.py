"""Iterated matrix games by name."""

import functools

from aajax.envs.matrix import env as games
from aajax.envs.matrix.players import players
from aajax.envs.matrix.view import view
from aajax.envs.matrix.words import matrix_words
from aajax.envs.spec import EnvSpec, TextSpec

_spec = functools.partial(
    EnvSpec,
    from_payoff=games.matrix_game,
    players=players,
    opponents=("always_cooperate", "always_defect", "tit_for_tat", "random"),
    view=view,
)


def _words(name: str, about: str) -> TextSpec:
    return TextSpec(name, about, functools.partial(matrix_words, name))


SPECS = (
    _spec(
        "ipd",
        "Cooperate (0) or defect (1); defecting dominates, yet both lose by it.",
        games.prisoners_dilemma,
    ),
    _spec(
        "ipd_points",
        "The prisoner's dilemma in Axelrod's points.",
        games.prisoners_dilemma_points,
        words=_words("ipd", "Two letters, the points of a prisoner's dilemma."),
    ),
    _spec(
        "contribution",
        "Contribute 1 (0) or keep it (1); what is given is multiplied and shared.",
        games.contribution_game,
    ),
    _spec(
        "chicken",
        "Swerve (0) or go straight (1): 0/0, −1/+1, and the crash for both.",
        games.chicken,
        words=_words("chicken", "Two letters, the points of chicken."),
    ),
    _spec(
        "stag_hunt",
        "Stag (0) pays only together, hare (1) always: trust against safety.",
        games.stag_hunt,
        words=_words("stag-hunt", "Two letters, the points of a stag hunt."),
    ),
    _spec(
        "battle_of_the_sexes",
        "Meet at seat 0's favourite (0) or seat 1's (1); apart, both earn nothing.",
        games.battle_of_the_sexes,
    ),
    _spec(
        "matching_pennies",
        "Seat 0 wins +1 from seat 1 if the pennies match, and loses it otherwise.",
        games.matching_pennies,
    ),
    _spec(
        "public_goods",
        "N agents each contribute 1 (0) or keep it (1); the pot is multiplied, shared.",
        games.public_goods,
    ),
)
