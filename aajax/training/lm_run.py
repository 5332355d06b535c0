"""A language model's training run in a folder.

config.json                 what was asked for
free_answers.json           how many free answers a probe found valid, if there was one
metrics.jsonl               one row per iteration
matches/iteration_N.jsonl.gz   what was said, some iterations; in matches of process
                               p > 0, where there are several, iteration_N_p.jsonl.gz
past/N/                     earlier adapters, as PEFT folders
checkpoints/                the two latest states, by orbax
adapter/                    the latest adapter, as a PEFT folder
model/                      the tokenizer, by which the matches can be read

Of a population metrics.jsonl has lists over settings of lists over seeds, matches say
whose they are, and past/ and adapter/ are in a folder of each member:

members/NAME/config.json    of a run of this member alone, as which the folder can play
members/NAME/adapter/       and so on, but for matches and checkpoints
diverged.json               members that diverged, if any did

Several processes share the folder, and all but matches are written once.
"""

import functools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from aajax.dialogue.play.matches import Match, save_matches
from aajax.errors import DivergenceError, InputError
from aajax.files import os_error, written_folder
from aajax.interrupts import interruptible
from aajax.lm.checkpoints.peft_folder import load_peft, save_peft
from aajax.lm.mesh.hosts import in_first, largest
from aajax.lm.model.decoder import Adapters
from aajax.training import checkpoint, divergence, metrics
from aajax.training.divergence import not_finite
from aajax.training.lm_assemble import LmState
from aajax.training.lm_past import check_kept, kept_numbers, past_folder
from aajax.training.lm_population import Population
from aajax.training.memory import give_back
from aajax.training.run import note_length
from aajax.types import PyTree

_log = logging.getLogger(__name__)

OnIteration = Callable[[int, dict], None]
States = list[LmState]


def train_lm(
    folder: Path,
    population: Population,
    on_iteration: OnIteration = lambda done, row: None,
    sinks: Sequence[metrics.Sink] = (),
) -> tuple[States, float]:
    """Trains on from the latest checkpoint in the folder.

    An interrupted run resumes with the same numbers as an uninterrupted one: all
    that is random follows from the seeds and the number of the iteration. An interrupt
    (SIGINT, SIGTERM) saves first; a second one stops at once. On a mesh over several
    processes all of them call this, and an interrupt of one stops all.

    A member of a population that diverges is noted, and neither plays nor learns any
    more; its state becomes that of the checkpoint before, and its metrics are null from
    there on. All others go on as if nothing had happened.

    Args:
      folder: opened by `open_folder`, in one process.
      population: whose members are trained, one or more.
      on_iteration: called with the iterations made so far and the last row of metrics,
        means over the members that have not diverged.
      sinks: that get every row of metrics beside metrics.jsonl, in the first process.

    Returns:
      The final state of each member, and the seconds that all of it took.

    Raises:
      InputError: if there are several processes, and no mesh over them.
      DivergenceError: if a metric or a number of the state is no longer finite, of all
        members; the latest checkpoint is from before, and the row of metrics is
        written.
      KeyboardInterrupt: after an interrupt.
      OSError: if the folder cannot be written.
    """
    began, config, members = time.monotonic(), population.config, population.members
    check_processes(population)
    log, saves = folder / "metrics.jsonl", folder / "checkpoints"
    done, states = population.restored(saves, _fault) or (0, population.init())
    saved, lost = done, divergence.noted(folder, done, config.lanes)
    in_first(lambda: divergence.note(folder, lost))
    rows = in_first(lambda: metrics.drop_rows_after(log, done))
    began -= rows[-1].get("seconds", 0.0) if rows else 0.0
    folders = [population.folder(folder, m) for m in range(len(members))]
    for place, parts in zip(folders, members, strict=True):
        check_kept(parts.config, place, done)
    in_first(lambda: note_length(folder, config))
    stacks = population.stacks(states)
    load = functools.partial(_load_past, folders, population)
    in_first(lambda: _prepare(folder, population))
    with interruptible() as interrupted:
        while done < config.num_iterations:
            without = [population.number(lane) for lane in lost]
            states, stacks, matches, numbers = population.iterate(
                states, stacks, done, load, without
            )
            if done % config.matches_every == 0 or done == config.num_iterations - 1:
                _save_matches(folder / "matches", done, sum(matches, []))
            done += 1
            row = {"update": done, "seconds": round(time.monotonic() - began, 3)}
            row |= population.row(numbers)
            if jax.process_index() == 0:
                metrics.append_rows(log, [row])
                metrics.send([row], sinks)
            new = _diverged(population, numbers, states, done, lost)
            if new:
                lost |= new
                _note(folder, population, lost, new, saved)
                states = population.set_back(states, new, saves)
            for m, parts in enumerate(members):
                if done in kept_numbers(parts.config, done):
                    place = past_folder(folders[m], done)
                    _save_adapter(place, population, states[m])
            on_iteration(done, population.means(numbers))
            # Asked once: whoever comes later is heard after the next iteration.
            (stops,) = largest(population.mesh, interrupted())
            last = done == config.num_iterations
            if done % config.save_every == 0 or last or stops:
                checkpoint.save(saves, done, population.saved(states))
                saved = done
                give_back()
            if stops and not last:
                raise KeyboardInterrupt
    for place, state in zip(folders, states, strict=True):
        _save_adapter(place / "adapter", population, state)
    return states, time.monotonic() - began


