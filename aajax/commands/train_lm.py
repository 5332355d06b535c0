"""`aajax train lm-...`: a language model learns a game in words."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from aajax.api.progress import shown_progress
from aajax.api.runs import LmRun, explained_interrupt
from aajax.commands.arguments import parse
from aajax.commands.presets import size_of
from aajax.commands.spelling import Console
from aajax.commands.trained import GO_ON, Logs, started, tell_finished
from aajax.errors import DivergenceError, InputError
from aajax.extras import check_installed
from aajax.lm.mesh.job import ended_together
from aajax.lm.planning.topologies import find_topology
from aajax.report.tables import measures_table, summary_table
from aajax.schema import Count
from aajax.training import divergence
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import SIZES

Size = Literal[SIZES]


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
            help="settings for a model of that size: smollm2 for small chat models, "
            "the others as published for large ones; None: a pocket model"
        ),
    ] = None
    dry_run: bool = False  # compile the run for --topology, print what it takes, end
    # with --dry-run: devices to compile for, v5e-16, v5p-32, v6e-8, h100x8, h200, ...
    topology: str | None = None
    # with --dry-run: tokens of the longest dialogue; None: the most that are allowed
    length: Count | None = None
    save: Path | None = None  # with --dry-run: file for the compiled programs
    # a file of --save, so that little is compiled; to its sizes all is padded
    programs: Path | None = None


def main(
    preset: str, about: str, config: LmConfig, rest: list[str], console: Console
) -> None:
    """Trains; raises InputError for bad input, KeyboardInterrupt when stopped."""
    default = Options(config, Path("runs") / preset, size=size_of(preset))
    options = parse(Options, rest, f"aajax train {preset}", about, default)
    if compiles_alone(options):
        assert options.topology is not None
        config = options.config
        check_installed("lm", "transformers", "safetensors")
        # Of the extra, which small networks do without.
        from aajax.api.dry_runs import decoder_of, plan
        from aajax.commands.compiled import compile_and_print

        planned = plan(config, decoder_of(config), options.topology, options.length)
        compile_and_print(preset, planned, options.save)
        return
    console = started(console)
    with ended_together():
        run_lm(preset, options, console)


def compiles_alone(options: Options) -> bool:
    """Whether the run is compiled and not run; refuses options that need each other."""
    if options.dry_run:
        find_topology(options.topology)  # refuses none, and says what there is
    if options.dry_run and options.programs is not None:
        raise InputError(
            f"programs is {str(options.programs)!r}: None is needed with --dry-run"
        )
    for name in ("topology", "length", "save"):
        value = getattr(options, name)
        if value is not None and not options.dry_run:
            raise InputError(f"{name} is {str(value)!r}: it needs --dry-run")
    return options.dry_run


def run_lm(preset: str, options: Options, console: Console) -> None:
    """Trains (on) and reports.

    Raises:
      DivergenceError: if the run diverges.
    """
    check_installed("lm", "transformers")
    from aajax.api.lm_training import train_lm

    config, out = options.config, options.out
    with (
        explained_interrupt(out, config, GO_ON),
        shown_progress(config, console=console) as on_iteration,
    ):
        config = train_lm(
            preset, config, out, options.resume, on_iteration, options.log,
            options.programs,
        )  # fmt: skip
    if jax.process_index() == 0:
        run = LmRun(out, preset, config)
        many = config.is_population
        console.print((summary_table if many else measures_table)(run.summary))
        tell_finished(console, run)
        if run.diverged:
            raise DivergenceError(
                f"{divergence.listed(run.diverged)}; means are over the others"
            )
