"""Sharding constraints of activations, effective within `jax.set_mesh(mesh)`.

Without a mesh these functions return their argument.
"""

import math

import jax
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from aajax.types import Array

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # what the batch dimension is split over


def over_batch(x: Array) -> Array:
    """Constrains activations [B, ...] to be sharded over data and fsdp.

    Without the constraint XLA may shard their features like the weights' rows, and
    compute the whole batch on every device.
    """
    return _constrained(x, P(BATCH))


def look_up(table: Array, tokens: Array) -> Array:
    """Embedding lookup: rows [B, L, D] of a table [V, D], sharded over data and fsdp.

    Each device reads its own columns for all sequences, followed by an all-to-all, so
    that the table is not all-gathered.
    """
    rows = table[_constrained(tokens, P("data"))]
    return over_batch(_constrained(rows, P("data", None, "fsdp")))


def replicate(x: Array) -> Array:
    """Constrains an array to be replicated on all devices."""
    return _constrained(x, P())


def split_over_batch(batch: int) -> int:
    """Sequences of one device, of `batch` that are sharded over data and fsdp."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(AXES) <= set(mesh.axis_names):
        return batch
    return math.ceil(batch / math.prod(mesh.shape[name] for name in BATCH))


def _constrained(x: Array, spec: P) -> Array:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(AXES) <= set(mesh.axis_names):
        return x
    return jax.lax.with_sharding_constraint(x, dividing(mesh, spec, x.shape))


def dividing(mesh: Mesh | AbstractMesh, spec: P, shape: tuple[int, ...]) -> P:
    """The spec without the axes that do not divide their dimension."""
    kept = []
    for entry, size in zip(spec, shape, strict=False):
        names = entry if isinstance(entry, tuple) else (entry,) if entry else ()
        fitting = []
        for name in names:
            if size % math.prod(mesh.shape[n] for n in (*fitting, name)) == 0:
                fitting.append(name)
        kept.append(tuple(fitting) if len(fitting) > 1 else next(iter(fitting), None))
    return P(*kept)
