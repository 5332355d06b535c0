"""The KV cache of a decoder, kept across the turns of a dialogue."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.lm.model.config import ATTENTION, DecoderConfig, Delta
from aajax.types import Array

SMALLEST = 64  # tokens; sizes are powers of two from here on


class Memory(NamedTuple):
    """What a recurrent layer keeps of the tokens before.

    Attributes:
      inputs: [B, kernel − 1, channels], the last ones of the convolution.
      state: f32[B, value_heads, key_dim, value_dim].
    """

    inputs: Array
    state: Array


def empty_memory(delta: Delta, batch: int, dtype: jnp.dtype) -> Memory:
    """The memory of `batch` sequences without tokens."""
    shape = batch, delta.value_heads, delta.key_dim, delta.value_dim
    inputs = jnp.zeros((batch, delta.kernel - 1, delta.channels), dtype)
    return Memory(inputs, jnp.zeros(shape, jnp.float32))


class Cache(NamedTuple):
    """A KV cache with S slots per sequence; slot p holds the token at position p.

    Padding is not stored. A query attends to slots up to its own position, so that
    slots from `length` on are ignored, and tokens are removed by lowering `length`.

    Attributes:
      key: [layers, B, kv_heads, S, head_dim], with rotary embedding applied; after
        `cut`, and where layers differ, a tuple with an array for each that has keys of
        its own.
      value: [layers, B, kv_heads, S, head_dim], likewise.
      length: i32[B], tokens stored.
      memory: of each recurrent layer. Tokens are not removed from it: who lowers
        `length` puts back an earlier one.
    """

    key: Array | tuple[Array, ...]
    value: Array | tuple[Array, ...]
    length: Array
    memory: tuple[Memory, ...] = ()

    @property
    def is_apart(self) -> bool:
        """Whether each layer has an array of its own (see `cut`)."""
        return isinstance(self.key, tuple)

    @property
    def size(self) -> int:
        """S, slots of a sequence."""
        return self.key[0].shape[-2]


def bucket(length: int) -> int:
    """The size of a cache for `length` tokens: a power of two, at least `SMALLEST`."""
    return max(SMALLEST, power_of_two(length))


def init_cache(
    config: DecoderConfig, batch: int, size: int, dtype: jnp.dtype = jnp.float32
) -> Cache:
    """An empty cache of `size` slots for each of `batch` sequences."""
    length = jnp.zeros(batch, jnp.int32)

    def empty(lead: tuple[int, ...], block: str) -> Array:
        heads, head_dim = config.heads(block)
        return jnp.zeros((*lead, batch, heads, size, head_dim), dtype)

    if not config.is_uneven:
        lead = (config.num_layers,)
        return Cache(empty(lead, ATTENTION), empty(lead, ATTENTION), length)
    # Layers that differ are not scanned over.
    key, value = (
        tuple(empty((), config.mixer(layer)) for layer in config.caching)
        for _ in range(2)
    )
    memory = ()
    if config.delta is not None:
        delta = config.delta
        memory = tuple(empty_memory(delta, batch, dtype) for _ in config.recurring)
    return Cache(key, value, length, memory)


def cut(cache: Cache) -> Cache:
    """The cache with one array per layer in place of one for all.

    On a mesh, programs with it are to run within `jax.set_mesh(mesh)`.

    CPUs copy slices of an array before they are used; this avoids it.
    """
    if cache.is_apart:
        return cache
    return cache._replace(key=tuple(cache.key), value=tuple(cache.value))


def grow(cache: Cache, size: int) -> Cache:
    """The cache enlarged to at least `size` slots."""
    more = max(size - cache.size, 0)

    def pad(x: Array) -> Array:
        return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, more), (0, 0)])

    key, value = jax.tree.map(pad, (cache.key, cache.value))
    return cache._replace(key=key, value=value)


def few_sizes(number: int) -> int:
    """The least of 1, ..., 8, 10, 12, 14, 16, 20, ... that is at least `number`.

    There are four of them up to twice a power of two.
    """
    step = max(1, power_of_two(number) // 8)
    return number + -number % step


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << max(number - 1, 0).bit_length()
