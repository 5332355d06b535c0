"""Players of games in words by name: models, scripted ones, endpoints, people."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from aajax.dialogue.api import api_player
from aajax.dialogue.api_config import ApiConfig
from aajax.dialogue.games import TextGame
from aajax.dialogue.human import HumanPlayer
from aajax.dialogue.journal import Journal
from aajax.dialogue.language_model import LanguageModel
from aajax.dialogue.play import Seat
from aajax.dialogue.players import Player, Reply, Request, Row
from aajax.dialogue.scripted import scripted_names, scripted_player
from aajax.dialogue.seating import LEARNER, Seating
from aajax.league.text_league import Entrant
from aajax.lm import lora
from aajax.lm.peft_config import CONFIG
from aajax.lm.peft_folder import WEIGHTS, load_peft
from aajax.training.lm_assemble import assemble, read_options
from aajax.training.lm_config import LmConfig
from aajax.types import PRNGKey, PyTree

BASE, HUMAN, API = "base", "human", "api:"
# What runs must have in common to meet; a model without a folder is a pocket model.
ALIKE = ("game", "options", "prompts", "model", "pocket", "system", "dtype")
SPOKEN_ALIKE = ("temperature", "max_tokens", "max_cache")


@dataclasses.dataclass(frozen=True)
class Endpoints:
    """How endpoints are asked; limits are of each, however often a league goes on."""

    key_variable: str | None = "OPENAI_API_KEY"  # that holds the key; None: no key
    concurrency: int = 8  # requests at once
    temperature: float | None = None  # of sampling; None: the endpoint's own
    max_tokens: int | None = 1024  # of an answer, reasoning included
    reasoning_effort: str | None = None  # such as low, for models that reason
    tries: int = 3  # answers to one question, until one is in form
    max_requests: int | None = None  # in all
    max_total_tokens: int | None = None  # in all, read and written


class Voice(NamedTuple):
    """A language model's player.

    Attributes:
      adapter: PEFT folder; None for the base alone.
      config: of the run that it comes from; None where it is of no run.
    """

    adapter: Path | None
    config: LmConfig | None


@dataclasses.dataclass(frozen=True, eq=False)
class FixedAdapter:
    """A `Player` whose rows all speak with one adapter of a language model."""

    model: LanguageModel
    adapter: int = 0

    def start(self, rows: Sequence[Row]) -> PyTree:
        return self.model.start([row._replace(adapter=self.adapter) for row in rows])

    def reply(
        self, memory: PyTree, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[PyTree, list[Reply | None]]:
        return self.model.reply(memory, requests, keys)


def find_voice(name: str) -> Voice | None:
    """The language model's player called `name`; None if it is nobody of the kind.

    Args:
      name: "base", the folder of a run, or a PEFT folder.

    Raises:
      ValueError: for a run that cannot play.
    """
    if name == BASE:
        return Voice(None, None)
    folder = Path(name)
    if (folder / CONFIG).is_file():
        return Voice(folder, None)
    config = folder / "config.json"
    if not config.is_file():
        return None
    record = json.loads(config.read_text())
    record.pop("preset", None)
    try:
        own = LmConfig.from_json(record)
    except TypeError as error:
        raise ValueError(
            f"player is {name!r}: a run of `aajax train lm-...` is needed, which its "
            f"config.json is none of ({error})"
        ) from None
    if not (folder / "adapter" / CONFIG).is_file():
        raise ValueError(
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
      ValueError: where the runs disagree in what is not given.
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
        raise ValueError("game is None: without the folder of a run, one is needed")
    spoken = dataclasses.replace(config.speaking, free_tries=0, **speaking)
    return dataclasses.replace(
        config, data=1, fsdp=1, tensor=1, speaking=spoken, **given
    )  # fmt: skip


def entrants(names: Sequence[str], game: TextGame) -> list[Entrant]:
    """Everybody's name in tables, and seat at the table of `line_up`.

    Raises:
      ValueError: if there is no such player, or one is named twice.
    """
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"players is {list(names)}: one or more, each once, are needed"
        )
    voices = _voices(names)
    adapted = [name for name, voice in voices.items() if voice.adapter is not None]
    short = [_short(name, voices.get(name)) for name in names]
    found = []
    for name, label in zip(names, short, strict=True):
        if name in voices:
            seat = Seat(LEARNER, adapted.index(name) if name in adapted else -1)
        else:
            _check_there(name, game)
            seat = Seat(name)
        found.append(Entrant(label if short.count(label) == 1 else name, seat))
    return found


def line_up(
    names: Sequence[str],
    config: LmConfig,
    game: TextGame,
    folder: Path | None = None,
    endpoints: Endpoints = Endpoints(),
) -> dict[str, Player]:
    """The players of `entrants`; models of one base are one, with all their adapters.

    Args:
      names: of `entrants`.
      config: of `find_config`.
      game: of `config`.
      folder: where endpoints' answers are journalled; nowhere if None.
      endpoints: how they are asked.

    Raises:
      ValueError: for a model or an adapter that cannot be read or does not fit, or an
        endpoint without a key.
    """
    voices, players = _voices(names), {}
    if voices:
        adapters = [voice.adapter for voice in voices.values() if voice.adapter]
        players[LEARNER] = _model(config, adapters)
    for name in names:
        if name not in voices:
            players[name] = _other_player(name, game, folder, endpoints)
    return players


def make_guest(
    config: LmConfig,
    folder: Path | None = None,
    endpoints: Endpoints = Endpoints(),
) -> Callable[[str, TextGame], Player]:
    """`(name, game) -> Player`, of a guest that plays with whoever learns.

    A run's adapter speaks with the run's own model and settings, "base" and a PEFT
    folder with those of `config`. The model is read once more, whoever shares it.

    Args:
      config: of the run in which the guest plays.
      folder: where an endpoint's answers are journalled; nowhere if None.
      endpoints: how they are asked.
    """

    def guest(name: str, game: TextGame) -> Player:
        voice = find_voice(name)
        if voice is None:
            _check_there(name, game)
            return _other_player(name, game, folder, endpoints)
        own = voice.config or config
        if own.game != config.game:
            raise ValueError(
                f"guest is {name!r}: one of {config.game} is needed, not of {own.game}"
            )
        own = dataclasses.replace(
            own,
            options=config.options,
            prompts=config.prompts,
            speaking=dataclasses.replace(own.speaking, free_tries=0),
            **{axis: getattr(config, axis) for axis in ("data", "fsdp", "tensor")},
        )
        if voice.adapter is None:
            return _model(own, [])
        return FixedAdapter(_model(own, [voice.adapter]))

    return guest


def digests(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the adapters that players speak with, by name."""
    return {
        name: hashlib.sha256((voice.adapter / WEIGHTS).read_bytes()).hexdigest()
        for name, voice in _voices(names).items()
        if voice.adapter is not None
    }


