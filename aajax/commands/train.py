"""`aajax train PRESET`: train, evaluate, and leave a run folder."""

import dataclasses
import difflib
import importlib.util
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from aajax.commands import train_lm
from aajax.commands.arguments import parse
from aajax.commands.evaluate import evaluate
from aajax.commands.found import found_or_trained
from aajax.commands.presets import named, print_presets
from aajax.commands.progress import progress_bar, table_console, tell_path
from aajax.errors import DivergenceError, InputError
from aajax.files import write_json
from aajax.report.tables import played, summary_table
from aajax.training import divergence
from aajax.training.assemble import make_trainer
from aajax.training.checkpoint import latest_step
from aajax.training.config import RunConfig
from aajax.training.lm_presets import LM_PRESETS
from aajax.training.memory import check_memory
from aajax.training.presets import PRESETS
from aajax.training.run import diverged, opened, train
from aajax.training.self_play import TrainState


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of `aajax train`."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path  # folder of the run: config, metrics, checkpoints, summary, figure
    resume: bool = False  # continue the run in that folder


def main(arguments: list[str]) -> None:
    """Trains; raises InputError for bad input, KeyboardInterrupt when stopped."""
    console = table_console()
    if not arguments or arguments[0] in ("-h", "--help"):
        print_presets(Console(highlight=False, markup=False))
        return
    preset, *rest = arguments
    preset = named(preset, rest)
    if preset in LM_PRESETS:
        train_lm.main(preset, *LM_PRESETS[preset], rest, console)
        return
    if preset not in PRESETS:
        likely = difflib.get_close_matches(preset, (*PRESETS, *LM_PRESETS), n=3)
        advice = f"; is {' or '.join(likely)} meant?" if likely else ""
        raise InputError(
            f"preset is {preset!r}: one of those that aajax train --help lists is "
            f"needed{advice}"
        )
    about, config = PRESETS[preset]
    default = Options(config, Path("runs") / preset)
    options = parse(Options, rest, f"aajax train {preset}", about, default)
    run(preset, options.config, options.out, options.resume, console)


def run(
    preset: str, config: RunConfig, out: Path, resume: bool, console: Console
) -> dict:
    """Trains (on), evaluates and reports; returns the summary.

    Raises:
      DivergenceError: if a seed diverged; after all is reported, unless every one did.
    """
    # What does not fit is refused before anything is written.
    make_trainer(config)({})
    check_memory(config)
    with opened(out, preset, config, resume):
        state, settings, seconds = _trained_state(config, out, console)
        lost = diverged(out, config, state)
        summary = _summary(preset, config, settings, seconds, lost)
        write_json(out / "summary.json", summary)
        console.print(summary_table(summary))
        if importlib.util.find_spec("matplotlib"):
            from aajax.report.curves import training_figure

            training_figure(out, out / "figure.png")
        else:
            console.print(
                "no figure: install matplotlib, as in pip install 'aajax[plot]'"
            )
    tell_path(console, f"{seconds:.1f} s; everything is in {out}/")
    if lost:
        raise DivergenceError(f"{divergence.listed(lost)}; means are over the others")
    return summary


def _trained_state(
    config: RunConfig, out: Path, console: Console
) -> tuple[TrainState, list[dict], float]:
    """The final state, what it is worth, and the seconds that all took."""
    with progress_bar(console, "updates") as progress:
        game = played(dataclasses.asdict(config))
        task = progress.add_task(f"{game}: compiling", total=config.num_updates)

        def on_chunk(num_updates: int, row: dict) -> None:
            text = f"reward {row['reward']:.3f}"
            entropies = [x for name, x in row.items() if name.endswith("entropy")]
            if entropies:
                text += f"  entropy {sum(entropies) / len(entropies):.3f}"
            progress.update(task, completed=num_updates, description=f"{game}: {text}")
            if not console.is_terminal:
                tell_path(
                    console,
                    f"{game}: update {num_updates}/{config.num_updates}  {text}",
                )

        try:
            state, seconds = train(out, config, on_chunk)
            progress.update(task, description=f"{game}: playing with others")
            began = time.monotonic()
            settings = evaluate(config, state)
            seconds += time.monotonic() - began
        except KeyboardInterrupt:
            saved = latest_step(out / "checkpoints")
            raise KeyboardInterrupt(
                f"Saved after {saved} of {config.num_updates} updates; go on with the "
                "same command and --resume."
            ) from None
    return state, settings, seconds


def _summary(
    preset: str,
    config: RunConfig,
    settings: list[dict],
    seconds: float,
    lost: divergence.Lost,
) -> dict:
    """As summary.json holds it: null stands for numbers of who has diverged."""
    for k, setting in enumerate(settings):
        seeds = {seed for number, seed in lost if number == k}
        hyperparameters = setting["hyperparameters"]
        setting.update(_without(setting, seeds) | {"hyperparameters": hyperparameters})
    summary = {
        "preset": preset,
        "game": config.game,
        "payoff": config.payoff,
        "algorithm": config.algorithm,
        "seeds": config.seed_list,
        "wall_seconds": round(seconds, 2),
        "settings": settings,
    }
    if len(settings) == 1:
        summary |= {
            name: settings[0][name] for name in settings[0] if name != "hyperparameters"
        }
    if lost:
        summary["diverged"] = [found._asdict() for found in lost.values()]
    return summary


def _without(numbers: Any, seeds: set[int]) -> Any:
    """With None in the places of these seeds, in all lists over seeds."""
    if isinstance(numbers, dict):
        return {name: _without(x, seeds) for name, x in numbers.items()}
    if isinstance(numbers, list):
        return [None if i in seeds else x for i, x in enumerate(numbers)]
    return numbers


def trained(name: str, config: RunConfig, out: Path) -> dict:
    """The summary of a run in `out/name`; see `found_or_trained`."""
    return found_or_trained(run, name, config, out)


def ablation(name: str, config: RunConfig, out: Path) -> None:
    """Trains or finds a sweep and prints its table; its figure is a heat map."""
    summary = trained(name, config, out)
    table_console().print(summary_table(summary))
