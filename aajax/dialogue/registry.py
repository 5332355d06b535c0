"""Games in words by name."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aajax import schema
from aajax.dialogue.games import TextGame
from aajax.dialogue.matrix_words import MATRIX_GAMES, matrix_words
from aajax.dialogue.negotiation import deal_or_no_deal
from aajax.dialogue.split import split_words
from aajax.dialogue.trust_and_split import trust_and_split_words
from aajax.errors import InputError

_GAMES: dict[str, Callable[..., TextGame]] = {
    **{name: functools.partial(matrix_words, name) for name in MATRIX_GAMES},
    "split": split_words,
    "trust-and-split": trust_and_split_words,
    "deal-or-no-deal": deal_or_no_deal,
}
GAMES = tuple(_GAMES)


def make(name: str, wording: str | Path = "full", **options) -> TextGame:
    """The game in words called `name`, built with its constructor's options.

    Args:
      name: one of GAMES.
      wording: "full", "short" or a folder of templates; see `load_wording`.
      **options: of the game.

    Raises:
      InputError: if there is no such game, it has no such option, or an option is not
        what it needs to be.
    """
    accepted = parameters(name)
    for option in options:
        if option not in accepted:
            raise InputError(
                f"game {name!r} has no such option: {option}, only "
                f"{', '.join(accepted)}"
            )
    return _GAMES[name](wording=wording, **options)


def parameters(name: str) -> dict[str, Any]:
    """The options of a game in words by name, with their annotations.

    Raises:
      InputError: if there is no such game.
    """
    if name not in _GAMES:
        raise InputError(f"game is {name!r}: one of {', '.join(GAMES)} is needed")
    own = schema.parameters(_GAMES[name])
    return {option: own[option] for option in own if option not in ("name", "wording")}
