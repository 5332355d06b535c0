"""A training run in a folder: chunks of updates, metrics, checkpoints, resumption.

config.json     what was asked for
metrics.jsonl   one row per logged update
checkpoints/    the two latest states, by orbax
diverged.json   seeds that diverged, if any did
summary.json    what became of it, once it has come to its end

While a process works on a run, others are kept out of its folder.
"""

import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aajax import files, schema
from aajax.errors import DivergenceError, InputError
from aajax.interrupts import interruptible
from aajax.lm.compilation import compiles
from aajax.lm.mesh.hosts import in_any, in_first
from aajax.records import read_object
from aajax.training import checkpoint, divergence, metrics, sweep
from aajax.training.assemble import make_trainer
from aajax.training.config import RunConfig
from aajax.training.estimator import choices
from aajax.training.extension import Config, Extensible, going_on, tell_schedule
from aajax.training.layout import Layout, make_layout
from aajax.training.metrics import Sink
from aajax.training.self_play import TrainState

_log = logging.getLogger(__name__)

CHUNKS, LOGGED = 20, 200  # checkpoints and rows of metrics per run, about
MOST = 3  # options that are named where a folder holds another run
SUMMARY = "summary.json"  # of a run that has come to its end


@contextlib.contextmanager
def opened(folder: Path, preset: str, config: Config, resume: bool) -> Iterator[Config]:
    """`open_folder`, and no other process gets into the folder until the block ends.

    Raises:
      InputError: as `open_folder`, or if another process is in there.
    """
    if not (folder / "config.json").exists():
        # Before a lock is put into somebody's folder.
        _check_new(folder, resume)
    with files.locked(folder / files.LOCK, f"out is {str(folder)!r}"):
        config = open_folder(folder, preset, config, resume)
        files.clear_partial(folder)
        yield config


def open_folder(folder: Path, preset: str, config: Config, resume: bool) -> Config:
    """Makes the run's folder, or checks that it holds this very run.

    Options that the config allows to differ are noted anew. A run that is resumed may
    be extended: more updates are asked for than it was begun with. That is noted by
    `note_length` once all that the run goes on from is there.

    Returns:
      The config of the run, with the schedule that it began with; see `going_on`.

    Raises:
      InputError: as `check_folder`.
    """
    asked, path = config, folder / "config.json"
    config = check_folder(folder, preset, asked, resume)
    record = {"preset": preset, **config.to_json()}
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(path, record, indent=2)
        return config
    written = read_object(path)
    stored = _stored(written, asked)
    if stored is not None and asked.length > stored.length:
        tell_schedule(config)
    elif written != record:
        files.write_json(path, record, indent=2)
    return config


def check_folder(folder: Path, preset: str, config: Config, resume: bool) -> Config:
    """Checks that a run may begin in a folder, or go on there; writes nothing.

    Returns:
      The config of the run, with the schedule that it began with; see `going_on`.

    Raises:
      InputError: if the folder holds something else, or this run without `resume`,
        or nothing to resume.
    """
    path = folder / "config.json"
    if not path.exists():
        _check_new(folder, resume)
        return config
    written = read_object(path)
    is_over = (folder / SUMMARY).exists()
    if resume and is_over and not checkpoint.latest_step(folder / "checkpoints"):
        raise InputError(
            f"out is {str(folder)!r}: its run has come to its end, and checkpoints/ is "
            "needed to go on; a member of a population goes on with the whole of it"
        )
    stored = _stored(written, config)
    if stored is not None:
        config = config.settled_as(stored)
    is_longer = resume and stored is not None and config.length > stored.length
    free = config.may_differ
    if resume and stored is not None:
        config = going_on(config, stored)
        free |= {f"num_{config.unit}"} if is_longer else set()
        if config.schedule_length == stored.schedule_length:
            free |= {config.schedule_option}  # it says the same
    record = {"preset": preset, **config.to_json()}
    # An option that is younger than the folder had its default.
    there = schema.by_present_names(type(config), written)
    there = config.located(_filled(there, type(config)().to_json()))
    if stored is not None:
        located = config.located(stored.to_json())
        there = {"preset": written.get("preset"), **located}
    differences = _differences(there, record, free)
    if differences:
        more = f", and {len(differences) - MOST} more" if differences[MOST:] else ""
        needed = "choose another folder"
        if resume:
            needed = (
                "what is left out has its default: give the same options, or " + needed
            )
        raise InputError(
            f"out is {str(folder)!r}: it holds another run "
            f"({', '.join(differences[:MOST])}{more}); {needed}"
        )
    if not resume:
        raise InputError(
            f"out is {str(folder)!r}: it holds this run already; continue it with "
            "--resume or choose another folder"
        )
    return config