def check_processes(population: Population) -> None:
    """Raises InputError if there are several processes, and no mesh over them."""
    if population.mesh is None and jax.process_count() > 1:
        raise InputError(
            f"mesh is data 1 x fsdp 1 x tensor 1: a product of {jax.device_count()}, "
            f"the devices of all {jax.process_count()} processes, is needed"
        )


def _fault(states: PyTree) -> str | None:
    """Why states are not gone on from."""
    return next((f"{name} is not finite" for name in not_finite(states)), None)


def _diverged(
    population: Population,
    numbers: Sequence[Mapping[str, float | None]],
    states: States,
    done: int,
    lost: divergence.Lost,
) -> divergence.Lost:
    """Members that have diverged in iteration `done`, but for those that had before."""
    found: divergence.Lost = {}
    for m, (own, state) in enumerate(zip(numbers, states, strict=True)):
        lane = population.lane(m)
        if lane in lost:
            continue
        odd = [
            (name, str(x))
            for name, x in own.items()
            if x is not None and not math.isfinite(x)
        ]
        odd += [(name, "not finite") for name in not_finite(state)]
        if odd:
            config = population.configs[m]
            setting = population.config.settings[lane[0]]
            quantity, value = odd[0]
            found[lane] = divergence.Divergence(
                config.seed, setting, done, quantity, value, "iteration"
            )
    return found


def _note(
    folder: Path,
    population: Population,
    lost: divergence.Lost,
    new: divergence.Lost,
    saved: int,
) -> None:
    """Notes who is lost; raises DivergenceError if nobody is left."""
    in_first(lambda: divergence.note(folder, lost))
    if len(lost) == len(population.members):
        kept = f"the state after iteration {saved} is kept in {folder / 'checkpoints'}/"
        kept = kept if saved else "there was no checkpoint before"
        found = divergence.listed(lost)
        raise DivergenceError(f"{found}; {kept}")
    for found in new.values():
        _log.warning("%s; all others go on", found)


def _save_adapter(folder: Path, population: Population, state: LmState) -> None:
    decoder, lora = population.decoder, population.config.lora_config
    name = str(population.config.model or "pocket")
    learner = Adapters(state.policy.weights, population.members[0].scale)
    save_peft(folder, decoder, lora, learner, name)


def _load_past(
    folders: Sequence[Path], population: Population, member: int, number: int
) -> Adapters:
    return load_peft(past_folder(folders[member], number), population.decoder)[1]


def _prepare(folder: Path, population: Population) -> None:
    (folder / "matches").mkdir(exist_ok=True)
    with written_folder(folder / "model") as made:
        try:
            population.model.template.tokens.tokenizer.save_pretrained(made)
        except Exception as error:
            if type(error) is not Exception:
                raise
            # As which the tokenizers library raises what the system refuses.
            raise os_error(error, folder / "model") from error


def _save_matches(folder: Path, number: int, matches: list[Match]) -> None:
    """Those of this process; the first one has the name that a lone one has."""
    process, name = jax.process_index(), f"iteration_{number:06d}"
    if process > 0:
        save_matches(folder / f"{name}_{process}.jsonl.gz", matches)
        return
    save_matches(folder / f"{name}.jsonl.gz", matches)
    # Of an earlier attempt at this iteration, by more processes.
    for file in folder.glob(f"{name}_*.jsonl.gz"):
        writer = int(file.name.removesuffix(".jsonl.gz").rpartition("_")[2])
        if writer >= jax.process_count():
            file.unlink()
