"""`aajax league --text PLAYER ...`: all against all in a game of words."""

import contextlib
import dataclasses
import importlib.util
from pathlib import Path
from typing import Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from aajax import files
from aajax.api import text_players
from aajax.api.progress import progress_bar
from aajax.api.text_players import API, HUMAN
from aajax.api.text_voices import ALIKE, SPOKEN_ALIKE, find_config
from aajax.commands.arguments import parse
from aajax.commands.progress import tell_path
from aajax.dialogue.endpoints.api_config import MAY_DIFFER, Endpoints
from aajax.dialogue.endpoints.journal import Journal
from aajax.envs.text import TextGame
from aajax.errors import InputError
from aajax.records import read_object
from aajax.report.tables import league_table
from aajax.schema import Count, Natural, Positive, Seed
from aajax.tournament.text_league import Pair, pairs_of, play_pairs, text_table
from aajax.training.lm_assemble import make_game
from aajax.training.lm_config import LmConfig

# Measures that a terminal has room for, and what heads their columns.
HEADINGS = {
    "reward": "reward",
    "cooperation": "C",
    "mutual_cooperation": "both",
    "cooperation_after_start": "C|-",
    "cooperation_after_cc": "C|CC",
    "cooperation_after_cd": "C|CD",
    "cooperation_after_dc": "C|DC",
    "cooperation_after_dd": "C|DD",
    "proposal_where_higher": "asks high",
    "proposal_where_lower": "asks low",
    "split_efficiency": "of best",
    "deals": "deals",
    "messages_naming_a_hand": "names hand",
    "honest_messages": "true hand",
    "invalid_answers": "not in form",
    "retried_answers": "tried again",
    "answer_tokens": "tokens",
}
FAULTS = ("invalid_answers", "retried_answers")


@dataclasses.dataclass(frozen=True)
class Options:
    """Plays all ordered pairs of players in a game of words.

    A player is the folder of a run of `aajax train lm-...`, a PEFT folder of an
    adapter, base (the model without one), a scripted player such as tit_for_tat or
    greedy, api:URL#MODEL, or human. What is None here is as in the runs among them.
    Stopped, the same command goes on where it was.
    """

    players: tyro.conf.Positional[tuple[str, ...]] = ()
    game: str | None = None  # in words; needed where there is no run
    options: tuple[str, ...] | None = None  # of the game: name=value name=value ...
    prompts: str | None = None  # wording: full, short, or a folder
    model: Path | None = None  # Hugging Face folder of the base
    system: str | None = None  # what the system says in every dialogue
    dtype: Literal["float32", "bfloat16"] | None = None
    temperature: Positive | None = None  # of sampling
    max_tokens: Count | None = None  # of an answer
    max_cache: Count | None = None  # tokens of the longest dialogue
    free_tries: Natural = 0  # answers without the grammar, before one under it
    num_matches: Count = 64  # of each pair
    shuffle_messages: bool = False  # each pair reads those of its other matches
    seed: Seed = 0  # of environments, which all pairs share, and of answers
    out: Path = Path("runs/league")  # folder of the league
    data: Count = 1  # mesh axis that copies weights
    fsdp: Count = 1  # mesh axis that splits weights and batch
    tensor: Count = 1  # mesh axis that splits heads and hidden units
    api: Endpoints = Endpoints()


def main(arguments: list[str]) -> None:
    """Plays; raises InputError for players that cannot meet."""
    options = parse(Options, arguments, "aajax league --text")
    if not (options.out / "config.json").exists():
        _check_new(options.out)  # before a lock is put into somebody's folder
    with files.locked(options.out / files.LOCK, f"out is {str(options.out)!r}"):
        table = play(options, Console(stderr=True, markup=False))
        report(table, options.out, Console(markup=False))