def note_length(folder: Path, config: Extensible) -> None:
    """Notes that a run is extended, if it is; the summary of the shorter one goes."""
    path = folder / "config.json"
    written = read_object(path)
    stored = _stored(written, config)
    if stored is None or stored.length == config.length:
        return
    # First, as it would be taken for that of the longer run.
    (folder / SUMMARY).unlink(missing_ok=True)
    record = {"preset": written.get("preset"), **config.to_json()}
    files.write_json(path, record, indent=2)


def resumed(folder: Path, config: Config) -> Config:
    """The config of a run that goes on in a folder, as `open_folder` returns it.

    Nothing is written or refused.
    """
    path = folder / "config.json"
    stored = _stored(read_object(path), config) if path.exists() else None
    if stored is None:
        return config
    return going_on(config.settled_as(stored), stored)


def is_finished(folder: Path, config: Extensible) -> bool:
    """Whether a run has come to its end, and its summary is written."""
    saved = checkpoint.latest_step(folder / "checkpoints")
    return saved >= config.length and (folder / SUMMARY).exists()


def _stored(written: dict, config: Config) -> Config | None:
    """The config in a file, by former names too; None if it is of another kind."""
    record = {name: value for name, value in written.items() if name != "preset"}
    try:
        return type(config).from_json(record)
    except InputError:
        return None


def _check_new(folder: Path, resume: bool) -> None:
    if resume:
        raise InputError(f"out is {str(folder)!r}: it holds no run to resume")
    files.check_empty(f"out is {str(folder)!r}", folder, "run")
    # Orbax takes the path of a checkpoint for a pattern, and finds none of its files.
    if set("*?[]") & set(str(folder.resolve())):
        raise InputError(
            f"out is {str(folder)!r}: a path without any of * ? [ ] is needed, as "
            "checkpoints in it could not be read"
        )


def load(folder: Path) -> tuple[str, RunConfig, TrainState]:
    """Preset, config and latest state [K, S, ...] of the run in a folder.

    Raises:
      InputError: if it holds no run, or one without a checkpoint.
    """
    preset, config = load_config(folder)
    return preset, config, load_state(folder, config)


def load_config(folder: Path) -> tuple[str, RunConfig]:
    """Preset and config of the run in a folder.

    Raises:
      InputError: if it holds no run, or one of a language model.
    """
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"run is {str(folder)!r}: a folder with a run is needed")
    record = read_object(path)
    preset = record.pop("preset", None)
    if preset is None and "players" in record:
        raise InputError(
            f"run is {str(folder)!r}: a folder with a run is needed, and this is one "
            "of a league"
        )
    if preset is None or "speaking" in record:
        raise InputError(
            f"run is {str(folder)!r}: one of small policies is needed; language models "
            "meet in aajax league --text"
        )
    with schema.within(f"file is {path}: "):
        return preset, RunConfig.from_json(record)


def load_state(folder: Path, config: RunConfig) -> TrainState:
    """Latest state [K, S, ...] of the run in a folder.

    Raises:
      InputError: if there is no checkpoint.
    """
    restored = checkpoint.restore_latest(folder / "checkpoints", _template(config))
    if restored is None:
        lost = divergence.noted(folder)
        reason = f"; {divergence.listed(lost)}" if lost else " yet"
        raise InputError(f"run is {str(folder)!r}: it has no checkpoint{reason}")
    return restored[1]


