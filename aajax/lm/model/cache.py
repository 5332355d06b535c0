"""Keys and values of what a decoder has read, kept across the turns of a dialogue."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.lm.model.config import DecoderConfig
from aajax.types import Array

SMALLEST = 64  # tokens; sizes are powers of two from here on


class Cache(NamedTuple):
    """A slot is an absolute position: padding is never stored, nothing is moved.

    Slots from `length` on hold what does not count (nothing yet, or what was taken
    back): a query sees slots up to its own position only, so that taking tokens back
    is lowering `length`.

    Attributes:
      key: [layers, B, kv_heads, S, head_dim], rotated; of a cache that was cut, a
        tuple of as many arrays as there are layers.
      value: [layers, B, kv_heads, S, head_dim], likewise.
      length: i32[B], tokens stored.
    """

    key: Array | tuple[Array, ...]
    value: Array | tuple[Array, ...]
    length: Array

    @property
    def is_apart(self) -> bool:
        """Whether each layer's is an array of its own."""
        return isinstance(self.key, tuple)

    @property
    def size(self) -> int:
        """S, slots of a sequence."""
        return self.key[0].shape[-2]


def bucket(length: int) -> int:
    """The size of a cache for `length` tokens: a power of two, at least `SMALLEST`."""
    return max(SMALLEST, 1 << (length - 1).bit_length())


def init_cache(
    config: DecoderConfig, batch: int, size: int, dtype: jnp.dtype = jnp.float32
) -> Cache:
    """An empty cache of `size` slots for each of `batch` sequences."""
    shape = config.num_layers, batch, config.num_kv_heads, size, config.head_dim
    return Cache(
        key=jnp.zeros(shape, dtype),
        value=jnp.zeros(shape, dtype),
        length=jnp.zeros(batch, jnp.int32),
    )


def cut(cache: Cache) -> Cache:
    """The same with an array for each layer.

    A program then reads a layer's without a copy, which CPUs make of a part of an array
    that has all.
    """
    return cache._replace(key=tuple(cache.key), value=tuple(cache.value))


def grow(cache: Cache, size: int) -> Cache:
    """The same tokens in a cache of at least `size` slots."""
    more = max(size - cache.size, 0)

    def pad(x: Array) -> Array:
        return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, more), (0, 0)])

    key, value = jax.tree.map(pad, (cache.key, cache.value))
    return cache._replace(key=key, value=value)


def power_of_two(number: int) -> int:
    """The least one that is not below `number`."""
    return 1 << max(number - 1, 0).bit_length()
