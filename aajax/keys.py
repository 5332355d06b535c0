"""Streams of chance by name: no two uses of one seed draw the same numbers.

`jax.random.fold_in(key, i)` is `jax.random.split(key, n)[i]`, and NumPy's generator of
seed s is that of the seeds [s, 0], so that two parts of a program that derive keys from
one seed by numbers of their own can end up with equal chance. Here a stream is derived
from what it is for.
"""

import hashlib

import jax
import numpy as np

from aajax.types import AnyArray, PRNGKey


def stream(seed: int | PRNGKey, domain: str, *numbers: int | AnyArray) -> PRNGKey:
    """The key of a stream.

    Args:
      seed: a number, or a key; a key is not consumed: it may be split, and have streams
        of other domains.
      domain: what the stream is for, such as "text league: answers".
      *numbers: which one of many, such as the iteration; i32[], they may be traced.

    Returns:
      A key that differs from those of all other domains, numbers, and from those that
      `jax.random.split` makes of `seed`.
    """
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    key = jax.random.fold_in(key, _tag(domain))
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def numpy_stream(seed: int, domain: str, *numbers: int) -> np.random.Generator:
    """NumPy's generator of a stream; see `stream`."""
    spawn_key = (_tag(domain), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def _tag(domain: str) -> int:
    """A number of 32 bits, from 2^31 on: `split` never makes as many keys."""
    digest = hashlib.sha256(domain.encode()).digest()
    return int.from_bytes(digest[:4], "big") | 1 << 31
