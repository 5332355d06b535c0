"""Leagues in words: language models, scripted players, endpoints and people."""

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from aajax import files, schema
from aajax.api import text_players
from aajax.api.league_progress import LeagueProgress
from aajax.api.text_players import API, HUMAN
from aajax.api.text_voices import (
    ALIKE,
    OF_BASE,
    SPOKEN_ALIKE,
    base_key,
    find_config,
    find_voice,
)
from aajax.dialogue.endpoints.api_config import MAY_DIFFER, Endpoints
from aajax.dialogue.endpoints.journal import Journal
from aajax.dialogue.pocket import PROGRAMS, PocketConfig, user_cache
from aajax.envs.text import TextGame
from aajax.errors import InputError
from aajax.lm.compilation import kept
from aajax.lm.model.precision import MatmulPrecision
from aajax.records import read_object
from aajax.schema import Count, Items, Natural, Positive, Seed
from aajax.tournament.text_league import Entrant, pairs_of, play_pairs, text_table
from aajax.training import divergence
from aajax.training.lm_config import LmConfig, Speaking, make_game
from aajax.training.lm_evaluation import matches_at_once

_log = logging.getLogger(__name__)

BATCH = 32  # matches at a time, without a run


def _runs_or(value: str, about: str) -> object:
    """Help for an option whose value is that of the runs, or `value` without a run."""
    hint = f"(default: as in the runs; without a run: {value})"
    return tyro.conf.arg(help=about, help_behavior_hint=hint)


Players = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="PLAYER ...", help_behavior_hint="(at least one)"),
]
Pairs = Annotated[
    tuple[str, ...], Items(1, distinct=True), tyro.conf.arg(metavar="A:B ...")
]
Dtype = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class TextLeague:
    """Plays all ordered pairs of players in a text game.

    A player is the folder of a run of `aajax train lm-...`, which speaks with the model
    that it was trained on; base (--model, without an adapter); a PEFT folder of an
    adapter on --model; model:MODEL[,chat_template=NAME][,adapter=FOLDER], another model
    by itself; a scripted player such as tit_for_tat or greedy; api:URL#MODEL; or human.
    A league that was stopped goes on when the same command is given again.
    """

    players: tyro.conf.Positional[Players] = ()  # who takes part
    pairs: Pairs | None = None  # who meets whom, in either seat; None: all meet all
    game: Annotated[
        str | None, _runs_or("it is needed", "text game; `aajax list` names them")
    ] = None
    options: Annotated[
        tuple[str, ...] | None, _runs_or("none", "options of the game: name=value ...")
    ] = None
    prompts: Annotated[
        str | None,
        _runs_or("full", "wording: full, brief, short, or a folder of templates"),
    ] = None
    model: Annotated[
        Path | None,
        _runs_or(
            "a pocket model",
            "model of base and of adapters by themselves, as in training: a folder, a "
            ".gguf file, an id of the Hub, or smollm2",
        ),
    ] = None
    chat_template: Annotated[
        str | None,
        _runs_or("the model's own", "of --model: chatml, gemma, llama3, a Jinja file"),
    ] = None
    system: Annotated[
        str | None, _runs_or("none", "system prompt of every dialogue")
    ] = None
    dtype: Annotated[
        Dtype | None, _runs_or("float32", "of the arithmetic and of frozen weights")
    ] = None
    matmul_precision: Annotated[
        MatmulPrecision | None, _runs_or("JAX's own", "of products' factors")
    ] = None
    temperature: Annotated[Positive | None, _runs_or("1.0", "sampling temperature")] = (
        None
    )
    max_tokens: Annotated[Count | None, _runs_or("400", "most tokens of an answer")] = (
        None
    )
    max_cache: Annotated[
        Count | None, _runs_or("the model's own", "most tokens of a dialogue")
    ] = None
    free_tries: Natural = 0  # answers sampled without the grammar, before one with it
    num_matches: Count = 64  # matches of each ordered pair
    batch: Annotated[
        Count | None,
        _runs_or(f"{BATCH}", "most matches of a pair that are played at a time"),
    ] = None
    # show messages of other matches of the same pair that are played at the same time
    shuffle_messages: bool = False
    seed: Seed = 0  # random seed of the environments and of sampling
    out: Path = Path("runs/league")  # folder of the league
    data: Count = 1  # devices that each hold a copy of the weights
    fsdp: Count = 1  # devices that share weights and batch
    tensor: Count = 1  # devices that share heads and hidden units
    api: Endpoints = Endpoints()


