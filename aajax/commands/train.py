"""`aajax train PRESET`: train, evaluate, and leave a run folder."""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import tyro

from aajax.api.presets import find_preset
from aajax.api.progress import shown_progress
from aajax.api.runs import SmallRun, explained_interrupt
from aajax.api.small_training import train_small
from aajax.commands import train_lm
from aajax.commands.arguments import parse
from aajax.commands.presets import named, print_presets
from aajax.commands.progress import table_console
from aajax.commands.spelling import Console
from aajax.commands.trained import GO_ON, Logs, started, tell_finished
from aajax.errors import DivergenceError
from aajax.lm.mesh.job import ended_together
from aajax.report.tables import summary_table
from aajax.training import divergence
from aajax.training.config import RunConfig
from aajax.training.lm_config import LmConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `aajax train`."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path  # folder of the run: config, metrics, checkpoints, summary, figure
    resume: bool = False  # continue the run in that folder, or extend it
    log: Logs = ()  # where metrics go beside metrics.jsonl


def main(arguments: list[str]) -> None:
    """Trains; raises InputError for bad input, KeyboardInterrupt when stopped."""
    console = table_console()
    if not arguments or arguments[0] in ("-h", "--help"):
        print_presets(Console(highlight=False, markup=False, emoji=False))
        return
    preset, *rest = arguments
    preset = named(preset, rest)
    about, config = find_preset(preset)
    if isinstance(config, LmConfig):
        train_lm.main(preset, about, config, rest, console)
        return
    default = Options(config, Path("runs") / preset)
    options = parse(Options, rest, f"aajax train {preset}", about, default)
    if options.config.devices != 1:
        console = started(console)
    with ended_together():
        run(preset, options, console)


def run(preset: str, options: Options, console: Console) -> None:
    """Trains (on), evaluates and reports.

    Raises:
      DivergenceError: if a seed diverged; after all is reported, unless every one did.
    """
    config, out = options.config, options.out
    with (
        explained_interrupt(out, config, GO_ON),
        shown_progress(config, console=console) as on_chunk,
    ):
        trained = train_small(
            preset, config, out, options.resume, on_chunk, options.log
        )
    if jax.process_index() > 0:
        return
    found = SmallRun(out, preset, *trained)
    console.print(summary_table(found.summary))
    tell_finished(console, found)
    if found.diverged:
        raise DivergenceError(
            f"{divergence.listed(found.diverged)}; means are over the others"
        )
