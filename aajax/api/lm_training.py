"""Training of language models by the names of presets, in folders."""

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from aajax.api.sinks import check_log, opened_sinks
from aajax.api.text_players import API, check_endpoints, journal_file, make_guest
from aajax.dialogue.endpoints.journal import Journal
from aajax.dialogue.play.seating import GUEST
from aajax.dialogue.pocket import PROGRAMS, user_cache
from aajax.errors import InputError
from aajax.files import write_json
from aajax.lm.compilation import kept
from aajax.lm.mesh.hosts import in_first, shared_folder
from aajax.lm.model.decoder import init_params
from aajax.report.tables import run_title
from aajax.training import checkpoint, lm_run
from aajax.training.lm_assemble import LmParts, assemble
from aajax.training.lm_config import LmConfig
from aajax.training.lm_evaluation import evaluate_lm
from aajax.training.lm_presets import SIZED, fitting_size
from aajax.training.lm_probe import decided, probe
from aajax.training.metrics import Sink, read_rows
from aajax.training.run import SUMMARY, is_finished, opened, resumed

_log = logging.getLogger(__name__)

Measures = dict[str, dict[str, float | None]]  # who sits opposite → name → number

LAST = 0.1  # part of a run that its summary is about


def train_lm(
    preset: str,
    config: LmConfig,
    folder: Path,
    resume: bool,
    on_iteration: Callable[[int, dict], None] = lambda done, row: None,
    log: Sequence[str | Sink] = (),
) -> LmConfig:
    """Trains (on) and evaluates a language model, and writes the summary.

    A run that has come to its end stays as it is. With several processes all of them
    call this, and process 0 writes.

    Args:
      preset: its name.
      config: of the run.
      folder: of the run.
      resume: whether the run is there, to go on with.
      on_iteration: see `training.lm_run.train_lm`; in the evaluation that follows it
        is called with the last iteration's number, and how many of the matches are
        over: {"evaluated": 64, "matches": 256}.
      log: where rows of metrics go beside metrics.jsonl; see `opened_sinks`.

    Returns:
      The config, with the schedule that the run began with, and with what it left open
      as the run decided it.

    Raises:
      InputError: for what does not fit, before anything is written.
      DivergenceError: if the run diverges.
      KeyboardInterrupt: after an interrupt.
    """
    check_log(log)
    _check_limits(config)
    with kept(user_cache() / PROGRAMS):
        return _train(preset, config, shared_folder(folder), resume, on_iteration, log)


def _train(
    preset: str,
    config: LmConfig,
    folder: Path,
    resume: bool,
    on_iteration: Callable[[int, dict], None],
    log: Sequence[str | Sink],
) -> LmConfig:
    if resume:
        config = resumed(folder, config)
    parts = assemble(config, make_guest(config))
    lm_run.check_processes(parts)
    if not resume and jax.process_index() == 0:
        _tell_fitting(preset, parts)
    with contextlib.ExitStack() as stack:
        in_first(lambda: stack.enter_context(opened(folder, preset, config, resume)))
        if is_finished(folder, config):
            return config
        parts = _journalled(parts, folder, stack)
        if config.speaking.free_tries is None:
            parts = _probed(parts, folder, preset)
            config = parts.config
        heard = log if jax.process_index() == 0 else ()
        sinks = stack.enter_context(opened_sinks(heard, folder, preset, config))
        state, seconds = lm_run.train_lm(folder, parts, on_iteration, sinks)

        def on_matches(done: int, total: int) -> None:
            on_iteration(config.length, {"evaluated": done, "matches": total})

        measures = evaluate_lm(parts, state, on_matches)
        summary = {
            "preset": preset,
            "game": config.game,
            "algorithm": config.algorithm,
            "seed": config.seed,
            "wall_seconds": round(seconds, 2),
            "training": _last(folder),
            "measures": measures,
        }
        if jax.process_index() == 0:
            write_json(folder / SUMMARY, summary)
            _draw_figure(folder, run_title(summary))
    return config


def evaluate_folder(folder: Path, config: LmConfig) -> Measures:
    """What the latest adapter of a run does; see `evaluate_lm`.

    Raises:
      InputError: for a run without a checkpoint.
    """
    with kept(user_cache() / PROGRAMS):
        parts = assemble(config, make_guest(config))
        restored = checkpoint.restore_latest(folder / "checkpoints", parts.template)
        if restored is None:
            raise InputError(f"run is {str(folder)!r}: it has no checkpoint yet")
        return evaluate_lm(parts, restored[1])


def _tell_fitting(preset: str, parts: LmParts) -> None:
    """Logs which settings fit a model that is none for those of a pocket model."""
    if parts.config.model is None or all(preset != pocket for pocket, _ in SIZED):
        return
    decoder = parts.model.sampler.config
    shapes = jax.eval_shape(lambda: init_params(decoder, jax.random.key(0)))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    size = fitting_size(count)
    if size is not None:
        _log.warning(
            "model is %s with %.0f million parameters, and %s has the settings of a "
            "pocket model: --size %s has some that fit",
            *(parts.config.model, count / 1e6, preset, size),
        )


def _check_limits(config: LmConfig) -> None:
    """Raises InputError for limits of endpoints that nothing or nobody would keep."""
    check_endpoints([] if config.guest is None else [config.guest], config.api)
    for name in ("max_requests", "max_total_tokens"):
        limit, count = getattr(config.api, name), jax.process_count()
        if limit is not None and count > 1:
            raise InputError(
                f"api.{name} is {limit}: None is needed with {count} processes, each "
                "of which asks on its own"
            )


def _journalled(parts: LmParts, out: Path, stack: contextlib.ExitStack) -> LmParts:
    """The parts, whose guest at an endpoint has a journal in the run's folder.

    Args:
      parts: of the run.
      out: its folder.
      stack: on which the journal is closed.
    """
    name = parts.config.guest
    if GUEST not in parts.players or name is None or not name.startswith(API):
        return parts

    def open_journal(name: str) -> Journal:
        file = out / journal_file(name, jax.process_index())
        return stack.enter_context(Journal(file))

    guest = make_guest(parts.config, open_journal)(name, parts.game)
    return dataclasses.replace(parts, players={**parts.players, GUEST: guest})


def _probed(parts: LmParts, folder: Path, preset: str) -> LmParts:
    """The parts with the number of free tries that a probe finds, noted in the folder.

    A run that goes on has it in its config.
    """
    found = probe(parts)
    parts = decided(parts, found)

    def note() -> None:
        write_json(folder / "free_answers.json", found._asdict())
        record = {"preset": preset, **parts.config.to_json()}
        write_json(folder / "config.json", record, indent=2)

    in_first(note)
    if jax.process_index() == 0:
        _log.warning("%s", found)
    return parts


def _draw_figure(folder: Path, title: str) -> None:
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.lm_curves import lm_figure

        lm_figure(folder, folder / "figure.png", title)


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
