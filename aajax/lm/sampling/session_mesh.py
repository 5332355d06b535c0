"""A session's arrays on one device or on a mesh: how they are made, and stay there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from aajax.errors import InputError
from aajax.lm.mesh.hosts import largest, padded_rows, processes
from aajax.lm.mesh.sharding import batch_shardings, cache_shardings
from aajax.lm.model.cache import Cache, cut, init_cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.sampling.session import Session
from aajax.types import Array


def empty_session(
    config: DecoderConfig,
    batch: int,
    size: int,
    cache_dtype: jnp.dtype,
    dtype: jnp.dtype,
    mesh: Mesh | None = None,
) -> Session:
    """A session of `batch` sequences of each process, with caches of `size` slots.

    Raises:
      InputError: if another process has another number of sequences.
    """
    most, least = largest(mesh, batch, -batch)
    if most != -least:
        raise InputError(
            f"batch is {batch}, and {-least} to {most} among all processes: the same "
            "number in each is needed"
        )
    rows = padded_rows(mesh, batch) * len(processes(mesh))
    make = _empty if mesh is None else _empty_on_mesh
    cache, last = make(config, rows, size, cache_dtype, dtype, mesh)
    return Session(cache, last, batch)


def run(mesh: Mesh | None, program: Callable, *arguments: Any) -> tuple:
    """What a program returns, a cache and rows, each where it belongs on the mesh."""
    if mesh is None:
        return program(*arguments)
    with jax.set_mesh(mesh):
        cache, *rows = program(*arguments)
    # They are there already, but named otherwise, for which programs compile anew.
    shardings = cache_shardings(mesh, cache), batch_shardings(mesh, rows)
    cache, rows = jax.device_put((cache, rows), shardings)
    return cache, *rows


def _empty(
    config: DecoderConfig,
    rows: int,
    size: int,
    cache_dtype: jnp.dtype,
    dtype: jnp.dtype,
    mesh: Mesh | None,
) -> tuple[Cache, Array]:
    cache = init_cache(config, rows, size, cache_dtype)
    last = jnp.zeros((rows, config.hidden_size), dtype)
    if mesh is None:
        return (cut(cache) if jax.default_backend() == "cpu" else cache), last
    shardings = cache_shardings(mesh, cache), batch_shardings(mesh, last)
    return jax.lax.with_sharding_constraint((cache, last), shardings)


# Compiled, no device ever holds all of them.
_empty_on_mesh = jax.jit(_empty, static_argnums=range(6))
