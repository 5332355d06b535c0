"""`aajax export RUN`: a run's or a league's numbers as tidy CSV files."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from aajax.api.export import export
from aajax.commands.arguments import parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console

Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Writes a run's or a league's numbers as tidy CSV files.

    Of a run: metrics.csv, a line per setting, seed and update, and summary.csv, a line
    per setting and seed. Of a league: league.csv, a line per line-up and seat.
    """

    run: tyro.conf.Positional[Run]  # folder of a run, or of a league
    out: Path | None = None  # folder for the files; the run's own if not given


def main(arguments: list[str]) -> None:
    """Writes the files; raises InputError for a folder that holds neither."""
    options = parse(Options, arguments, "aajax export")
    for path in export(options.run, options.out):
        tell_path(Console(markup=False, emoji=False), f"wrote {path}")
