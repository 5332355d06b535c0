"""Who among players is a language model, and what those meet in and speak with."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aajax.errors import InputError
from aajax.lm.checkpoints.named import NamedModel, is_named, read_named
from aajax.lm.checkpoints.peft_config import CONFIG, adapter_folder
from aajax.records import read_object
from aajax.training.lm_config import MEMBERS, LmConfig, game_options, member_names

BASE = "base"  # the player that is the model without an adapter
# What runs must have in common to meet.
ALIKE = ("game", "options", "prompts", "system", "dtype", "matmul_precision")
# Which base a player speaks with; a model without a folder is a pocket model.
OF_BASE = ("model", "pocket", "chat_template")
SPOKEN_ALIKE = ("temperature", "max_tokens", "max_cache")


class Voice(NamedTuple):
    """A language model's player.

    Attributes:
      adapter: PEFT folder; None for the base alone.
      config: of the run that it comes from; None where it is of no run.
      named: what its name says of the base, if it says anything.
    """

    adapter: Path | None
    config: LmConfig | None
    named: NamedModel | None = None

    def speaks_as(self, config: LmConfig) -> LmConfig:
        """The config with the base that this player speaks with.

        Args:
          config: whose base counts where the player brings none.
        """
        if self.config is not None:
            own = {name: getattr(self.config, name) for name in OF_BASE}
            return dataclasses.replace(config, **own)
        if self.named is not None:
            model, template = Path(self.named.model), self.named.chat_template
            return dataclasses.replace(config, model=model, chat_template=template)
        return config

    @property
    def brings_a_base(self) -> bool:
        return self.config is not None or self.named is not None


def find_voice(name: str) -> Voice | None:
    """The language model's player called `name`; None if it is nobody of the kind.

    Args:
      name: "base", the folder of a run, a PEFT folder, or a model by itself; see
        `lm.checkpoints.named`.

    Raises:
      InputError: for a run that cannot play.
    """
    if name == BASE:
        return Voice(None, None)
    if is_named(name):
        return _named_voice(name)
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
    if own.is_population:
        first, *_ = names = member_names(own)
        raise InputError(
            f"player is {name!r}: one of its {len(names)} members is needed, such as "
            f"{str(folder / MEMBERS / first)!r}"
        )
    if not (folder / "adapter" / CONFIG).is_file():
        raise InputError(
            f"player is {name!r}: a run that is finished is needed, with adapter/ in "
            "it; those under past/ can play already"
        )
    return Voice(folder / "adapter", own)


def _named_voice(name: str) -> Voice:
    named = read_named(name, "player")
    if named.adapter is None:
        return Voice(None, None, named)
    folder = adapter_folder(Path(named.adapter))
    if folder is None:
        raise InputError(
            f"player is {name!r}: an adapter that is a folder with {CONFIG}, or that "
            "of a finished run or of one of its members, is needed"
        )
    return Voice(folder, None, named)


def find_config(
    names: Sequence[str], given: Mapping[str, object], speaking: Mapping[str, object]
) -> LmConfig:
    """The game that players meet in, and the model of those who bring none.

    Args:
      names: of players.
      given: what counts whatever the runs among them say, by names of ALIKE. A model
        and a chat template are those of players that bring none: runs have their own.
      speaking: the same, by names of SPOKEN_ALIKE.

    Raises:
      InputError: where the runs disagree in what is not given.
    """
    voices = {name: find_voice(name) for name in names}
    found = [voice for voice in voices.values() if voice is not None]
    runs = {
        name: voice.config
        for name, voice in voices.items()
        if voice is not None and voice.config is not None
    }
    if runs:
        (first, config), *others = runs.items()
        given = _of_base(config, given)
        needs_base = not all(voice.brings_a_base for voice in found)
        alike = (*ALIKE, *(OF_BASE if needs_base and "model" not in given else ()))
        for name, other in others:
            for field in alike:
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


def _of_base(config: LmConfig, given: Mapping[str, object]) -> Mapping[str, object]:
    """What is given, with the chat template that belongs to a model that is given."""
    if "model" not in given or "chat_template" in given:
        return given
    other = dataclasses.replace(config, model=given["model"])
    if _comparable("model", other) == _comparable("model", config):
        return given
    return {**given, "chat_template": None}


def base_key(config: LmConfig) -> tuple:
    """What is equal for configs whose players speak with one base."""
    return tuple(_comparable(field, config) for field in OF_BASE)


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
    if field in ("model", "chat_template") and value is not None:
        return Path(value).resolve() if Path(value).exists() else str(value)
    return value
