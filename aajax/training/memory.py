"""Checks that a run's observations fit in memory, before anything is compiled."""

import math
import os

import jax

from aajax.errors import InputError
from aajax.training.algorithms import find_algorithm
from aajax.training.assemble import make_env
from aajax.training.config import RunConfig
from aajax.training.run import hyperparameter_settings, layout_of


def check_memory(config: RunConfig) -> None:
    """Raises InputError if the observations of one update alone exceed the memory.

    They are [K, S, T, B, N, ...] for K settings and S seeds, which train in parallel.
    Parameters, gradients and all else are not counted.
    """
    if not find_algorithm(config.algorithm).plays:
        return
    timestep = jax.eval_shape(make_env(config).reset, jax.random.key(0))[1]
    seen = timestep.observation
    lanes = len(hyperparameter_settings(config)) * config.seeds
    games = lanes * config.num_games
    needed = games * config.num_steps * math.prod(seen.shape) * seen.dtype.itemsize
    mesh = layout_of(config).mesh
    available = _available(1 if mesh is None else mesh.size)
    if needed > available:
        raise InputError(
            f"num_games is {config.num_games}: observations of {games} games (of all "
            f"seeds and settings), {config.num_steps} steps and {seen.shape} numbers "
            f"take {needed / 1e9:.3g} GB, and there are {available / 1e9:.3g}"
        )


def _available(num_devices: int) -> float:
    """Bytes of the devices' memory; infinite if that is not known."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return limit * num_devices
    names = "SC_PAGE_SIZE", "SC_PHYS_PAGES"
    if not set(names) <= set(getattr(os, "sysconf_names", ())):  # Windows
        return math.inf
    return math.prod(map(os.sysconf, names))
