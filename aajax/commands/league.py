"""`aajax league RUN ...`: trained runs and scripted players, all against all."""

import dataclasses
import logging
from pathlib import Path
from typing import Annotated

import tyro

from aajax import files
from aajax.api.labels import check_distinct
from aajax.api.leagues import play_league, write_league
from aajax.api.runs import load_small
from aajax.commands.arguments import parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.report.tables import league_table
from aajax.schema import Count, Items

_log = logging.getLogger(__name__)

Names = Annotated[
    tuple[str, ...], Items(distinct=True), tyro.conf.arg(metavar="PLAYER ...")
]
Runs = Annotated[
    tuple[Path, ...],
    tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(or --game)"),
]


@dataclasses.dataclass(frozen=True)
class Options:
    """Plays trained runs and scripted players against one another, in all line-ups.

    For text games (language models, scripted players, HTTP endpoints, people) see
    `aajax league --text --help`.
    """

    # folders of runs, all of one game
    runs: tyro.conf.Positional[Runs] = ()
    # environment for scripted players alone, without any run
    game: str | None = None
    out: Path = Path("runs/league")  # folder for league.json and league.png
    # scripted players that take part, or FILE.py:NAME of yours; None: all of the game's
    scripted: Names | None = None
    num_games: Count = 256  # games of each line-up
    num_steps: Count | None = None  # time steps per game; None: as in the runs


def main(arguments: list[str]) -> None:
    """Plays; raises InputError for runs that cannot meet."""
    if "--text" in arguments:
        _play_in_words([word for word in arguments if word != "--text"])
        return
    options = parse(Options, arguments, "aajax league")
    if bool(options.runs) == (options.game is not None):
        raise InputError(
            f"runs is {[str(run) for run in options.runs]} and game {options.game}: "
            "either folders of runs or a game is needed"
        )
    rules = options.scripted, options.num_games, options.num_steps
    with files.locked(options.out / files.LOCK, f"out is {str(options.out)!r}"):
        check_distinct(options.runs, "runs")
        runs = [load_small(folder) for folder in options.runs]
        table = play_league(runs, *rules, game=options.game)
        report(table, options.out, Console(markup=False, emoji=False))


def _play_in_words(arguments: list[str]) -> None:
    check_installed("lm", "transformers")
    from aajax.commands import league_text

    league_text.main(arguments)


def report(table: dict, out: Path, console: Console) -> None:
    """Writes league.json and league.png; prints the table."""
    write_league(table, out)
    console.print(league_table(table))
    tell_path(console, f"everything is in {out}/")
