"""Collective operations between the processes of a multi-host job.

Each of the n processes holds its own rows (sequences, such as the games that it plays),
and all run the same compiled programs on one mesh (SPMD). Values that differ between
processes must therefore not decide which program runs next: sizes are agreed on first,
with `largest`.
"""

import errno
import functools
import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.errors import InputError
from aajax.files import PARTIAL
from aajax.lm.mesh.sharding import shard_batch
from aajax.lm.model.cache import few_sizes, power_of_two
from aajax.lm.model.constraints import BATCH
from aajax.types import Array, PyTree

T = TypeVar("T")

LONGEST_PATH = 4096  # bytes, on Linux
PATIENCE = 10.0  # seconds in which a network file system shows a new file to all hosts


def processes(mesh: Mesh | None) -> list[int]:
    """Indices of the processes that own devices of the mesh; this one for None."""
    if mesh is None:
        return [jax.process_index()]
    return sorted({device.process_index for device in mesh.devices.flat})


@functools.lru_cache(maxsize=64)
def padded_rows(mesh: Mesh | None, batch: int) -> int:
    """P, the number of rows to which this process's `batch` rows are padded.

    Rows are sharded over the axes data and fsdp; each of this process's shards has the
    same number of rows: a power of two, or without a mesh one of `few_sizes`.

    Raises:
      InputError: if processes share rows, as when the tensor axis spans processes.
    """
    if mesh is None:
        return few_sizes(batch)
    groups, count = math.prod(mesh.shape[name] for name in BATCH), len(processes(mesh))
    placed = NamedSharding(mesh, P(BATCH)).devices_indices_map((groups,))
    places: dict[int, set[int]] = {process: set() for process in processes(mesh)}
    for device, at in placed.items():
        places[device.process_index].add(at[0].start or 0)
    own = groups // count
    if any(len(found) * count != groups for found in places.values()):
        raise InputError(
            f"mesh is data x fsdp = {groups} over {count} processes: rows of their own "
            "for each process, with the tensor axis inside it, are needed"
        )
    return own * power_of_two(math.ceil(batch / own))


def place_rows(mesh: Mesh | None, rows: PyTree) -> PyTree:
    """A global array [n P, ...], sharded over data and fsdp, from local rows [P, ...].

    Every one of the n processes calls it with its own rows; P is `padded_rows`.
    """
    return rows if mesh is None else shard_batch(mesh, rows)


def own_rows(tree: PyTree) -> PyTree:
    """Inverse of `place_rows`: this process's rows [P, ...] as NumPy arrays."""

    def pieces(x: Array) -> list[Array]:
        if getattr(x, "is_fully_addressable", True):
            return [x]
        # Devices along the tensor axis have the same rows.
        found = {
            piece.index[0].start or 0: piece.data for piece in x.addressable_shards
        }
        return [found[first] for first in sorted(found)]

    # All at once, or each waits for the one before.
    leaves, shape = jax.tree.flatten(tree)
    fetched = jax.device_get([pieces(leaf) for leaf in leaves])
    return shape.unflatten([np.concatenate(parts) for parts in fetched])


def largest(mesh: Mesh | None, *numbers: int) -> list[int]:
    """Maximum of each number over the processes of the mesh (an all-reduce).

    Args:
      mesh: its processes must all call this; with one process, or None, the numbers are
        returned as they are.
      numbers: 32-bit integers, equally many in each process.
    """
    if len(processes(mesh)) == 1:
        return [int(number) for number in numbers]
    own = np.tile(np.array(numbers, np.int32), (padded_rows(mesh, 1), 1))
    return [int(x) for x in gathered(place_rows(mesh, own)).max(0)]