def _voices(names: Sequence[str]) -> dict[str, Voice]:
    found = {name: find_voice(name) for name in names}
    return {name: voice for name, voice in found.items() if voice is not None}


def _model(config: LmConfig, adapters: Sequence[Path]) -> LanguageModel:
    """The base of a config with these adapters, in order."""
    # Nothing is learned here: no critic, nobody else.
    alone = dataclasses.replace(
        config, baseline="group", seating=Seating(), guest=None, initial_adapter=None
    )
    model = assemble(alone).model
    if not adapters:
        return model
    decoder = model.sampler.config
    each = [load_peft(folder, decoder)[1] for folder in adapters]
    return dataclasses.replace(model, adapters=lora.stack(each))


def _check_there(name: str, game: TextGame) -> None:
    if name.startswith(API):
        _address(name)
    elif name != HUMAN and name not in scripted_names(game):
        raise ValueError(
            f"player is {name!r}: {', '.join(scripted_names(game))}, {BASE}, {HUMAN}, "
            f"{API}URL#MODEL, the folder of a run or one with {CONFIG} is needed"
        )


def _other_player(
    name: str, game: TextGame, folder: Path | None, endpoints: Endpoints
) -> Player:
    """Somebody who is no language model of ours."""
    if name == HUMAN:
        return HumanPlayer(Console(highlight=False))
    if not name.startswith(API):
        return scripted_player(game, name)
    url, model = _address(name)
    config = ApiConfig(url, model, **dataclasses.asdict(endpoints))
    journal = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        file = re.sub(r"[^A-Za-z0-9.-]+", "_", name.removeprefix(API))
        journal = Journal(folder / f"answers_{file}.jsonl")
    return api_player(config, journal)


def _address(name: str) -> tuple[str, str]:
    """The url and the model of api:URL#MODEL."""
    url, hash_sign, model = name.removeprefix(API).partition("#")
    if not (url and hash_sign and model):
        raise ValueError(
            f"player is {name!r}: {API}URL#MODEL is needed, such as "
            f"{API}https://api.openai.com/v1#gpt-5-nano"
        )
    return url, model


def _short(name: str, voice: Voice | None) -> str:
    """The folder's own name of a run, the model's of an endpoint."""
    if name.startswith(API):
        return _address(name)[1]
    if voice is not None and voice.config is not None:
        return Path(name).resolve().name
    return name


def _check_alike(field: str, first: str, one, second: str, other) -> None:
    here, there = (_comparable(field, x) for x in (one, other))
    if here != there:
        raise ValueError(
            f"players has {first} and {second}: runs that agree are needed, or an "
            f"option that decides, and {field} is {getattr(one, field)} of one and "
            f"{getattr(other, field)} of the other"
        )


def _comparable(field: str, config) -> object:
    """What is equal where a setting means the same."""
    value = getattr(config, field)
    if field == "options":
        return read_options(value)
    if field == "pocket" and config.model is not None:
        return None
    if field == "model" and value is not None:
        return Path(value).resolve()
    return value
