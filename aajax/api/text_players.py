"""Players of games in words by name: models, scripted ones, endpoints, people."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from aajax import schema
from aajax.api.labels import check_distinct
from aajax.api.text_voices import BASE, Voice, base_key, find_voice
from aajax.dialogue.endpoints.api import api_player
from aajax.dialogue.endpoints.api_config import ApiConfig, Endpoints
from aajax.dialogue.endpoints.journal import Journal
from aajax.dialogue.play.lockstep import Seat
from aajax.dialogue.play.seating import LEARNER, Seating
from aajax.dialogue.players.base import Player, Reply, Request, Row
from aajax.dialogue.players.human import HumanPlayer
from aajax.dialogue.players.language_model import LanguageModel
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.dialogue.registry import find_text_spec
from aajax.envs.text import TextGame
from aajax.errors import InputError
from aajax.lm.checkpoints.named import FORM
from aajax.lm.checkpoints.peft_config import CONFIG
from aajax.lm.checkpoints.peft_folder import WEIGHTS, load_peft
from aajax.lm.model import lora
from aajax.references import FORMS, is_reference
from aajax.tournament.text_league import Entrant
from aajax.training.lm_assemble import assemble
from aajax.training.lm_config import LmConfig
from aajax.types import PRNGKey, PyTree

HUMAN, API = "human", "api:"

OpenJournal = Callable[[str], Journal | None]


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


def journal_file(name: str, process: int = 0) -> str:
    """What the journal of an endpoint is called, of each process one of its own."""
    words = re.sub(r"[^A-Za-z0-9.-]+", "_", name.removeprefix(API))
    return f"answers_{words}{f'_{process}' if process else ''}.jsonl"


def check_endpoints(names: Sequence[str], api: Endpoints) -> None:
    """Raises InputError if it is said how endpoints are asked, and none is."""
    if any(name.startswith(API) for name in names):
        return
    for field in dataclasses.fields(api):
        value = getattr(api, field.name)
        if value != field.default:
            # What may be a key is not shown.
            shown = "given" if field.name == "key_variable" else f"{value!r}"
            raise InputError(
                f"api.{field.name} is {shown}: a player {API}URL#MODEL is needed with "
                "it"
            )


def no_journal(name: str) -> None:
    """An `OpenJournal` that keeps nothing."""
    del name


class Speakers(NamedTuple):
    """The players of a league that speak with one base, which is read once.

    Attributes:
      player: what the language model is called at the table: LEARNER for that of the
        league's own base.
      config: of the league, with this base.
      adapters: name → PEFT folder, of those with an adapter, in the order of numbers.
      names: all of them.
    """

    player: str
    config: LmConfig
    adapters: dict[str, Path]
    names: tuple[str, ...]

    def seat(self, name: str) -> Seat:
        """The seat of one of the players."""
        numbers = {name: i for i, name in enumerate(self.adapters)}
        return Seat(self.player, numbers.get(name, -1))


def speakers(names: Sequence[str], config: LmConfig) -> list[Speakers]:
    """Who speaks with which base, the bases in the order in which they are named.

    Args:
      names: of players, language models or others.
      config: of `find_config`.

    Raises:
      InputError: for a run that cannot play, or an adapter that is named twice.
    """
    by_base: dict[tuple, dict[str, Voice]] = {}
    for name, voice in _voices(names).items():
        key = base_key(voice.speaks_as(config))
        by_base.setdefault(key, {})[name] = voice
    found, own = [], base_key(config)
    for number, (key, voices) in enumerate(by_base.items()):
        adapters = {
            name: voice.adapter
            for name, voice in voices.items()
            if voice.adapter is not None
        }
        check_distinct(list(adapters.values()), "players", given=list(adapters))
        _check_alone([name for name in voices if name not in adapters])
        first = next(iter(voices.values()))
        player = LEARNER if key == own else f"{LEARNER} {number}"
        names_here = tuple(voices)
        found.append(Speakers(player, first.speaks_as(config), adapters, names_here))
    return found


def _check_alone(names: Sequence[str]) -> None:
    """Raises InputError if two players are the same model without an adapter."""
    if len(names) > 1:
        raise InputError(
            f"players has {names[0]!r} and {names[1]!r}: they are one, and each is "
            "needed once"
        )


def entrants(names: Sequence[str], config: LmConfig, game: TextGame) -> list[Entrant]:
    """Everybody's name in tables, and seat at the table of `line_up`.

    Args:
      names: of players, each once.
      config: of `find_config`.
      game: of `config`.

    Raises:
      InputError: if there is no such player, or one is named twice.
    """
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"players is {list(names)}: one or more, each once, are needed"
        )
    voices = _voices(names)
    seats = {
        name: group.seat(name)
        for group in speakers(names, config)
        for name in group.names
    }
    short = [_short(name, voices.get(name)) for name in names]
    journals = {journal_file(name): name for name in names if name.startswith(API)}
    for name in names:
        if name.startswith(API) and journals[journal_file(name)] != name:
            raise InputError(
                f"players has {name!r} and {journals[journal_file(name)]!r}: endpoints "
                "are needed that differ in more than signs"
            )
    found = []
    for name, label in zip(names, short, strict=True):
        if name not in seats:
            _check_there(name, game)
        seat = seats.get(name, Seat(name))
        found.append(Entrant(label if short.count(label) == 1 else name, seat))
    return found


def line_up(
    names: Sequence[str],
    config: LmConfig,
    game: TextGame,
    open_journal: OpenJournal = no_journal,
    models: Mapping[str, LanguageModel] | None = None,
) -> dict[str, Player]:
    """The players of `entrants`; models of one base are one, with all their adapters.

    Args:
      names: of `entrants`.
      config: of `find_config`; its `api` says how endpoints are asked.
      game: of `config`.
      open_journal: `name -> journal`, of an endpoint's answers, or None for none.
      models: of `language_models`, if they are at hand.

    Raises:
      InputError: for a model or an adapter that cannot be read or does not fit, or an
        endpoint without a key.
    """
    voices = _voices(names)
    players: dict[str, Player] = {
        **(language_models(names, config) if models is None else models)
    }
    for name in names:
        if name not in voices:
            players[name] = _other_player(name, game, open_journal, config.api)
    return players


def language_models(names: Sequence[str], config: LmConfig) -> dict[str, LanguageModel]:
    """One for each base, with the adapters of all who speak with it.

    Raises:
      InputError: for a model or an adapter that cannot be read or does not fit.
    """
    return {
        group.player: _model(group.config, list(group.adapters.values()))
        for group in speakers(names, config)
    }


def make_guest(
    config: LmConfig, open_journal: OpenJournal = no_journal
) -> Callable[[str, TextGame], Player]:
    """`(name, game) -> Player`, of a guest that plays with whoever learns.

    A run's adapter speaks with the run's own model and settings; "base", a PEFT folder
    and a model by itself with the settings of `config`, and the first two with its
    model. The model is read once more, whoever shares it.

    Args:
      config: of the run in which the guest plays; its `api` says how an endpoint is
        asked.
      open_journal: `name -> journal`, of an endpoint's answers, or None for none.
    """

    def guest(name: str, game: TextGame) -> Player:
        """The player called `name`, for the guest's seat in `game`."""
        voice = find_voice(name)
        if voice is None:
            _check_there(name, game)
            return _other_player(name, game, open_journal, config.api)
        own = voice.speaks_as(voice.config or config)
        if find_text_spec(own.game) is not find_text_spec(config.game):
            raise InputError(
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
        config, baseline="batch", seating=Seating(), guest=None, initial_adapter=None
    )
    model = assemble(alone).model
    if not adapters:
        return model
    decoder = model.sampler.config
    with schema.called({"folder": "player"}):
        each = [load_peft(folder, decoder)[1] for folder in adapters]
    return model.with_adapters(lora.stack(each))


