"""Checkpoints of a training state by orbax, with checksums.

Orbax writes atomically: to a temporary folder that is renamed when it is complete.
Later damage (a truncated or missing file, a flipped bit) is detected by the SHA-256 of
each file, stored beside them, since reading alone would not notice all of it.
"""

import contextlib
import hashlib
import inspect
import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from aajax.errors import InputError
from aajax.files import os_error, write_json
from aajax.lm.mesh.hosts import in_first, is_spread
from aajax.records import read_object
from aajax.types import PyTree

DIGESTS = "digests.json"  # in the folder of a checkpoint
NUM_KEPT = 2

# What is logged of an error that is raised, by logger.
_ECHOES = {
    "absl": r"_SignalingThread\.run\(\) raised an exception",
    "asyncio": r"exception was never retrieved.*(tensorstore|orbax)",
}

_log = logging.getLogger(__name__)


def save(folder: Path, step: int, state: PyTree) -> None:
    """Saves `state` under `folder/step` and keeps the two latest.

    Checkpoints of this or later steps are replaced: they are damaged or incomplete.

    Raises:
      OSError: if it cannot be written; earlier checkpoints stay.
    """
    place = folder / str(step)
    in_first(lambda: _make_room(folder, step))
    try:
        with _without_echoes(), _manager(folder) as manager:
            state = ocp.args.StandardSave(_without_keys(state))
            manager.save(step, args=state, force=True)
    except (OSError, RuntimeError, ValueError) as error:
        # Tensorstore reports a full disk as a ValueError.
        with contextlib.suppress(OSError):
            if jax.process_index() == 0:
                _make_room(folder, step)
        raise os_error(error, place) from error
    in_first(lambda: write_json(place / DIGESTS, _digests(place)))


def restore_latest(
    folder: Path,
    like: PyTree,
    fault: Callable[[PyTree], str | None] = lambda state: None,
) -> tuple[int, PyTree] | None:
    """The latest intact checkpoint as `(step, state)`; None if there are none.

    A line is logged for each damaged one that is skipped.

    Args:
      folder: of the checkpoints.
      like: a state of the same structure, or its `jax.eval_shape`; arrays that are
        sharded in it are restored with that sharding, and those of NumPy, or all others
        with several processes, as NumPy arrays.
      fault: further check, `state -> message`, None if the state is valid.

    Raises:
      InputError: if there are checkpoints but none is intact.
    """
    damaged = {}
    for step in _steps(folder):
        place = folder / str(step)
        state, reason = _restore(place, like)
        reason = reason or fault(state)
        if reason is None:
            _tell(damaged, place)
            return step, state
        damaged[place] = reason
    if damaged:
        reasons = "; ".join(f"{place}: {reason}" for place, reason in damaged.items())
        raise InputError(
            f"checkpoints is {str(folder)!r}: a whole checkpoint is needed, and there "
            f"is none ({reasons})"
        )
    return None


def latest_step(folder: Path) -> int:
    """The step of the latest checkpoint; 0 without one."""
    return max(_steps(folder), default=0)


def _restore(place: Path, like: PyTree) -> tuple[PyTree | None, str | None]:
    """The state of a checkpoint, or why it cannot be had."""
    is_first = jax.process_index() == 0
    reason = _agreed(_damage(place) if is_first else None)
    if reason is not None:
        return None, reason
    template = ocp.args.StandardRestore(jax.tree.map(_shape, like))
    state = None
    try:
        with (
            _without_echoes(),
            ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader,
        ):
            state = reader.restore((place / "default").absolute(), args=template)
    except Exception as error:  # of many kinds, and some plain ones
        reason = _reason(error)
    reason = _agreed(reason)
    return (None if reason else _with_keys(state, like)), reason


def _agreed(reason: str | None) -> str | None:
    """The reason of this process, or that there is one in another."""
    if jax.process_count() == 1:
        return reason
    found = multihost_utils.process_allgather(np.array(reason is not None))
    return reason or ("another process cannot read it" if found.any() else None)


