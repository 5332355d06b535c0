"""Who among players is a language model, and what those meet in and speak with."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aajax.errors import InputError
from aajax.lm.checkpoints.peft_config import CONFIG
from aajax.records import read_object
from aajax.training.lm_config import LmConfig, game_options

BASE = "base"  # the player that is the model without an adapter
# What runs must have in common to meet; a model without a folder is a pocket model.
ALIKE = (
    *("game", "options", "prompts", "model", "pocket", "system", "dtype"),
    "matmul_precision",
)
SPOKEN_ALIKE = ("temperature", "max_tokens", "max_cache")


class Voice(NamedTuple):
    """A language model's player.

    Attributes:
      adapter: PEFT folder; None for the base alone.
      config: of the run that it comes from; None where it is of no run.
    """

    adapter: Path | None
    config: LmConfig | None


def find_voice(name: str) -> Voice | None:
    """The language model's player called `name`; None if it is nobody of the kind.

    Args:
      name: "base", the folder of a run, or a PEFT folder.

    Raises:
      InputError: for a run that cannot play.
    """
    if name == BASE:
        return Voice(None, None)
    folder = Path(name)
    if (folder / CONFIG).is_file():
        return Voice(folder, None)
    config = folder / "config.json"
    if not config.is_file():
        return None
    record = read_object(config)
    preset = record.pop("preset", None)
    if preset is not None and "speaking" not in record:
        raise InputError(
            f"player is {name!r}: a run of `aajax train lm-...` is needed, and it is "
            "one of small networks"
        )
    try:
        own = LmConfig.from_json(record)
    except InputError as error:
        raise InputError(
            f"player is {name!r}: a run of `aajax train lm-...` is needed, which its "
            f"config.json is none of ({error})"
        ) from None
    if not (folder / "adapter" / CONFIG).is_file():
        raise InputError(
            f"player is {name!r}: a run that is finished is needed, with adapter/ in "
            "it; those under past/ can play already"
        )
    return Voice(folder / "adapter", own)


def find_config(
    names: Sequence[str], given: Mapping[str, object], speaking: Mapping[str, object]
) -> LmConfig:
    """The game and the model that players meet in and speak with.

    Args:
      names: of players.
      given: what counts whatever the runs among them say, by names of ALIKE.
      speaking: the same, by names of SPOKEN_ALIKE.

    Raises:
      InputError: where the runs disagree in what is not given.
    """
    runs = {
        name: voice.config
        for name in names
        if (voice := find_voice(name)) is not None and voice.config is not None
    }
    if runs:
        (first, config), *others = runs.items()
        if "model" in given:
            given = {"pocket": config.pocket, **given}
        for name, other in others:
            for field in ALIKE:
                if field not in given:
                    _check_alike(field, first, config, name, other)
            for field in SPOKEN_ALIKE:
                if field not in speaking:
                    _check_alike(field, first, config.speaking, name, other.speaking)
    elif "game" in given:
        config = LmConfig()
    else:
        raise InputError(
            f"players is {list(names)} and game None: the folder of a run among them, "
            "or a game, is needed"
        )
    spoken = dataclasses.replace(config.speaking, free_tries=0, **speaking)
    return dataclasses.replace(
        config, data=1, fsdp=1, tensor=1, speaking=spoken, **given
    )  # fmt: skip


def _check_alike(field: str, first: str, one, second: str, other) -> None:
    here, there = (_comparable(field, x) for x in (one, other))
    if here != there:
        raise InputError(
            f"players has {first} and {second}: runs that agree are needed, or an "
            f"option that decides, and {field} is {getattr(one, field)} of one and "
            f"{getattr(other, field)} of the other"
        )


def _comparable(field: str, config) -> object:
    """What is equal where a setting means the same."""
    value = getattr(config, field)
    if field == "options":
        return game_options(config)
    if field == "pocket" and config.model is not None:
        return None
    if field == "model" and value is not None:
        return Path(value).resolve()
    return value
