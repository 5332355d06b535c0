"""Training of language models by the names of presets, in folders."""

import contextlib
import dataclasses
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from aajax.api.sinks import check_log, opened_sinks
from aajax.api.text_players import API, check_endpoints, journal_file, make_guest
from aajax.dialogue.endpoints.journal import Journal
from aajax.dialogue.play.seating import GUEST
from aajax.dialogue.pocket import PROGRAMS, user_cache
from aajax.errors import InputError
from aajax.files import write_json
from aajax.lm.ahead import Sizes, used
from aajax.lm.checkpoints.peft_folder import load_peft
from aajax.lm.compilation import kept
from aajax.lm.mesh.hosts import in_first, shared_folder
from aajax.lm.mesh.sharding import shard
from aajax.lm.model.decoder import init_params
from aajax.lm.text.chat_templates import read_chat_template
from aajax.training import divergence, lm_run
from aajax.training.lm_assemble import LmParts, LmState
from aajax.training.lm_config import LmConfig, member_names
from aajax.training.lm_evaluation import ITSELF, evaluate_lm
from aajax.training.lm_population import Population, assemble_population
from aajax.training.lm_presets import SIZED, fitting_size
from aajax.training.lm_probe import decided, probe
from aajax.training.metrics import Sink, read_rows, write_rows
from aajax.training.run import SUMMARY, check_folder, is_finished, opened, resumed

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
    programs: Path | None = None,
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
      programs: file of programs that were compiled for it; see `load_programs`.

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
    with contextlib.ExitStack() as stack:
        sizes = None
        if programs is not None:
            # Of what only large models need.
            from aajax.api.dry_runs import load_programs

            saved = load_programs(programs, config)
            stack.enter_context(used(saved.programs))
            sizes = saved.sizes
        stack.enter_context(kept(user_cache() / PROGRAMS))
        folder = shared_folder(folder)
        return _train(preset, config, folder, resume, on_iteration, log, sizes)


def _train(
    preset: str,
    config: LmConfig,
    folder: Path,
    resume: bool,
    on_iteration: Callable[[int, dict], None],
    log: Sequence[str | Sink],
    sizes: Sizes | None,
) -> LmConfig:
    # Before a model is read, or trained.
    in_first(lambda: check_folder(folder, preset, config, resume))
    if config.chat_template is not None:
        read_chat_template(config.chat_template)
    if resume:
        config = resumed(folder, config)
    population = assemble_population(config, make_guest(config), sizes)
    lm_run.check_processes(population)
    if not resume and jax.process_index() == 0:
        _tell_fitting(preset, population)
    with contextlib.ExitStack() as stack:
        in_first(lambda: stack.enter_context(opened(folder, preset, config, resume)))
        if is_finished(folder, config):
            return config
        population = _journalled(population, folder, stack)
        if config.speaking.free_tries is None:
            population = _probed(population, folder, preset)
            config = population.config
        heard = log if jax.process_index() == 0 else ()
        sinks = stack.enter_context(opened_sinks(heard, folder, preset, config))
        states, seconds = lm_run.train_lm(folder, population, on_iteration, sinks)

        def on_matches(done: int, total: int) -> None:
            on_iteration(config.length, {"evaluated": done, "matches": total})

        lost = divergence.noted(folder, lanes=config.lanes)
        measures = _evaluated(population, states, lost, on_matches)
        if jax.process_index() == 0:
            seconds = round(seconds, 2)
            _finish(folder, preset, population, measures, lost, seconds)
    return config


def _evaluated(
    population: Population,
    states: Sequence[LmState],
    lost: Mapping[divergence.Lane, divergence.Divergence] = MappingProxyType({}),
    on_matches: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measures]:
    """What each member does; see `evaluate_lm`. Nothing, for those that are lost."""
    found: list[Measures] = []
    there = [m for m in range(len(states)) if population.lane(m) not in lost]
    for m, (parts, state) in enumerate(zip(population.members, states, strict=True)):
        if m not in there:
            found.append({})
            continue

        def told(done: int, total: int, before: int = there.index(m)) -> None:
            on_matches(before * total + done, len(there) * total)

        found.append(evaluate_lm(parts, state, told))
    return found


