"""Random keys and generators derived from a seed and a name.

Two parts of a program that derive keys from one seed by numbers of their own can end up
with equal keys: `jax.random.fold_in(key, i)` is `jax.random.split(key, n)[i]`, and
NumPy's generator of seed s is that of the seeds [s, 0]. Here a hash of the name of the
use (its domain) is folded in, so that different uses draw different numbers.
"""

import hashlib

import jax
import numpy as np

from aajax.types import AnyArray, PRNGKey


def stream(seed: int | PRNGKey, domain: str, *numbers: int | AnyArray) -> PRNGKey:
    """A random key for one named use of a seed.

    Args:
      seed: an int, or a key. A key is not consumed: it may still be split or given to
        `stream` with other domains.
      domain: name of the use, such as "text league: answers".
      *numbers: further indices, such as the iteration; i32[], may be traced.

    Returns:
      A key unlike those of all other domains and numbers, and unlike those that
      `jax.random.split` makes of `seed`.
    """
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    key = jax.random.fold_in(key, _tag(domain))
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def numpy_stream(seed: int, domain: str, *numbers: int) -> np.random.Generator:
    """A NumPy generator for one named use of a seed; arguments as for `stream`."""
    spawn_key = (_tag(domain), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=spawn_key))


def _tag(domain: str) -> int:
    """32-bit hash, at least 2^31: more than any index of a split, hence never equal."""
    digest = hashlib.sha256(domain.encode()).digest()
    return int.from_bytes(digest[:4], "big") | 1 << 31
