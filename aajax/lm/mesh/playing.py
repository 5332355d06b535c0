"""Where a model lies while it plays: on data × tensor, whatever it trains on.

Training splits weights over fsdp and gathers them layer by layer, once for thousands of
tokens. Sampling would gather them for every token; it has copies of the weights on each
group of tensor devices instead, made once for all the matches of an iteration.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh

from aajax.errors import InputError
from aajax.lm.mesh.sharding import (
    cache_shardings,
    check_divides,
    param_shardings,
    process_blocks,
    shard,
)
from aajax.lm.model.cache import init_cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES
from aajax.lm.model.decoder import init_params
from aajax.types import PyTree

SHARE = 0.4  # of a device's memory that a copy of the weights may take
ROOM = 0.85  # of it that they may take together with the longest cache


class Longest(NamedTuple):
    """Dialogues that are played at once, as long as they may be.

    Attributes:
      rows: sequences.
      slots: of the cache, tokens of each.
    """

    rows: int
    slots: int


def check_divides_devices(tensor: int, num_devices: int) -> None:
    """Raises InputError if so many devices cannot share weights while they play."""
    if num_devices % tensor:
        raise InputError(
            f"play_tensor is {tensor}: a divisor of {num_devices}, the number of "
            "devices, is needed"
        )


def playing_mesh(mesh: Mesh, tensor: int) -> Mesh:
    """The mesh's devices as data × tensor, the mesh itself if that is what it is.

    Raises:
      InputError: if tensor does not divide the number of devices.
    """
    if mesh.shape["fsdp"] == 1 and mesh.shape["tensor"] == tensor:
        return mesh
    check_divides_devices(tensor, mesh.size)
    devices = process_blocks(mesh.devices.reshape(-1, 1, tensor))
    return Mesh(devices, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def playing_tensor(
    mesh: Mesh,
    config: DecoderConfig,
    dtype: jnp.dtype,
    memory: float | None,
    longest: Longest | None = None,
) -> int:
    """How many devices share a copy of the weights: as few as have room for it.

    Those that share it in training, or a multiple, within one process.

    Args:
      mesh: of training.
      config: of the decoder.
      dtype: of its weights.
      memory: bytes of a device; None if they are unknown.
      longest: for whose cache there is room too, if any number of devices has it.
    """
    least = mesh.shape["tensor"]
    if memory is None or mesh.shape["fsdp"] == 1:
        return least
    init = functools.partial(init_params, config, dtype=dtype)
    weights = _bytes(jax.eval_shape(init, jax.random.key(0)))
    own = math.gcd(*Counter(one.process_index for one in mesh.devices.flat).values())
    fitting = [
        tensor
        for tensor in range(least, own + 1, least)
        if own % tensor == 0 and _divides(config, tensor)
    ]

    def cache(tensor: int) -> int:
        if longest is None:
            return 0
        return cache_bytes(config, dtype, longest, mesh.size // tensor, tensor)

    return fewest(fitting or [least], weights, cache, memory)


def fewest(
    tensors: Iterable[int], weights: int, cache: Callable[[int], int], memory: float
) -> int:
    """The smallest of these numbers of devices that have room for what they share.

    Args:
      tensors: numbers of devices, ascending.
      weights: bytes of them all.
      cache: the number of devices → bytes of each device's cache.
      memory: bytes of a device.
    """
    tensors = list(tensors)
    enough = [t for t in tensors if weights / t <= SHARE * memory]
    roomy = [t for t in enough if weights / t + cache(t) <= ROOM * memory]
    return min(roomy or enough, default=max(tensors))


def cache_bytes(
    config: DecoderConfig, dtype: jnp.dtype, longest: Longest, data: int, tensor: int
) -> int:
    """Bytes of the longest cache on each of data x tensor devices."""
    mesh = AbstractMesh((data, 1, tensor), AXES, axis_types=(AxisType.Auto,) * 3)
    rows = -(-longest.rows // data) * data
    shapes = jax.eval_shape(lambda: init_cache(config, rows, longest.slots, dtype))
    shardings = cache_shardings(mesh, shapes)
    own = jax.tree.map(lambda x, y: y.shard_shape(x.shape), shapes, shardings)
    return _bytes(
        jax.tree.map(lambda x, y: jax.ShapeDtypeStruct(y, x.dtype), shapes, own)
    )


def _bytes(shapes: PyTree) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(shapes))


def _divides(config: DecoderConfig, tensor: int) -> bool:
    try:
        check_divides(config, 1, tensor)
    except InputError:
        return False
    return True


def device_memory(mesh: Mesh | None) -> float | None:
    """Bytes of a device of this process; None if it does not tell, as CPUs do not."""
    devices = jax.local_devices() if mesh is None else list(mesh.local_devices)
    stats = devices[0].memory_stats() if devices else None
    return None if stats is None else stats.get("bytes_limit")


def moved(mesh: Mesh, tree: PyTree) -> PyTree:
    """Weights or adapters on this mesh by `param_shardings`, from wherever they lie.

    What lies there already is not copied.
    """
    shardings = param_shardings(mesh, tree)
    leaves, where = jax.tree.leaves(tree), jax.tree.leaves(shardings)
    if all(x.sharding == y for x, y in zip(leaves, where, strict=True)):
        return tree
    before = {getattr(x.sharding, "mesh", None) for x in leaves}
    devices = list(mesh.devices.flat)
    if None in before:  # on one device, or anywhere
        return shard(tree, mesh)
    if any(list(mesh.devices.flat) != devices for mesh in before if mesh is not None):
        return jax.device_put(tree, shardings)
    # Over the links between devices, and not by way of this machine's memory.
    return _mover(jax.tree.structure(tree), tuple(where))(tree)


@functools.lru_cache(maxsize=16)
def _mover(structure, shardings: tuple):
    return jax.jit(lambda tree: tree, out_shardings=structure.unflatten(shardings))
