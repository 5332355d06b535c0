"""`aajax plot RUN`: a run's figure, again, from its files."""

import dataclasses
import json
from pathlib import Path

import tyro
from rich.console import Console

from aajax.commands.arguments import parse
from aajax.commands.progress import tell_path
from aajax.errors import InputError
from aajax.report.curves import training_figure
from aajax.report.lm_curves import lm_figure


@dataclasses.dataclass(frozen=True)
class Options:
    """Draws a run's figure again from its files."""

    run: tyro.conf.Positional[Path]  # folder of a finished run
    out: Path | None = None  # PNG to write; figure.png in the run's folder if not given


def main(arguments: list[str]) -> None:
    """Draws; raises InputError if the folder holds no finished run."""
    options = parse(Options, arguments, "aajax plot")
    if not (options.run / "summary.json").exists():
        raise InputError(f"run is {str(options.run)!r}: a finished run is needed")
    path = options.out or options.run / "figure.png"
    # Of language models' runs there is one setting and one seed each.
    summary = json.loads((options.run / "summary.json").read_text())
    draw = training_figure if "settings" in summary else lm_figure
    draw(options.run, path)
    tell_path(Console(), f"wrote {path}")
