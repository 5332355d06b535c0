"""Training of small policies in folders: begun, gone on with, extended."""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from aajax.api.evaluation import evaluate_state
from aajax.api.sinks import check_log, opened_sinks
from aajax.envs import find_spec
from aajax.envs.check import check_rules
from aajax.envs.check_parts import check_parts
from aajax.files import write_json
from aajax.lm.mesh.hosts import in_first, shared_folder
from aajax.training import divergence
from aajax.training.assemble import check_table, make_env, make_trainer
from aajax.training.config import RunConfig
from aajax.training.memory import check_memory
from aajax.training.metrics import Sink
from aajax.training.run import (
    SUMMARY,
    diverged,
    is_finished,
    layout_of,
    opened,
    resumed,
)
from aajax.training.run import train as train_state
from aajax.training.self_play import TrainState


def train_small(
    preset: str,
    config: RunConfig,
    folder: Path,
    resume: bool,
    on_chunk: Callable[[int, dict], None] = lambda num_updates, row: None,
    log: Sequence[str | Sink] = (),
) -> tuple[RunConfig, TrainState]:
    """Trains (on) and evaluates small policies, and writes the summary and the figure.

    A run that has come to its end stays as it is. With several processes all of them
    call this, and process 0 writes.

    Args:
      preset: its name.
      config: of the run.
      folder: of the run.
      resume: whether the run is there, to go on with.
      on_chunk: see `training.run.train`.
      log: where rows of metrics go beside metrics.jsonl; see `opened_sinks`.

    Returns:
      The config, with the schedule that the run began with, and the final state.

    Raises:
      InputError: for what does not fit, before anything is written.
      DivergenceError: if every seed diverged.
      KeyboardInterrupt: after an interrupt.
    """
    check_log(log)
    env, spec = make_env(config), find_spec(config.game)
    check_rules(env, config.game)
    check_parts(spec, env, config.game, config.steps_per_episode)
    check_table(config, env)
    make_trainer(config, layout_of(config).games)({})
    check_memory(config)
    folder = shared_folder(folder)
    if resume:
        config = resumed(folder, config)
    with contextlib.ExitStack() as stack:
        in_first(lambda: stack.enter_context(opened(folder, preset, config, resume)))
        is_over = is_finished(folder, config)
        heard = log if jax.process_index() == 0 and not is_over else ()
        sinks = stack.enter_context(opened_sinks(heard, folder, preset, config))
        state, seconds = train_state(folder, config, on_chunk, sinks)
        if not is_over:
            in_first(lambda: _finish(folder, preset, config, state, seconds))
    return config, state


def _finish(
    folder: Path, preset: str, config: RunConfig, state: TrainState, seconds: float
) -> None:
    """Evaluates, and writes the summary and the figure."""
    began = time.monotonic()
    settings = evaluate_state(config, state)
    seconds += time.monotonic() - began
    lost = diverged(folder, config, state)
    summary = _summary(preset, config, settings, seconds, lost)
    write_json(folder / SUMMARY, summary)
    draw_figure(folder)


def draw_figure(folder: Path) -> None:
    """Writes the figure of a finished run of small policies, if matplotlib is there."""
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import training_figure

        training_figure(folder, folder / "figure.png")


def _summary(
    preset: str,
    config: RunConfig,
    settings: list[dict],
    seconds: float,
    lost: divergence.Lost,
) -> dict:
    """As summary.json holds it: null stands for numbers of who has diverged."""
    settings = masked(settings, lost)
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


def masked(settings: list[dict], lost: divergence.Lost) -> list[dict]:
    """What settings are worth, with None in the places of who has diverged."""
    found = []
    for k, setting in enumerate(settings):
        seeds = {seed for number, seed in lost if number == k}
        kept = {"hyperparameters": setting["hyperparameters"]}
        found.append(_without(setting, seeds) | kept)
    return found


def _without(numbers: Any, seeds: set[int]) -> Any:
    """With None in the places of these seeds, in all lists over seeds."""
    if isinstance(numbers, Mapping):
        return {name: _without(x, seeds) for name, x in numbers.items()}
    if isinstance(numbers, list):
        return [None if i in seeds else x for i, x in enumerate(numbers)]
    return numbers