def train(
    folder: Path,
    config: RunConfig,
    on_chunk: Callable[[int, dict], None] = lambda num_updates, row: None,
    sinks: Sequence[Sink] = (),
) -> tuple[TrainState, float]:
    """Trains all seeds and settings of a run at once, from its latest checkpoint.

    An interrupt (SIGINT, SIGTERM) stops after the chunk under way has been saved; a
    second one stops at once, at the loss of that chunk. Either way the run continues
    from its latest checkpoint to the very parameters of an uninterrupted one.

    A seed of a setting that diverges is noted after the chunk, see `divergence`. Its
    state stays what it was before that chunk, in the checkpoints too, and its metrics
    are null from there on; all others go on as if nothing had happened.

    Args:
      folder: opened by `open_folder`.
      config: of the run.
      on_chunk: called with the updates made so far and the last row of metrics, means
        over those that have not diverged.
      sinks: that get every row of metrics beside metrics.jsonl, once it is saved.

    Returns:
      The final state [K, S, ...], and the seconds that it took, with compilation.

    Raises:
      DivergenceError: if every seed of every setting has diverged.
      KeyboardInterrupt: after an interrupt.
      OSError: if the folder cannot be written.
    """
    began = time.monotonic()
    layout, hyperparameters = layout_of(config), hyperparameter_values(config)
    trainer = make_trainer(config, layout.games)
    log_path, saves = folder / "metrics.jsonl", folder / "checkpoints"
    done, state = _latest(saves, config, layout)
    whole = layout.collect(state)
    lost = diverged(folder, config, whole)
    in_first(lambda: divergence.note(folder, lost))
    _check_left(folder, config, lost, done)
    every = max(1, config.num_updates // LOGGED)
    rows = in_first(lambda: metrics.drop_rows_after(log_path, done, every))
    in_first(lambda: note_length(folder, config))
    began -= rows[-1].get("seconds", 0.0) if rows else 0.0
    chunk = -(-config.num_updates // CHUNKS)
    lengths = _lengths(config.num_updates - done, chunk)
    advance = {length: layout.advance(trainer, length) for length in lengths}
    with interruptible() as interrupted:
        while done < config.num_updates:
            length = min(chunk, config.num_updates - done)
            with compiles(_program(length, *layout.lanes)):
                state, numbers = advance[length](hyperparameters, state)
            whole, numbers = layout.collect(state), jax.device_get(numbers)
            lost = _find(config, whole, done, numbers) | lost
            numbers = divergence.without(numbers, lost, done)
            rows = _rows(numbers, done, every, time.monotonic() - began)
            in_first(functools.partial(metrics.append_rows, log_path, rows))
            if lost:
                whole = _set_back(folder, config, layout, whole, lost, done)
                state = layout.place(whole)
            done += length
            checkpoint.save(saves, done, whole)
            metrics.send(rows, sinks)
            on_chunk(done, _means(numbers))
            if in_any(interrupted()):
                raise KeyboardInterrupt
    return whole, time.monotonic() - began


def _program(num_updates: int, num_settings: int, num_seeds: int) -> str:
    """What is compiled, in words."""
    counts = {"update": num_updates, "setting": num_settings, "seed": num_seeds}
    updates, settings, seeds = (
        f"{count} {what}" + "s" * (count > 1) for what, count in counts.items()
    )
    lanes = seeds if num_settings == 1 else f"{settings} with {seeds}"
    return f"{updates} of {lanes}"


def _lengths(left: int, chunk: int) -> set[int]:
    """Of the chunks in which so many updates are made: a rest comes last."""
    return {min(chunk, left), left % chunk or min(chunk, left)} - {0}


def _set_back(
    folder: Path,
    config: RunConfig,
    layout: Layout,
    state: TrainState,
    lost: divergence.Lost,
    done: int,
) -> TrainState:
    """Notes who is lost, and puts them back to what is saved of `done` updates."""
    new = in_first(lambda: divergence.note(folder, lost))
    _check_left(folder, config, lost, done)
    for found in new or ():
        _log.warning("%s; all others go on", found)
    saved = _latest(folder / "checkpoints", config, layout)[1]
    return divergence.keep(state, layout.collect(saved), lost)


def diverged(folder: Path, config: RunConfig, state: TrainState) -> divergence.Lost:
    """Which seeds of which settings of a run have diverged, up to this state of it."""
    done = int(state.num_updates.max())
    lanes = len(hyperparameter_settings(config)), config.seeds
    return _find(config, state, done, {}) | divergence.noted(folder, done, lanes)


def _find(
    config: RunConfig,
    state: TrainState,
    done: int,
    numbers: Mapping[str, np.ndarray],
) -> divergence.Lost:
    learners = {f"learner_{i}": x for i, x in enumerate(state.learners)}
    return divergence.find(
        config, hyperparameter_settings(config), learners, done, numbers
    )


def _check_left(
    folder: Path, config: RunConfig, lost: divergence.Lost, done: int
) -> None:
    """Raises DivergenceError if nobody is left, `done` updates being saved."""
    if len(lost) < len(hyperparameter_settings(config)) * config.seeds:
        return
    kept = f"the state after update {done} is kept in {folder / 'checkpoints'}/"
    kept = kept if done else "there was no checkpoint before"
    raise DivergenceError(f"{divergence.listed(lost)}; {kept}")


def layout_of(config: RunConfig) -> Layout:
    """Where a run's states are; raises InputError as `make_layout` does."""
    return make_layout(config, len(hyperparameter_settings(config)))


def _latest(saves: Path, config: RunConfig, layout: Layout) -> tuple[int, TrainState]:
    """Updates of the latest checkpoint and its state, or those of the beginning."""
    template = _template(config)
    if layout.mesh is not None:
        # Read by the host: it may be larger than one device.
        template = jax.tree.map(_on_host, template)
    restored = checkpoint.restore_latest(saves, template)
    if restored is None:
        hyperparameters = hyperparameter_values(config)
        trainer = make_trainer(config, layout.games)
        return 0, layout.start(trainer, hyperparameters, config.seed_list)
    return restored[0], layout.place(restored[1])


def _on_host(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct | np.ndarray:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def hyperparameter_values(config: RunConfig) -> sweep.Hyperparameters:
    """What varies, name -> f32[K]; one hyper-parameter that does not, in a plain run.

    Names, of pasts and baselines, become their numbers in `choices`, i32[K].
    """
    names = choices(config)
    values: dict[str, Any] = config.swept or {"beta": (config.hyperparameters.beta,)}
    for name in names.keys() & values.keys():
        values[name] = tuple(map(names[name].index, values[name]))
    return sweep.grid(values)


def hyperparameter_settings(config: RunConfig) -> list[dict[str, float | str]]:
    """The same, setting by setting, as they were given."""
    values = config.swept or {"beta": (config.hyperparameters.beta,)}
    combinations = itertools.product(*values.values())
    return [dict(zip(values, each, strict=True)) for each in combinations]


def _template(config: RunConfig) -> TrainState:
    """Shapes of the state of a run, [K, S, ...]."""
    trainer, hyperparameters = make_trainer(config), hyperparameter_values(config)
    return jax.eval_shape(
        lambda: sweep.start(trainer, hyperparameters, config.seed_list)
    )


def _rows(
    numbers: Mapping[str, np.ndarray], done: int, every: int, seconds: float
) -> list[dict]:
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


def _means(numbers: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of the last update, over those that have numbers."""
    last = {name: x[-1][np.isfinite(x[-1])] for name, x in numbers.items()}
    return {name: float(x.mean()) if x.size else np.nan for name, x in last.items()}


def _filled(record: dict, defaults: dict) -> dict:
    """The record, with the defaults of what it does not mention."""
    nested = {
        name: _filled(record[name], value)
        for name, value in defaults.items()
        if isinstance(value, dict) and isinstance(record.get(name), dict)
    }
    return {**defaults, **record, **nested}


def _differences(
    old: dict, new: dict, free: frozenset[str] = frozenset(), prefix: str = ""
) -> list[str]:
    """What differs, but for the names in `free`."""
    parts = []
    for name in old.keys() | new.keys():
        there, here = old.get(name), new.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            parts += _differences(there, here, free, f"{prefix}{name}.")
        elif there != here and prefix + name not in free:
            parts.append(f"{prefix}{name} is {there!r} there and {here!r} here")
    return sorted(parts)
