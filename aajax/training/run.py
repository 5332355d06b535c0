"""A training run in a folder: chunks of updates, metrics, checkpoints, resumption.

config.json     what was asked for
metrics.jsonl   one row per logged update
checkpoints/    the two latest states, by orbax
"""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from aajax.errors import InputError
from aajax.learners.base import Metrics
from aajax.training import checkpoint, metrics, sweep
from aajax.training.assemble import make_trainer
from aajax.training.config import CHOICES, RunConfig
from aajax.training.self_play import TrainState

CHUNKS, LOGGED = 20, 200  # checkpoints and rows of metrics per run, about


def open_folder(folder: Path, preset: str, config: RunConfig, resume: bool) -> None:
    """Makes the run's folder, or checks that it holds this very run.

    Raises:
      InputError: if the folder holds something else, or this run without `resume`,
        or nothing to resume.
    """
    record = {"preset": preset, **config.to_json()}
    path = folder / "config.json"
    if path.exists():
        # An option that is younger than the folder had its default.
        stored = _filled(json.loads(path.read_text()), type(config)().to_json())
        differences = _differences(stored, record)
        if differences:
            raise InputError(
                f"out is {str(folder)!r}: it holds another run ({differences}); "
                "choose another folder"
            )
        if not resume:
            raise InputError(
                f"out is {str(folder)!r}: it holds this run already; continue it with "
                "--resume or choose another folder"
            )
        return
    if resume:
        raise InputError(f"out is {str(folder)!r}: it holds no run to resume")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"out is {str(folder)!r}: it holds files that are no run; an empty or new "
            "folder is needed"
        )
    folder.mkdir(parents=True, exist_ok=True)
    metrics.write_text(path, json.dumps(record, indent=2) + "\n")


def load(folder: Path) -> tuple[str, RunConfig, TrainState]:
    """Preset, config and latest state [K, S, ...] of the run in a folder.

    Raises:
      InputError: if it holds no run, or one without a checkpoint.
    """
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"run is {str(folder)!r}: a folder with a run is needed")
    record = json.loads(path.read_text())
    preset = record.pop("preset", None)
    if preset is None or "speaking" in record:
        raise InputError(
            f"run is {str(folder)!r}: one of small policies is needed; language models "
            "meet in aajax league --text"
        )
    config = RunConfig.from_json(record)
    restored = checkpoint.restore_latest(folder / "checkpoints", _template(config))
    if restored is None:
        raise InputError(f"run is {str(folder)!r}: it has no checkpoint yet")
    return preset, config, restored[1]


def train(
    folder: Path,
    config: RunConfig,
    on_chunk: Callable[[int, dict], None] = lambda num_updates, row: None,
) -> tuple[TrainState, float]:
    """Trains all seeds and knobs of a run at once, from its latest checkpoint.

    An interrupt (SIGINT, SIGTERM) stops after the chunk under way has been saved; a
    second one stops at once, at the loss of that chunk. Either way the run continues
    from its latest checkpoint to the very parameters of an uninterrupted one.

    Args:
      folder: opened by `open_folder`.
      config: of the run.
      on_chunk: called with the updates made so far and the last row of metrics.

    Returns:
      The final state [K, S, ...], and the seconds that all of it took, compilation
      included.

    Raises:
      KeyboardInterrupt: after an interrupt.
      OSError: if the folder cannot be written.
    """
    began = time.monotonic()
    knobs, trainer = knob_values(config), make_trainer(config)
    log_path, saves = folder / "metrics.jsonl", folder / "checkpoints"
    restored = checkpoint.restore_latest(saves, _template(config))
    if restored is None:
        done, state = 0, sweep.start(trainer, knobs, config.seed_list)
    else:
        done, state = restored
    rows = metrics.drop_rows_after(log_path, done)
    began -= rows[-1]["seconds"] if rows else 0.0

    chunk = -(-config.num_updates // CHUNKS)
    lengths = {chunk, config.num_updates % chunk or chunk}
    advance = {length: sweep.advance(trainer, length) for length in lengths}
    every = max(1, config.num_updates // LOGGED)
    with interruptible() as interrupted:
        while done < config.num_updates:
            length = min(chunk, config.num_updates - done)
            state, numbers = advance[length](knobs, state)
            numbers = jax.device_get(numbers)
            seconds = time.monotonic() - began
            rows = _rows(numbers, done, every, seconds)
            done += length
            metrics.append_rows(log_path, rows)
            checkpoint.save(saves, done, state)
            on_chunk(done, _means(numbers))
            if interrupted():
                raise KeyboardInterrupt
    return state, time.monotonic() - began


def knob_values(config: RunConfig) -> sweep.Knobs:
    """What varies, name -> f32[K]; one knob that does not, in a plain run.

    Names, of pasts and baselines, become their numbers in CHOICES, i32[K].
    """
    values = config.swept or {"beta": (config.knobs.beta,)}
    for name in CHOICES.keys() & values.keys():
        values[name] = tuple(map(CHOICES[name].index, values[name]))
    return sweep.grid(values)


def knob_settings(config: RunConfig) -> list[dict[str, float | str]]:
    """The same, setting by setting, with names as they were given."""
    knobs = knob_values(config)
    num_settings = len(next(iter(knobs.values())))

    def read(name: str, x) -> float | str:
        return CHOICES[name][int(x)] if name in CHOICES else float(x)

    return [
        {name: read(name, x[k]) for name, x in knobs.items()}
        for k in range(num_settings)
    ]


def _template(config: RunConfig) -> TrainState:
    """Shapes of the state of a run, [K, S, ...]."""
    trainer, knobs = make_trainer(config), knob_values(config)
    return jax.eval_shape(lambda: sweep.start(trainer, knobs, config.seed_list))


def _rows(numbers: Metrics, done: int, every: int, seconds: float) -> list[dict]:
    """Every so many updates a row; metrics [U, K, S] become lists [K][S]."""
    length = len(numbers["reward"])
    return [
        {
            "update": done + i + 1,
            "seconds": round(seconds, 3),
            **{name: np.asarray(x[i], float).tolist() for name, x in numbers.items()},
        }
        for i in range(length)
        if (done + i + 1) % every == 0
    ]


def _means(numbers: Metrics) -> dict[str, float]:
    return {name: float(np.mean(x[-1])) for name, x in numbers.items()}


def _filled(record: dict, defaults: dict) -> dict:
    """The record, with the defaults of what it does not mention."""
    nested = {
        name: _filled(record[name], value)
        for name, value in defaults.items()
        if isinstance(value, dict) and isinstance(record.get(name), dict)
    }
    return {**defaults, **record, **nested}


def _differences(old: dict, new: dict, prefix: str = "") -> str:
    parts = []
    for name in old.keys() | new.keys():
        there, here = old.get(name), new.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            parts.append(_differences(there, here, f"{name}."))
        elif there != here:
            parts.append(f"{prefix}{name} is {there!r} there and {here!r} here")
    return ", ".join(sorted(part for part in parts if part))


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Notes the first SIGINT or SIGTERM instead of stopping at once.

    Outside of the main thread signals cannot be caught and go their usual way.
    """
    received = []
    previous = {}

    def note(number, frame):
        received.append(number)
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    except ValueError:
        previous.clear()
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