def _check_there(name: str, game: TextGame) -> None:
    if name.startswith(API):
        _address(name)
    elif is_reference(name):
        scripted_player(game, name)
    elif name != HUMAN and name not in scripted_names(game):
        raise InputError(
            f"player is {name!r}: one of "
            f"{', '.join([*scripted_names(game), BASE, HUMAN])}, {FORM}, "
            f"{API}URL#MODEL, {FORMS} of a function env -> Policy, the folder of a run "
            f"or one with {CONFIG} is needed"
        )


def _other_player(
    name: str, game: TextGame, open_journal: OpenJournal, endpoints: Endpoints
) -> Player:
    """Somebody who is no language model of ours."""
    if name == HUMAN:
        return HumanPlayer(Console(highlight=False, markup=False, emoji=False))
    if not name.startswith(API):
        return scripted_player(game, name)
    url, model = _address(name)
    config = ApiConfig(url, model, **dataclasses.asdict(endpoints))
    return api_player(config, open_journal(name))


def _address(name: str) -> tuple[str, str]:
    """The url and the model of api:URL#MODEL, where a request can be sent to."""
    url, hash_sign, model = name.removeprefix(API).partition("#")
    if not (url and hash_sign and model):
        # What may hold a secret is not shown.
        shown = f"{API}..." if re.search("[?@]", name) else name
        raise InputError(
            f"player is {shown!r}: {API}URL#MODEL is needed, such as "
            f"{API}https://api.openai.com/v1#gpt-5-nano"
        )
    ApiConfig(url, model)
    return url, model


def _short(name: str, voice: Voice | None) -> str:
    """The folder's own name of a run or a model, the model's of an endpoint."""
    if name.startswith(API):
        return _address(name)[1]
    if voice is not None and voice.named is not None:
        adapter = voice.named.adapter
        model = Path(voice.named.model).name
        return model if adapter is None else f"{model}+{Path(adapter).name}"
    if voice is not None and voice.config is not None:
        return Path(name).resolve().name
    return name
