"""What the processes of a job have of their own, and what they do together.

Each process has rows of its own, such as the games that it plays, and all run the same
programs on one mesh. What differs from process to process must not decide which
program comes next: sizes are agreed on first.
"""

import errno
import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.errors import InputError
from aajax.lm.mesh.sharding import shard_batch
from aajax.lm.model.cache import power_of_two
from aajax.lm.model.constraints import BATCH
from aajax.types import Array, PyTree

T = TypeVar("T")


def processes(mesh: Mesh | None) -> list[int]:
    """Numbers of the processes that have devices of the mesh; without one, this one."""
    if mesh is None:
        return [jax.process_index()]
    return sorted({device.process_index for device in mesh.devices.flat})


@functools.lru_cache(maxsize=64)
def padded_rows(mesh: Mesh | None, batch: int) -> int:
    """Rows of a process, `batch` of them in use: as many on each group of its devices.

    Groups are what data and fsdp split rows over; each has a power of two of them.

    Raises:
      InputError: if processes share rows, as where the tensor axis spans them.
    """
    if mesh is None:
        return power_of_two(batch)
    groups, count = math.prod(mesh.shape[name] for name in BATCH), len(processes(mesh))
    placed = NamedSharding(mesh, P(BATCH)).addressable_devices_indices_map((groups,))
    own = len({at[0].start or 0 for at in placed.values() if at is not None})
    if own * count != groups:
        raise InputError(
            f"mesh is data x fsdp = {groups} over {count} processes: rows of their own "
            "for each process, with the tensor axis inside it, are needed"
        )
    return own * power_of_two(math.ceil(batch / own))


def place_rows(mesh: Mesh | None, rows: PyTree) -> PyTree:
    """Rows of all processes, [n P, ...], of each one's [P, ...]; see `padded_rows`."""
    return rows if mesh is None else shard_batch(mesh, rows)


def own_rows(tree: PyTree) -> PyTree:
    """The rows [P, ...] of this process, as NumPy arrays: undoes `place_rows`."""

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
    """The largest of each number among the processes of the mesh, which all take part.

    Args:
      mesh: may be None, or of one process: numbers stay as they are.
      numbers: of 32 bits, as many in each process.
    """
    if len(processes(mesh)) == 1:
        return [int(number) for number in numbers]
    own = np.tile(np.array(numbers, np.int32), (padded_rows(mesh, 1), 1))
    return [int(x) for x in gathered(place_rows(mesh, own)).max(0)]


def rows_of_all(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """The rows [n B, ...] of all n processes, in their order, of each one's [B, ...].

    All take part, with equal shapes, and get the same NumPy arrays.
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
    """The number of this process's first row, if each process has `batch` of them."""
    return processes(mesh).index(jax.process_index()) * batch


def is_spread(tree: PyTree) -> bool:
    """Whether arrays lie on devices of other processes too."""
    leaves = jax.tree.leaves(tree)
    return not all(getattr(leaf, "is_fully_addressable", True) for leaf in leaves)


def gathered(x: Array) -> np.ndarray:
    """The whole of an array; if others have parts of it, all of them take part."""
    if is_spread(x) and not x.is_fully_replicated:
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))
    return np.asarray(x)


def writer(tree: PyTree) -> Callable[[Callable[[], T]], T | None]:
    """How to call what writes a tree that all processes gather: in the first one only.

    Where no other process has a part of it, this one writes.

    Returns:
      `action -> result`, see `in_first`.
    """
    return in_first if is_spread(tree) else lambda action: action()


def in_first(action: Callable[[], T]) -> T | None:
    """Calls it in process 0 alone, and returns None in the others.

    All wait for process 0 and fail with it: none is left waiting for one that has given
    up.

    Raises:
      OSError, InputError: that of the action; in the others one that says whose it is.
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