def _finish(
    folder: Path,
    preset: str,
    population: Population,
    measures: Sequence[Measures],
    lost: divergence.Lost,
    seconds: float,
) -> None:
    """Writes the summary and the figure, and of a population what each member was."""
    config, rows = population.config, read_rows(folder / "metrics.jsonl")
    lanes = map(population.lane, range(len(population.members)))
    training = [_last(rows, x if config.is_population else None) for x in lanes]
    shared = {"preset": preset, "game": config.game}
    members = [
        {
            **shared,
            "algorithm": own.algorithm,
            "seed": own.seed,
            "wall_seconds": seconds,
            "training": training[m],
            "measures": measures[m],
        }
        for m, own in enumerate(population.configs)
    ]
    if not config.is_population:
        (summary,) = members
    else:
        for m, own in enumerate(population.configs):
            place, lane = population.folder(folder, m), population.lane(m)
            record = {"preset": preset, **own.to_json()}
            write_json(place / "config.json", record, indent=2)
            write_rows(place / "metrics.jsonl", [_row_of(row, lane) for row in rows])
            divergence.note(place, {(0, 0): lost[lane]} if lane in lost else {})
            write_json(place / SUMMARY, members[m])
        summary = {
            **shared,
            "algorithm": config.algorithm,
            "seeds": config.seed_list,
            "wall_seconds": seconds,
            "per": "round",  # what rewards are of
            "settings": _settings(population, measures),
        }
        if lost:
            summary["diverged"] = [found._asdict() for found in lost.values()]
    write_json(folder / SUMMARY, summary)
    _draw_figure(folder, summary)


def _settings(
    population: Population, measures: Sequence[Measures]
) -> list[dict[str, Any]]:
    """What members are worth, by setting, as summaries of small policies have it.

    Every number is a list over seeds, None of those that diverged. All settings have
    the same names, whoever of them diverged. `mean_reward` and `measures` are of
    self-play, `league` has the rewards against others, and `against` all that was
    measured there.
    """
    found = []
    opposite = _names_in(measures)
    measured = {who: _names_in([x.get(who, {}) for x in measures]) for who in opposite}
    names = population.table(member_names(population.config))
    by_setting = zip(
        population.config.settings, names, population.table(measures), strict=True
    )
    for setting, members, own in by_setting:
        against = {
            who: {name: [x.get(who, {}).get(name) for x in own] for name in every}
            for who, every in measured.items()
        }
        itself = against.pop(ITSELF, {"reward": [None] * len(own)})
        found.append(
            {
                "hyperparameters": setting,
                "members": members,
                "mean_reward": itself.pop("reward"),
                "measures": itself,
                "league": {who: x.pop("reward") for who, x in against.items()},
                "against": against,
            }
        )
    return found


