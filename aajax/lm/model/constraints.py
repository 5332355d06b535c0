"""Sharding constraints of activations, effective within `jax.set_mesh(mesh)`.

Without a mesh these functions return their argument.
"""

import math
from collections.abc import Callable

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


def by_tokens(
    function: Callable,
    tokens: tuple[Array, ...],
    inward: tuple[Array, ...],
    outward: Array,
) -> Array:
    """Calls an MLP of several experts on each device, on its own tokens and units.

    Tokens are split over data and fsdp, and hidden units over tensor, over which the
    result is summed: to sort tokens by expert, none has to leave its device.

    Args:
      function: of the following, to [B, L, D].
      tokens: arrays [B, ...].
      inward: weights [experts, D, units].
      outward: weights [experts, units, D].
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(AXES) <= set(mesh.axis_names):
        return function(tokens, inward, outward)
    of_tokens = dividing(mesh, P(BATCH), tokens[0].shape)
    of_inward = dividing(mesh, P(None, None, "tensor"), inward[0].shape)
    of_outward = dividing(mesh, P(None, "tensor"), outward.shape)

    def own(*arguments) -> Array:
        y = function(*arguments)
        return jax.lax.psum(y, "tensor") if "tensor" in of_outward else y

    split = jax.shard_map(
        own,
        mesh=mesh,
        in_specs=((of_tokens,) * len(tokens), (of_inward,) * len(inward), of_outward),
        out_specs=of_tokens,
    )
    return split(tokens, inward, outward)


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