def rows_of_all(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """All-gather: rows [n B, ...] of all n processes, in order, from local [B, ...].

    All processes must call it, with equal shapes; all get the same NumPy arrays.
    """
    tree = jax.tree.map(np.asarray, tree)
    if len(processes(mesh)) == 1:
        return tree

    def gather(x: np.ndarray) -> np.ndarray:
        # As bytes: JAX would shorten numbers of 64 bits.
        pieces = np.frombuffer(x.tobytes(), np.uint8)
        every = multihost_utils.process_allgather(pieces, tiled=True)
        return np.frombuffer(every.tobytes(), x.dtype).reshape(-1, *x.shape[1:])

    return jax.tree.map(gather, tree)


def first_row(mesh: Mesh | None, batch: int) -> int:
    """Global index of this process's first row, if each process has `batch` rows."""
    return processes(mesh).index(jax.process_index()) * batch


def is_spread(tree: PyTree) -> bool:
    """Whether arrays are sharded over devices of several processes."""
    leaves = jax.tree.leaves(tree)
    return not all(getattr(leaf, "is_fully_addressable", True) for leaf in leaves)


def gathered(x: Array) -> np.ndarray:
    """All-gathers an array to NumPy; every process that has a shard must call it."""
    if is_spread(x) and not x.is_fully_replicated:
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))
    return np.asarray(x)


def writer(tree: PyTree) -> Callable[[Callable[[], T]], T | None]:
    """How to run an action that writes `tree`: in process 0 only if it is sharded.

    If no other process has a shard of it, the action runs in this process.

    Returns:
      `action -> result`; see `in_first`.
    """
    return in_first if is_spread(tree) else lambda action: action()


def in_first(action: Callable[[], T]) -> T | None:
    """Runs `action` in process 0 and returns its result there, None in the others.

    All processes wait for process 0, and raise if it raises, so that none is left
    waiting in a later collective.

    Raises:
      OSError, InputError: raised by the action; in other processes one that names
        process 0.
    """
    if jax.process_count() == 1:
        return action()
    result: Any = None
    error = None
    if jax.process_index() == 0:
        try:
            result = action()
        except (OSError, ValueError) as caught:
            error = caught
    code = 0 if error is None else 1 if isinstance(error, OSError) else 2
    code = int(multihost_utils.broadcast_one_to_all(np.int32(code)))
    if error is not None:
        raise error
    if code == 1:
        raise OSError(errno.EIO, "process 0 could not write its files")
    if code == 2:
        raise InputError("process 0 has refused to go on: see what it says")
    return result


def in_any(flag: bool) -> bool:
    """Whether a flag is set in any process; all of them must call this."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def shared_folder(folder: Path) -> Path:
    """The folder in which all processes of a job keep a run.

    It is that of process 0, wherever the others were started. With one process it is
    returned as it is.

    Raises:
      InputError: in all processes, if one does not see what process 0 writes there.
      OSError: if process 0 cannot write there.
    """
    if jax.process_count() == 1:
        return folder
    mark = PARTIAL + secrets.token_hex(8)
    found = Path(_of_first(str(folder.absolute() / mark)))
    made: list[Path] = []

    def write() -> None:
        places = found.parents
        made.extend(place for place in places if not place.exists())
        found.parent.mkdir(parents=True, exist_ok=True)
        found.touch()

    def remove() -> None:
        found.unlink()
        for place in made:
            place.rmdir()

    in_first(write)
    sees = np.asarray(multihost_utils.process_allgather(np.array(_appears(found))))
    in_first(remove)
    if not sees.all():
        raise InputError(
            f"out is {str(found.parent)!r}: a folder that all {len(sees)} processes "
            f"share is needed, and process {int(sees.argmin())} does not see what "
            "process 0 writes there"
        )
    return found.parent


def _appears(path: Path) -> bool:
    """Whether a file is there, or comes to be within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def _of_first(text: str) -> str:
    """The text that process 0 has, in all processes."""
    numbers = np.zeros(LONGEST_PATH, np.uint8)
    own = np.frombuffer(text.encode(), np.uint8)[:LONGEST_PATH]
    numbers[: len(own)] = own
    found = np.asarray(multihost_utils.broadcast_one_to_all(numbers))
    return found.astype(np.uint8).tobytes().rstrip(b"\0").decode()
