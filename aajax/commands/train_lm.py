"""`aajax train lm-...`: a language model learns a game in words."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
from rich.console import Console

from aajax.api.progress import shown_progress
from aajax.api.runs import LmRun
from aajax.commands.arguments import parse
from aajax.commands.presets import size_of
from aajax.commands.trained import Logs, explained_interrupt, started, tell_finished
from aajax.extras import check_installed
from aajax.report.tables import measures_table
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import MODELS

Size = Literal[tuple(MODELS)]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `aajax train`, for a language model."""

    config: Annotated[LmConfig, tyro.conf.arg(name="")]
    out: Path  # folder of the run: config, metrics, matches, adapters, checkpoints
    resume: bool = False  # continue the run in that folder, or extend it
    log: Logs = ()  # where metrics go beside metrics.jsonl
    size: Annotated[
        Size | None,  # pyright: ignore[reportInvalidTypeForm]
        tyro.conf.arg(
            help="large model with its published settings; None: a pocket model"
        ),
    ] = None


def main(
    preset: str, about: str, config: LmConfig, rest: list[str], console: Console
) -> None:
    """Trains; raises InputError for bad input, KeyboardInterrupt when stopped."""
    default = Options(config, Path("runs") / preset, size=size_of(preset))
    options = parse(Options, rest, f"aajax train {preset}", about, default)
    run_lm(preset, options, started(console))


def run_lm(preset: str, options: Options, console: Console) -> None:
    """Trains (on) and reports.

    Raises:
      DivergenceError: if the run diverges.
    """
    check_installed("lm", "transformers")
    from aajax.api.lm_training import train_lm

    config, out = options.config, options.out
    with (
        explained_interrupt(out, config),
        shown_progress(config, console=console) as on_iteration,
    ):
        config = train_lm(
            preset, config, out, options.resume, on_iteration, options.log
        )
    if jax.process_index() == 0:
        run = LmRun(out, preset, config)
        console.print(measures_table(run.summary))
        tell_finished(console, run)