@contextlib.contextmanager
def opened(out: Path) -> Iterator[None]:
    """Keeps others out of a league's folder until the block ends.

    Raises:
      InputError: if it holds something else, or another process is in there.
    """
    if not (out / "config.json").exists():
        _check_new(out)  # before a lock is put into somebody's folder
    with files.locked(out / files.LOCK, f"out is {str(out)!r}"):
        yield


@schema.called(
    {f"speaking.{name}": name for name in (*SPOKEN_ALIKE, "free_tries")}
    | {"folder": "out"}
)
def play(options: TextLeague, errors: Console | None = None) -> dict:
    """The table of a league, as league.json holds it, played or gone on with.

    Args:
      options: of the league.
      errors: console on which progress is shown; None for none.

    Raises:
      InputError: for players that cannot meet, or a folder of another league.
      KeyboardInterrupt: when stopped.
    """
    with kept(user_cache() / PROGRAMS):
        return _play(options, errors)


def _play(options: TextLeague, errors: Console | None) -> dict:
    config = _config(options)
    game, names = make_game(config), options.players
    entrants = text_players.entrants(names, config, game)
    only = _only(options, entrants)
    pairs = pairs_of(
        *(entrants, options.num_matches, options.seed, only),
        num_seats=game.env.num_agents,
    )
    shuffled = _shuffled(options, game)
    text_players.check_endpoints(names, options.api)
    models = None
    if not (options.out / "config.json").exists():
        # What cannot be read is refused before anything is written.
        with _reading(names, config, errors):
            models = text_players.language_models(names, config)
    _open_folder(options, config, only)
    _tell_diverged(names)

    journals = contextlib.ExitStack()
    hidden = errors is None or HUMAN in names
    progress = LeagueProgress(
        errors or Console(stderr=True, markup=False, emoji=False), pairs, hidden
    )

    def open_journal(name: str) -> Journal:
        file = options.out / text_players.journal_file(name)
        return journals.enter_context(Journal(file))

    def line_up():
        return text_players.line_up(names, config, game, open_journal, models)

    played = play_pairs(
        *(game, line_up, pairs, options.seed, options.out, shuffled),
        on_step=progress.on_step,
        batch=_batch(options),
    )
    with journals, progress:
        try:
            table = text_table(game, progress.counted(played))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{progress.num_pairs} of {len(pairs)} pairs are played; the same "
                "command goes on."
            ) from None
    return {**table, "seed": options.seed}


def _reading(
    names: Sequence[str], config: LmConfig, errors: Console | None
) -> contextlib.AbstractContextManager:
    """Tells that models are read, which takes a minute where one is to be trained."""
    found = text_players.speakers(names, config)
    if errors is None or not found:
        return contextlib.nullcontext()
    text = "reading the model" if len(found) == 1 else f"reading {len(found)} models"
    if any(group.config.model is None for group in found):
        text = "reading the pocket model, which is trained if there is none yet"
        if not errors.is_terminal:
            errors.print(text, soft_wrap=True)
    return errors.status(text)


def _tell_diverged(names: Sequence[str]) -> None:
    """Logs which players are members of a population that diverged."""
    for name in names:
        voice = find_voice(name)
        if voice is not None and voice.config is not None:
            for found in divergence.noted(Path(name)).values():
                _log.warning("%s: %s; it plays as it was before", name, found)


def _only(options: TextLeague, entrants: Sequence[Entrant]) -> list | None:
    """Names of the pairs that are asked for, as the league has them; None for all.

    Raises:
      InputError: for what is no pair of players.
    """
    if options.pairs is None:
        return None
    labels = {entrant.name: entrant.name for entrant in entrants}
    for name, entrant in zip(options.players, entrants, strict=True):
        labels.setdefault(name, entrant.name)
    found = []
    for text in options.pairs:
        # Names may have colons of their own.
        halves = (
            (text[:i], text[i + 1 :]) for i, sign in enumerate(text) if sign == ":"
        )
        both = next(
            (
                (labels[one], labels[other])
                for one, other in halves
                if one in labels and other in labels
            ),
            None,
        )
        if both is None:
            names = ", ".join(entrant.name for entrant in entrants)
            raise InputError(f"pairs has {text!r}: A:B is needed, two of {names}")
        found.append(sorted(both))
    return sorted(found)


def write_text_league(table: dict[str, Any], out: Path) -> None:
    """Writes league.json and, with matplotlib, league.png."""
    files.write_json(out / "league.json", table)
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import league_figure

        league_figure(_of_either_seat(table), out / "league.png")


def _of_either_seat(table: dict) -> dict:
    """What each earns against each, in the form of a league's line-ups."""
    line_ups = []
    for face_off in table["face_offs"]:
        reward, interval = face_off["measures"]["reward"]
        players = [face_off["player"], face_off["opponent"]]
        line_ups.append(
            {"players": players, "reward": [reward], "interval": [interval]}
        )
    return {**table, "line_ups": line_ups}


