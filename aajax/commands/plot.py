"""`aajax plot RUN`: a run's figure, again, from its files."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.records import read_object
from aajax.report.tables import run_title
from aajax.schema import called
from aajax.training import divergence

Run = Annotated[Path, tyro.conf.arg(metavar="RUN")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Draws a run's figure again from its files."""

    run: tyro.conf.Positional[Run]  # folder of a finished run
    out: Path | None = None  # PNG to write; None: figure.png in the run's folder


def main(arguments: list[str]) -> None:
    """Draws; raises InputError if the folder holds no finished run."""
    options = parse(Options, arguments, "aajax plot")
    check_installed("plot", "matplotlib")
    from aajax.report.curves import training_figure
    from aajax.report.lm_curves import lm_figure

    if not (options.run / "summary.json").exists():
        lost = divergence.noted(options.run)
        reason = f"; {divergence.listed(lost)}" if lost else ""
        raise InputError(
            f"run is {str(options.run)!r}: a finished run is needed{reason}"
        )
    path = options.out or options.run / "figure.png"
    check_file("out", path)
    # Of language models' runs there is one setting and one seed each.
    summary = read_object(options.run / "summary.json", nan_is_null=True)
    if "settings" in summary:
        training_figure(options.run, path)
    elif "measures" in summary:
        title = run_title(summary) if "preset" in summary else None
        with called({"folder": "run"}):
            lm_figure(options.run, path, title)
    else:
        raise InputError(
            f"file is {options.run / 'summary.json'}: settings, or measures, of a run "
            "are needed in it"
        )
    tell_path(Console(markup=False, emoji=False), f"wrote {path}")