def _tell(damaged: Mapping[Path, str], used: Path) -> None:
    if jax.process_index() == 0:
        for place, reason in damaged.items():
            _log.warning(
                "checkpoint is %s: it is damaged (%s); %s is used", place, reason, used
            )


def _reason(error: Exception) -> str:
    """In few words; what orbax and tensorstore say fills pages."""
    text = str(error)
    others = (
        "compatible with the stored shape",
        "tree structure",
        "Structure mismatch",
    )
    if any(words in text for words in others):
        return "it holds another state than this run has"
    return f"it cannot be read: {type(error).__name__}"


def _damage(place: Path) -> str | None:
    """What is wrong with the files of a checkpoint, as far as one can tell."""
    if not _is_complete(place):
        return "it is not complete"
    if not (place / DIGESTS).exists():  # of an older run
        return None
    try:
        noted, found = read_object(place / DIGESTS), _digests(place)
    except InputError:
        return f"{DIGESTS} is cut or changed"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    for name, digest in noted.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != digest:
            return f"{name} is cut or changed"
    return None


def _is_complete(place: Path) -> bool:
    """Whether orbax finished the folder: it writes the step's metadata last."""
    return (place / "_CHECKPOINT_METADATA").is_file()


def _digests(place: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by its path in there."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name != DIGESTS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(place).as_posix()] = digest
    return found


def _steps(folder: Path) -> list[int]:
    """Steps of which there is anything, the latest first."""
    if not folder.is_dir():
        return []
    names = [entry.name for entry in folder.iterdir()]
    return sorted((int(name) for name in names if _is_step(name)), reverse=True)


def _is_step(name: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]*", name) is not None


def _make_room(folder: Path, step: int) -> None:
    """Removes this step, later ones, and what is not complete."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        number, _, _ = entry.name.partition(".orbax-checkpoint-tmp")
        if not _is_step(number):
            continue
        is_kept = entry.name == number and int(number) < step and _is_complete(entry)
        if not is_kept:
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=NUM_KEPT, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)


@contextlib.contextmanager
def _without_echoes() -> Iterator[None]:
    """Keeps back what orbax tells of work that it gave up because of an error.

    The error itself is raised; its threads log it, too. Of what was still under way
    threads of tensorstore report each end to an event loop that is closed by then, and
    coroutines are dropped with errors of their own. All of this may come after the
    block has ended, so that it is kept back from then on.
    """
    shown = sys.unraisablehook

    def hook(report) -> None:
        if not _is_echo(report):
            shown(report)

    sys.unraisablehook = hook
    for name in _ECHOES:
        logging.getLogger(name).addFilter(_is_news)
    yield
    sys.unraisablehook = shown
    for name in _ECHOES:
        logging.getLogger(name).removeFilter(_is_news)


def _is_echo(report) -> bool:
    if inspect.iscoroutine(report.object):
        return re.search(r"\borbax\b", report.object.cr_code.co_filename) is not None
    return report.object is None and str(report.exc_value) == "Event loop is closed"


def _is_news(record: logging.LogRecord) -> bool:
    return re.search(_ECHOES[record.name], record.getMessage(), re.DOTALL) is None


def _is_key(x) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _without_keys(state: PyTree) -> PyTree:
    def plain(x):
        x = jax.random.key_data(x) if _is_key(x) else x
        # Of several processes one writes what all have; orbax needs to be told so.
        return x if is_spread(x) or jax.process_count() == 1 else np.asarray(x)

    return jax.tree.map(plain, state)


def _shape(x) -> jax.ShapeDtypeStruct | np.ndarray:
    if _is_key(x):
        x = jax.eval_shape(jax.random.key_data, x)
    sharding = getattr(x, "sharding", None)
    if sharding is not None and sharding.num_devices == 1:
        sharding = None
    on_host = isinstance(x, np.ndarray) or jax.process_count() > 1
    if sharding is None and on_host:
        return np.broadcast_to(np.zeros((), x.dtype), x.shape)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _with_keys(state: PyTree, like: PyTree) -> PyTree:
    def restore(x, original):
        return jax.random.wrap_key_data(x) if _is_key(original) else x

    return jax.tree.map(restore, state, like)
