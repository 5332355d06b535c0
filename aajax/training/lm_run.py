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

Several processes share the folder, and all but matches are written once.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from aajax.dialogue.play.matches import Match, save_matches
from aajax.errors import DivergenceError, InputError
from aajax.files import os_error, written_folder
from aajax.lm.checkpoints.peft_folder import load_peft, save_peft
from aajax.lm.mesh.hosts import in_first, largest
from aajax.lm.model.decoder import Adapters
from aajax.training import checkpoint, metrics
from aajax.training.divergence import not_finite
from aajax.training.lm_assemble import LmParts, LmState
from aajax.training.lm_iteration import iterate
from aajax.training.lm_past import check_kept, kept_numbers, make_stack, past_folder
from aajax.training.run import interruptible

OnIteration = Callable[[int, dict], None]


def train_lm(
    folder: Path,
    parts: LmParts,
    on_iteration: OnIteration = lambda done, row: None,
    sinks: Sequence[metrics.Sink] = (),
) -> tuple[LmState, float]:
    """Trains on from the latest checkpoint in the folder.

    An interrupted run resumes with the same numbers as an uninterrupted one: all
    that is random follows from the seed and the number of the iteration. An interrupt
    (SIGINT, SIGTERM) saves first; a second one stops at once. On a mesh over several
    processes all of them call this, and an interrupt of one stops all.

    Args:
      folder: opened by `open_folder`, in one process.
      parts: of the run.
      on_iteration: called with the iterations made so far and the last row of metrics.
      sinks: that get every row of metrics beside metrics.jsonl, in the first process.

    Returns:
      The final state, and the seconds that all of it took.

    Raises:
      InputError: if there are several processes, and no mesh over them.
      DivergenceError: if a metric or a number of the state is no longer finite; the
        latest checkpoint is from before, and the row of metrics is written.
      KeyboardInterrupt: after an interrupt.
      OSError: if the folder cannot be written.
    """
    began, config = time.monotonic(), parts.config
    check_processes(parts)
    log, saves = folder / "metrics.jsonl", folder / "checkpoints"
    restored = checkpoint.restore_latest(saves, parts.template, _fault)
    done, state = restored or (0, parts.init(jax.random.key(config.seed)))
    saved = done
    rows = in_first(lambda: metrics.drop_rows_after(log, done))
    began -= rows[-1].get("seconds", 0.0) if rows else 0.0
    check_kept(config, folder, done)
    stack = make_stack(config, _learner(parts, state), parts.mesh)
    load = functools.partial(_load_past, folder, parts)
    in_first(lambda: _prepare(folder, parts))
    with interruptible() as interrupted:
        while done < config.num_iterations:
            state, stack, matches, numbers = iterate(parts, state, stack, done, load)
            if done % config.matches_every == 0 or done == config.num_iterations - 1:
                _save_matches(folder / "matches", done, matches)
            done += 1
            row = {"update": done, "seconds": round(time.monotonic() - began, 3)}
            if jax.process_index() == 0:
                metrics.append_rows(log, [row | numbers])
                metrics.send([row | numbers], sinks)
            _check_finite(folder, parts, numbers, state, done, saved)
            if done in kept_numbers(config, done):
                _save_adapter(past_folder(folder, done), parts, state)
            on_iteration(done, numbers)
            # Asked once: whoever comes later is heard after the next iteration.
            (stops,) = largest(parts.mesh, interrupted())
            last = done == config.num_iterations
            if done % config.save_every == 0 or last or stops:
                checkpoint.save(saves, done, state)
                saved = done
            if stops and not last:
                raise KeyboardInterrupt
    _save_adapter(folder / "adapter", parts, state)
    return state, time.monotonic() - began


def check_processes(parts: LmParts) -> None:
    """Raises InputError if there are several processes, and no mesh over them."""
    if parts.mesh is None and jax.process_count() > 1:
        raise InputError(
            f"mesh is data 1 x fsdp 1 x tensor 1: a product of {jax.device_count()}, "
            f"the devices of all {jax.process_count()} processes, is needed"
        )


def _fault(state: LmState) -> str | None:
    """Why a state is not gone on from."""
    return next((f"{name} is not finite" for name in not_finite(state)), None)


def _check_finite(
    folder: Path,
    parts: LmParts,
    numbers: Mapping[str, float | None],
    state: LmState,
    done: int,
    saved: int,
) -> None:
    """Raises DivergenceError, naming what is not finite after iteration `done`."""
    odd = [
        f"{name} is {x}"
        for name, x in numbers.items()
        if x is not None and not math.isfinite(x)
    ]
    odd += filter(None, [_fault(state)])
    if not odd:
        return
    kept = f"the state after iteration {saved} is kept in {folder / 'checkpoints'}/"
    raise DivergenceError(
        f"seed {parts.config.seed} diverged at iteration {done}: {odd[0]}; "
        f"{kept if saved else 'there was no checkpoint before'}"
    )


def _learner(parts: LmParts, state: LmState) -> Adapters:
    return Adapters(state.policy.weights, parts.scale)


def _save_adapter(folder: Path, parts: LmParts, state: LmState) -> None:
    decoder, lora = parts.model.sampler.config, parts.config.lora_config
    name = str(parts.config.model or "pocket")
    save_peft(folder, decoder, lora, _learner(parts, state), name)


def _load_past(folder: Path, parts: LmParts, number: int) -> Adapters:
    return load_peft(past_folder(folder, number), parts.model.sampler.config)[1]


def _prepare(folder: Path, parts: LmParts) -> None:
    (folder / "matches").mkdir(exist_ok=True)
    with written_folder(folder / "model") as made:
        try:
            parts.model.template.tokens.tokenizer.save_pretrained(made)
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