def _config(options: TextLeague) -> LmConfig:
    def given(names: tuple[str, ...]) -> dict[str, object]:
        values = {name: getattr(options, name, None) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    config = find_config(
        options.players,
        given((*ALIKE, *OF_BASE)),
        given(SPOKEN_ALIKE),
    )
    return dataclasses.replace(
        config,
        data=options.data,
        fsdp=options.fsdp,
        tensor=options.tensor,
        api=options.api,
        speaking=dataclasses.replace(config.speaking, free_tries=options.free_tries),
    )


def _shuffled(options: TextLeague, game: TextGame) -> tuple[str, ...]:
    """Kinds of answers that are dealt out among the matches of a pair."""
    if not options.shuffle_messages:
        return ()
    if "message" not in game.patterns:
        raise InputError(
            "shuffle_messages is True: a game with messages is needed, and "
            f"{game.name} has none"
        )
    if options.num_matches < 2:
        raise InputError(
            f"num_matches is {options.num_matches}: at least 2 are needed to shuffle "
            "messages"
        )
    if options.batch == 1:
        raise InputError("batch is 1: at least 2 are needed to shuffle messages")
    return ("message",)


def _batch(options: TextLeague) -> int:
    """Matches at a time: as many as all runs had in memory in training."""
    if options.batch is not None:
        return options.batch
    voices = [find_voice(name) for name in options.players]
    runs = [x.config for x in voices if x is not None and x.config is not None]
    return min(map(matches_at_once, runs), default=BATCH)


def _open_folder(options: TextLeague, config: LmConfig, only: list | None) -> None:
    """Makes the folder, or checks that it holds this very league.

    Raises:
      InputError: if it holds something else.
    """
    record = {
        "players": list(options.players),
        "adapters": text_players.digests(options.players),
        "num_matches": options.num_matches,
        "shuffle_messages": options.shuffle_messages,
        "seed": options.seed,
        "pairs": only,
        "models": _models(options.players, config),
        **_recorded(config, (*ALIKE, *OF_BASE, "speaking")),
    }
    # Of leagues in which it was not written down.
    older: dict[str, object] = {
        "pairs": None,
        "matmul_precision": None,
        "models": {},
        "chat_template": record["chat_template"],
    }
    if options.shuffle_messages:
        record["batch"] = min(_batch(options), options.num_matches)
        older["batch"] = options.num_matches
    asked = _asked(options)
    record |= asked
    path = options.out / "config.json"
    if path.exists():
        stored = LmConfig.located(read_object(path))
        # Of older leagues nobody knows how endpoints were asked.
        there = {**asked, **older, **_completed(stored)}
        for name in record.keys() | there.keys():
            if there.get(name) != record.get(name):
                raise InputError(
                    f"out is {str(options.out)!r}: it holds another league or run "
                    f"({name} is {there.get(name)!r} there and {record.get(name)!r} "
                    "here); choose another folder"
                )
        if there != stored:
            files.write_json(path, record, indent=2)
        return
    _check_new(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(path, record, indent=2)


def _completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A league's record with what is younger than it, under present names."""
    defaults, found = LmConfig().to_json(), dict(stored)
    for name, kind in {"speaking": Speaking, "pocket": PocketConfig}.items():
        if isinstance(stored.get(name), dict):
            own = schema.by_present_names(kind, stored[name])
            found[name] = {**defaults[name], **own}
    if "models" in stored:
        models = stored["models"].items()
        found["models"] = {name: _completed(own) for name, own in models}
    return found


def _models(names: Sequence[str], config: LmConfig) -> dict[str, dict]:
    """The bases of players that speak with another one than the league's."""
    return {
        name: _recorded(group.config, OF_BASE)
        for group in text_players.speakers(names, config)
        for name in group.names
        if base_key(group.config) != base_key(config)
    }


def _recorded(config: LmConfig, names: Sequence[str]) -> dict[str, object]:
    """Some settings, as JSON has them."""
    record = config.to_json()
    return {name: record[name] for name in names}


def _asked(options: TextLeague) -> dict[str, object]:
    """How endpoints are asked, if any are, as far as their answers depend on it."""
    if not any(name.startswith(API) for name in options.players):
        return {}
    return {
        f"api.{name}": value
        for name, value in dataclasses.asdict(options.api).items()
        if name not in MAY_DIFFER
    }


def _check_new(out: Path) -> None:
    files.check_empty(f"out is {str(out)!r}", out, "league of words")
