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
from aajax.report.results import read_metrics, tell_missing
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
    from aajax.report.lm_curves import run_figure

    if not (options.run / "summary.json").exists():
        lost = divergence.noted(options.run)
        reason = f"; {divergence.listed(lost)}" if lost else ""
        raise InputError(
            f"run is {str(options.run)!r}: a finished run is needed{reason}"
        )
    path = options.out or options.run / "figure.png"
    check_file("out", path)
    summary = read_object(options.run / "summary.json", nan_is_null=True)
    if "settings" in summary and summary.get("per") != "round":
        training_figure(options.run, path)
    elif "settings" in summary or "measures" in summary:
        with called({"folder": "run"}):
            run_figure(options.run, path, summary)
    else:
        raise InputError(
            f"file is {options.run / 'summary.json'}: settings, or measures, of a run "
            "are needed in it"
        )
    tell_missing(options.run, read_metrics(options.run))
    tell_path(Console(markup=False, emoji=False), f"wrote {path}")