def _names_in(each: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of all, those of the first that has any at the beginning."""
    return list(dict.fromkeys(name for own in each for name in own))


def evaluate_folder(folder: Path, config: LmConfig) -> Measures | list[dict[str, Any]]:
    """What the latest adapter of a run does; see `evaluate_lm`.

    Of a run without checkpoints, such as a member of a population, it is the one in
    adapter/.

    Returns:
      Measures by who sits opposite; of a population a record for each setting, with
      lists over seeds, None for those that diverged.

    Raises:
      InputError: for a run without a checkpoint.
    """
    with kept(user_cache() / PROGRAMS):
        population = assemble_population(config, make_guest(config))
        restored = population.restored(folder / "checkpoints")
        lost = divergence.noted(folder, lanes=config.lanes)
        if restored is not None:
            done, states = restored
            lost = {lane: x for lane, x in lost.items() if x.update <= done}
        elif (folder / "adapter").exists() and not config.is_population:
            states = [_state_of(population.members[0], folder / "adapter")]
        else:
            reason = f"; {divergence.listed(lost)}" if lost else " yet"
            raise InputError(f"run is {str(folder)!r}: it has no checkpoint{reason}")
        found = _evaluated(population, states, lost)
    if not config.is_population:
        return found[0]
    return _settings(population, found)


def _state_of(parts: LmParts, folder: Path) -> LmState:
    """A state that plays with the adapter in a PEFT folder."""
    adapter = load_peft(folder, parts.model.sampler.config)[1]
    if parts.mesh is not None:
        adapter = shard(adapter, parts.mesh)
    state = parts.init(jax.random.key(parts.config.seed))
    return state._replace(policy=state.policy._replace(weights=adapter.weights))


def _tell_fitting(preset: str, population: Population) -> None:
    """Logs which settings fit a model that is none for those of a pocket model."""
    model = population.config.model
    if model is None or all(preset != pocket for pocket, _ in SIZED):
        return
    decoder = population.decoder
    shapes = jax.eval_shape(lambda: init_params(decoder, jax.random.key(0)))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    size = fitting_size(count)
    if size is not None:
        _log.warning(
            "model is %s with %.0f million parameters, and %s has the settings of a "
            "pocket model: --size %s has some that fit",
            *(model, count / 1e6, preset, size),
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


def _journalled(
    population: Population, out: Path, stack: contextlib.ExitStack
) -> Population:
    """The run, whose guest at an endpoint has a journal in its folder.

    Args:
      population: of one member where there is such a guest.
      out: the run's folder.
      stack: on which the journal is closed.
    """
    parts, *_ = population.members
    name = parts.config.guest
    if GUEST not in parts.players or name is None or not name.startswith(API):
        return population

    def open_journal(name: str) -> Journal:
        file = out / journal_file(name, jax.process_index())
        return stack.enter_context(Journal(file))

    guest = make_guest(parts.config, open_journal)(name, parts.game)
    parts = dataclasses.replace(parts, players={**parts.players, GUEST: guest})
    return dataclasses.replace(population, members=(parts,))


def _probed(population: Population, folder: Path, preset: str) -> Population:
    """The run with the number of free tries that a probe finds, noted in the folder.

    A run that goes on has it in its config.
    """
    found = probe(population.members[0])
    speaking = dataclasses.replace(
        population.config.speaking, free_tries=found.free_tries
    )
    config = dataclasses.replace(population.config, speaking=speaking)
    members = tuple(decided(parts, found) for parts in population.members)

    def note() -> None:
        write_json(folder / "free_answers.json", found._asdict())
        record = {"preset": preset, **config.to_json()}
        write_json(folder / "config.json", record, indent=2)

    in_first(note)
    if jax.process_index() == 0:
        _log.warning("%s", found)
    return dataclasses.replace(population, config=config, members=members)


def _draw_figure(folder: Path, summary: dict[str, Any]) -> None:
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.lm_curves import run_figure

        run_figure(folder, folder / "figure.png", summary)


def _row_of(row: Mapping[str, Any], lane: divergence.Lane) -> dict[str, Any]:
    """What a row of a population's metrics says of a member."""
    setting, seed = lane
    return {
        name: x[setting][seed] if isinstance(x, list) else x for name, x in row.items()
    }


def _last(
    rows: Sequence[Mapping[str, Any]], lane: divergence.Lane | None = None
) -> dict[str, float]:
    """Means over the last iterations, each over those in which there is a number.

    Args:
      rows: of metrics.
      lane: of a member of a population; None for a run that is none.
    """
    rows = rows[-max(1, round(LAST * len(rows))) :]
    if lane is not None:
        rows = [_row_of(row, lane) for row in rows]
    found: dict[str, list[float]] = {}
    for row in rows:
        for name in row.keys() - {"update", "seconds"}:
            x = row[name]
            if x is not None:
                found.setdefault(name, []).append(x)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean(found[name])) for name in names if name in found}
