"""Text games by name."""

from pathlib import Path
from typing import Any

from aajax import envs, references, schema
from aajax.envs import TextSpec
from aajax.envs.text import TextGame
from aajax.errors import InputError


def text_specs() -> dict[str, TextSpec]:
    """The text games of all registered environments, by name."""
    every = (envs.find_spec(name).words for name in envs.names())
    return {spec.name: spec for spec in every if spec is not None}


def find_text_spec(name: str) -> TextSpec:
    """The record of the text game called `name`.

    Raises:
      InputError: if there is no such game.
    """
    there = text_specs()
    if name in there:
        return there[name]
    if references.is_reference(name):
        words = envs.find_spec(name).words
        if words is None:
            raise InputError(
                f"game is {name!r}: one in words is needed, which it has not"
            )
        return words
    raise InputError(
        f"game is {name!r}: one of {', '.join(there)}, or {references.FORMS} of an "
        "EnvSpec with words, is needed"
    )


def make(name: str, wording: str | Path = "full", **options) -> TextGame:
    """Builds the text game called `name` with its constructor's options.

    Args:
      name: of the game.
      wording: "full", "brief", "short" or a folder of templates; see `load_wording`.
      **options: of the game.

    Raises:
      InputError: if there is no such game, it has no such option, or an option is not
        what it needs to be.
    """
    schema.check_names(options, parameters(name), f"game {name!r}")
    return find_text_spec(name).make(wording=wording, **options)


def parameters(name: str) -> dict[str, Any]:
    """The options of the text game called `name`, name → annotation.

    Raises:
      InputError: if there is no such game.
    """
    own = schema.parameters(find_text_spec(name).make)
    return {option: own[option] for option in own if option not in ("name", "wording")}