def play(options: Options, errors: Console) -> dict:
    """The table of a league, as league.json holds it, played or gone on with.

    Raises:
      InputError: for players that cannot meet, or a folder of another league.
      KeyboardInterrupt: when stopped.
    """
    config = _config(options)
    game, names = make_game(config), options.players
    entrants = text_players.entrants(names, game)
    pairs = pairs_of(entrants, options.num_matches, options.seed)
    shuffled = _shuffled(options, game)
    text_players.check_endpoints(names, options.api)
    model = None
    if not (options.out / "config.json").exists():
        # What cannot be read is refused before anything is written.
        model = text_players.language_model(names, config)
    _open_folder(options, config)

    journals = contextlib.ExitStack()

    def open_journal(name: str) -> Journal:
        file = options.out / text_players.journal_file(name)
        return journals.enter_context(Journal(file))

    def line_up():
        return text_players.line_up(names, config, game, open_journal, model)

    played = play_pairs(game, line_up, pairs, options.seed, options.out, shuffled)
    hidden = not errors.is_terminal or HUMAN in names
    with journals, progress_bar(errors, "pairs", hidden) as progress:
        task = progress.add_task("", total=len(pairs))
        done = 0

        def counted():
            nonlocal done
            progress.update(task, description=_versus(pairs[0]))
            for pair, matches in played:
                done += 1
                coming = pairs[min(done, len(pairs) - 1)]
                progress.update(task, completed=done, description=_versus(coming))
                yield pair, matches

        try:
            table = text_table(game, counted())
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{done} of {len(pairs)} pairs are played; the same command goes on."
            ) from None
    return {**table, "seed": options.seed}


def report(table: dict, out: Path, console: Console) -> None:
    """Writes league.json and league.png; prints the tables."""
    files.write_json(out / "league.json", table)
    console.print(league_table(table))
    console.print(behaviour_table(table))
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import league_figure

        league_figure(_of_either_seat(table), out / "league.png")
    tell_path(console, f"everything is in {out}/")


def behaviour_table(table: dict) -> Table:
    """One row per player and opponent: the player's measures in either seat.

    Without those that there are none of, and faults that nobody has.
    """
    measured = [face_off["measures"] for face_off in table["face_offs"]]
    shown = {
        name: heading
        for name, heading in HEADINGS.items()
        if any(_is_shown(name, measures) for measures in measured)
    }
    result = Table(
        title="The player in either seat, over matches",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("player", "against"):
        result.add_column(heading, overflow="fold")
    for heading in shown.values():
        result.add_column(heading, justify="right")
    for face_off, measures in zip(table["face_offs"], measured, strict=True):
        cells = [_cell(measures[name][0]) for name in shown]
        result.add_row(face_off["player"], face_off["opponent"], *cells)
    return result


def _is_shown(name: str, measures: dict) -> bool:
    number = measures[name][0] if name in measures else None
    return number is not None and (number != 0 or name not in FAULTS)


def _cell(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}"


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


def _config(options: Options) -> LmConfig:
    def given(names: tuple[str, ...]) -> dict[str, object]:
        values = {name: getattr(options, name, None) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    config = find_config(
        options.players,
        given(ALIKE),
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


def _shuffled(options: Options, game: TextGame) -> tuple[str, ...]:
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
    return ("message",)


def _open_folder(options: Options, config: LmConfig) -> None:
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
        **{
            name: value
            for name, value in config.to_json().items()
            if name in (*ALIKE, "speaking")
        },
    }
    asked = _asked(options)
    record |= asked
    path = options.out / "config.json"
    if path.exists():
        stored = LmConfig.located(read_object(path))
        # Of older leagues nobody knows how endpoints were asked.
        there = {**asked, **stored}
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


def _asked(options: Options) -> dict[str, object]:
    """How endpoints are asked, if any are, as far as their answers depend on it."""
    if not any(name.startswith(API) for name in options.players):
        return {}
    return {
        f"api.{name}": value
        for name, value in dataclasses.asdict(options.api).items()
        if name not in MAY_DIFFER
    }


def _check_new(out: Path) -> None:
    if not files.is_empty(out):
        raise InputError(
            f"out is {str(out)!r}: it holds files that are no league of words; an "
            "empty or new folder is needed"
        )


def _versus(pair: Pair) -> str:
    return " - ".join(pair.names)
