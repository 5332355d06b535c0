"""`aajax train lm-...`: a language model learns a game in words."""

import contextlib
import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from rich.console import Console

from aajax.commands.arguments import check_installed, parse
from aajax.commands.found import found_or_trained
from aajax.commands.presets import size_of
from aajax.commands.progress import progress_bar, tell_path
from aajax.dialogue.endpoints.journal import Journal
from aajax.dialogue.play.seating import GUEST
from aajax.errors import InputError
from aajax.files import write_json
from aajax.lm.mesh.hosts import in_first
from aajax.lm.mesh.sharding import start_distributed
from aajax.report.tables import OTHERS, measures_table, run_title
from aajax.training.checkpoint import latest_step
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import MODELS
from aajax.training.metrics import read_rows
from aajax.training.run import opened

Size = Literal[tuple(MODELS)]
LAST = 0.1  # part of a run that its summary is about


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `aajax train`, for a language model."""

    config: Annotated[LmConfig, tyro.conf.arg(name="")]
    out: Path  # folder of the run: config, metrics, matches, adapters, checkpoints
    resume: bool = False  # continue the run in that folder
    # large model with its published settings; None: a pocket model
    size: Size | None = None


def main(
    preset: str, about: str, config: LmConfig, rest: list[str], console: Console
) -> None:
    """Trains; raises InputError for bad input, KeyboardInterrupt when stopped.

    Where the surroundings say that there are several processes, it is one of them, see
    `lm.sharding.start_distributed`.
    """
    default = Options(config, Path("runs") / preset, size=size_of(preset))
    options = parse(Options, rest, f"aajax train {preset}", about, default)
    start_distributed()
    if jax.process_index() > 0:
        console = Console(quiet=True, markup=False)  # process 0 speaks for all
    run_lm(preset, options.config, options.out, options.resume, console)


def run_lm(
    preset: str, config: LmConfig, out: Path, resume: bool, console: Console
) -> dict:
    """Trains (on) and reports; returns the summary.

    With several processes all of them call this, and process 0 writes.

    Raises:
      DivergenceError: if the run diverges.
    """
    check_installed("lm", "transformers")
    from aajax.commands.text_players import make_guest
    from aajax.dialogue.pocket import user_cache
    from aajax.training.lm_assemble import assemble
    from aajax.training.lm_run import check_processes

    # Runs of one preset are the same programs.
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(user_cache() / "programs"))
    with console.status("reading the model"):
        # What does not fit is refused before anything is written.
        parts = assemble(config, make_guest(config))
    check_processes(parts)
    _check_limits(config)
    with contextlib.ExitStack() as stack:
        in_first(lambda: stack.enter_context(opened(out, preset, config, resume)))
        parts = _journalled(parts, out, stack)
        measures, seconds = _trained_measures(parts, out, console)
        summary = {
            "preset": preset,
            "game": config.game,
            "algorithm": config.algorithm,
            "seed": config.seed,
            "wall_seconds": round(seconds, 2),
            "training": _last(out),
            "measures": measures,
        }
        if jax.process_index() == 0:
            _report(summary, out, console)
    tell_path(console, f"{seconds:.1f} s; everything is in {out}/")
    return summary


def _check_limits(config: LmConfig) -> None:
    """Raises InputError for limits of endpoints that nothing or nobody would keep."""
    from aajax.commands.text_players import check_endpoints

    check_endpoints([] if config.guest is None else [config.guest], config.api)
    for name in ("max_requests", "max_total_tokens"):
        limit, count = getattr(config.api, name), jax.process_count()
        if limit is not None and count > 1:
            raise InputError(
                f"api.{name} is {limit}: None is needed with {count} processes, each "
                "of which asks on its own"
            )


def _journalled(parts, out: Path, stack: contextlib.ExitStack):
    """The parts, whose guest at an endpoint has a journal in the run's folder.

    Args:
      parts: `LmParts` of the run.
      out: its folder.
      stack: on which the journal is closed.
    """
    from aajax.commands.text_players import API, journal_file, make_guest

    if GUEST not in parts.players or not parts.config.guest.startswith(API):
        return parts

    def open_journal(name: str) -> Journal:
        file = out / journal_file(name, jax.process_index())
        return stack.enter_context(Journal(file))

    guest = make_guest(parts.config, open_journal)(parts.config.guest, parts.game)
    return dataclasses.replace(parts, players={**parts.players, GUEST: guest})


def _trained_measures(parts, out: Path, console: Console) -> tuple[dict, float]:
    """What the final adapter does, and the seconds that its training took.

    Args:
      parts: `LmParts` of the run.
      out: its folder.
      console: on which progress is shown.
    """
    from aajax.commands.evaluate_lm import evaluate_lm
    from aajax.training.lm_run import train_lm

    config = parts.config
    with progress_bar(console, "iterations") as progress:
        game = config.game
        task = progress.add_task(f"{game}: compiling", total=config.num_iterations)
        shown = time.monotonic()

        def on_iteration(number: int, row: dict) -> None:
            nonlocal shown
            text = _told(row)
            progress.update(task, completed=number, description=f"{game}: {text}")
            late = time.monotonic() - shown > 10 or number == config.num_iterations
            if not console.is_terminal and late:
                shown = time.monotonic()
                tell_path(
                    console,
                    f"{game}: iteration {number}/{config.num_iterations}  {text}",
                )

        try:
            state, seconds = train_lm(out, parts, on_iteration)
            progress.update(task, description=f"{game}: playing with others")
            return evaluate_lm(parts, state), seconds
        except KeyboardInterrupt:
            saved = latest_step(out / "checkpoints")
            raise KeyboardInterrupt(
                f"Saved after {saved} of {config.num_iterations} iterations; go on "
                "with the same command and --resume."
            ) from None


def _report(summary: dict, out: Path, console: Console) -> None:
    """Writes summary.json and the figure; prints the table."""
    write_json(out / "summary.json", summary)
    console.print(measures_table(summary))
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.lm_curves import lm_figure

        lm_figure(out, out / "figure.png", run_title(summary))
    else:
        console.print("no figure: install matplotlib, as in pip install 'aajax[plot]'")


def trained_lm(name: str, config: LmConfig, out: Path) -> dict:
    """The summary of a run in `out/name`; see `found_or_trained`."""
    return found_or_trained(run_lm, name, config, out)


def _told(row: dict[str, float | None]) -> str:
    """The rewards of an iteration: with itself, and with others where there are any."""
    labels = {"reward": "reward", f"reward{OTHERS}": "against others"}
    found = {label: row.get(name) for name, label in labels.items()}
    return ", ".join(f"{label} {x:.3f}" for label, x in found.items() if x is not None)


def _last(out: Path) -> dict[str, float]:
    """Means over the last iterations, each over those in which there is a number."""
    rows = read_rows(out / "metrics.jsonl")
    rows = rows[-max(1, round(LAST * len(rows))) :]
    names = dict.fromkeys(name for row in rows for name in row)
    values = {
        name: [row[name] for row in rows if row.get(name) is not None]
        for name in names
        if name not in ("update", "seconds")
    }
    return {name: float(np.mean(found)) for name, found in values.items() if found}
