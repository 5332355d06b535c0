"""How activations are split over a mesh that is in use, within `jax.set_mesh(mesh)`.

Without a mesh all of these leave their array as it is.
"""

import math

import jax
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from aajax.types import Array

AXES = ("data", "fsdp", "tensor")
BATCH = ("data", "fsdp")  # what the batch dimension is split over


def over_batch(x: Array) -> Array:
    """Activations [B, ...], kept split over data and fsdp where a mesh is in use.

    Left alone XLA may split their features as the weights' rows are, and compute the
    whole batch on every device. A mesh is in use within `jax.set_mesh(mesh)`.
    """
    return _constrained(x, P(BATCH))


def look_up(table: Array, tokens: Array) -> Array:
    """Rows of an embedding [V, D], [B, L, D], split over data and fsdp.

    Each device reads the columns that it has, and those of other sequences are
    exchanged for those of its own: the table is not gathered.
    """
    rows = table[_constrained(tokens, P("data"))]
    return over_batch(_constrained(rows, P("data", None, "fsdp")))


def replicate(x: Array) -> Array:
    """The same array, whole on every device, where a mesh is in use."""
    return _constrained(x, P())


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
