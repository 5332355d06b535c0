"""Memory of runs: whether there is enough, before anything is compiled; and thrift."""

import contextlib
import ctypes
import math
import os

import jax

from aajax.errors import InputError
from aajax.training.algorithms import find_algorithm
from aajax.training.assemble import make_env, make_trainer
from aajax.training.config import RunConfig
from aajax.training.run import hyperparameter_settings, layout_of

FEW = 1000  # seeds whose states are not counted, which takes a while


def check_memory(config: RunConfig) -> None:
    """Raises InputError if observations of one update, or states, exceed the memory.

    Observations are [K, S, T, B, N, ...] for K settings and S seeds, which train in
    parallel; states have all that is kept from update to update. Gradients and all else
    are not counted.
    """
    lanes = len(hyperparameter_settings(config)) * config.seeds
    mesh = layout_of(config).mesh
    available = _available(1 if mesh is None else mesh.size)
    if find_algorithm(config.algorithm).plays:
        timestep = jax.eval_shape(make_env(config).reset, jax.random.key(0))[1]
        seen, games = timestep.observation, lanes * config.num_games
        needed = games * config.num_steps * _bytes(seen)
        if needed > available:
            raise InputError(
                f"num_games is {config.num_games}: observations of {games} games (of "
                f"all seeds and settings), {config.num_steps} steps and {seen.shape} "
                f"numbers take {needed / 1e9:.3g} GB, and there are "
                f"{available / 1e9:.3g}"
            )
    if lanes <= FEW:
        return
    state = jax.eval_shape(make_trainer(config)({}).init, jax.random.key(0))
    needed = lanes * sum(map(_bytes, jax.tree.leaves(state)))
    if needed > available:
        raise InputError(
            f"seeds is {config.seeds}: states of {lanes} seeds (of all settings) take "
            f"{needed / 1e9:.3g} GB, and there are {available / 1e9:.3g}"
        )


def _bytes(x: jax.ShapeDtypeStruct) -> int:
    return math.prod(x.shape) * x.dtype.itemsize


def _available(num_devices: int) -> float:
    """Bytes of the devices' memory; infinite if that is not known."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return limit * num_devices
    names = "SC_PAGE_SIZE", "SC_PHYS_PAGES"
    if not set(names) <= set(getattr(os, "sysconf_names", ())):  # Windows
        return math.inf
    return math.prod(map(os.sysconf, names))


def give_back() -> None:
    """Gives memory that is free back to the system, where the C library keeps it.

    glibc keeps free memory that lies between blocks that are in use. Other libraries
    are left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
