"""A causal transformer as a recurrent cell, whose state is a KV cache.

Blocks are gated as by Parisotto et al., "Stabilizing Transformers for Reinforcement
Learning" (https://arxiv.org/abs/1910.06764), and each also reads the input embedding.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from aajax.types import Array

GATE_BIAS = 2.0  # at first a block passes on most of what it is given


class Cache(NamedTuple):
    """The KV cache of L blocks, C steps and W units.

    Attributes:
      keys, values: f32[..., L, C, W].
      count: i32[...], steps in use; entries beyond them are masked.
    """

    keys: Array
    values: Array
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]


class Gate(nn.Module):
    """A GRU-type gate in place of the residual connection x + y.

    r = σ(W_r y + U_r x),  z = σ(W_z y + U_z x − 2),
    x' = (1 − z) ∘ x + z ∘ tanh(W_n y + U_n (r ∘ x))
    """

    @nn.compact
    def __call__(self, x: Array, y: Array) -> Array:
        size = x.shape[-1]
        from_y = jnp.split(nn.Dense(3 * size, name="new")(y), 3, axis=-1)
        from_x = jnp.split(nn.Dense(2 * size, use_bias=False, name="old")(x), 2, -1)
        r = jax.nn.sigmoid(from_y[0] + from_x[0])
        z = jax.nn.sigmoid(from_y[1] + from_x[1] - GATE_BIAS)
        n = jnp.tanh(from_y[2] + nn.Dense(size, use_bias=False, name="reset")(r * x))
        return x + z * (n - x)


class Block(nn.Module):
    """A pre-norm transformer block with gates in place of residual connections."""

    width: int
    num_heads: int

    def setup(self):
        self.before_attention, self.before_dense = nn.LayerNorm(), nn.LayerNorm()
        self.query, self.key, self.value, self.out = (
            nn.Dense(self.width, use_bias=False) for _ in range(4)
        )
        self.wide, self.narrow = nn.Dense(4 * self.width), nn.Dense(self.width)
        self.after_attention, self.after_dense = Gate(), Gate()

    def remember(self, x: Array) -> tuple[Array, Array]:
        """Attention keys and values of x, f32[..., W] each."""
        x = self.before_attention(x)
        return self.key(x), self.value(x)

    def __call__(self, x: Array, keys: Array, values: Array, sees: Array) -> Array:
        """Output of the block, f32[R, T, W].

        Args:
          x: f32[R, T, W].
          keys, values: f32[R, S, W], from the cache and of x.
          sees: bool[R, T, S], attention mask.
        """

        def heads(y):
            return y.reshape(*y.shape[:-1], self.num_heads, -1)

        query = heads(self.query(self.before_attention(x)))
        scores = jnp.einsum("rthd,rshd->rhts", query, heads(keys))
        scores = scores / math.sqrt(query.shape[-1])
        weights = jax.nn.softmax(jnp.where(sees[:, None], scores, -jnp.inf))
        seen = jnp.einsum("rhts,rshd->rthd", weights, heads(values))
        x = self.after_attention(x, self.out(seen.reshape(x.shape)))
        y = self.narrow(jax.nn.gelu(self.wide(self.before_dense(x))))
        return self.after_dense(x, y)


class Transformer(nn.Module):
    """A causal transformer over the steps since its KV cache was last emptied.

    The cache is emptied at the start of an episode, and when it is full. `step`, called
    once per time step, and `unroll`, on all steps at once, give the same features.

    Attributes:
      width: W, units.
      num_blocks: L.
      num_heads: attention heads; must divide the width.
      context: C, length of the cache in steps.
    """

    width: int
    num_blocks: int
    num_heads: int
    context: int

    def setup(self):
        self.embed = nn.Dense(self.width)
        self.blocks = [
            Block(self.width, self.num_heads) for _ in range(self.num_blocks)
        ]
        self.norm = nn.LayerNorm()

    @nn.nowrap
    def initial_memory(self, batch_shape: tuple[int, ...]) -> Cache:
        """An empty KV cache."""
        shape = *batch_shape, self.num_blocks, self.context, self.width
        return Cache(
            jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(batch_shape, jnp.int32)
        )

    def step(self, memory: Cache, x: Array) -> tuple[Cache, Array]:
        """One step: the cache with x, f32[R, F], appended, and features f32[R, W]."""
        position = self._position(memory.count)
        slot = jnp.arange(self.context)[None]
        sees = (slot <= position[:, None])[:, None]
        now = (slot == position[:, None])[..., None]
        x = start = self._embedded(x, position)[:, None]
        keys, values = [], []
        for i, block in enumerate(self.blocks):
            key, value = block.remember(x)
            keys.append(jnp.where(now, key, memory.keys[:, i]))
            values.append(jnp.where(now, value, memory.values[:, i]))
            x = start + block(x, keys[-1], values[-1], sees)
        memory = Cache(jnp.stack(keys, 1), jnp.stack(values, 1), position + 1)
        return memory, self.norm(x[:, 0])

    def unroll(self, memory: Cache, x: Array, last: Array) -> Array:
        """All steps at once: features f32[T, R, W].

        Args:
          memory: the cache before the first step, leading axis R.
          x: f32[T, R, F].
          last: bool[T, R], true at the last step of an episode, after which the cache
            is emptied.
        """

        def advance(count, last):
            position = self._position(count)
            return jnp.where(last, 0, position + 1), position

        _, position = jax.lax.scan(advance, memory.count, last)
        position = position.T
        # What was remembered before belongs to segment 0, if that goes on at all.
        segment = jnp.cumsum((position == 0).astype(jnp.int32), axis=1)
        steps = jnp.arange(last.shape[0])
        recent = (steps[None, None] <= steps[None, :, None]) & (
            segment[:, :, None] == segment[:, None, :]
        )
        slots = jnp.arange(self.context)[None, None]
        before = (segment[..., None] == 0) & (slots < memory.count[:, None, None])
        sees = jnp.concatenate([before, recent], axis=-1)
        x = start = self._embedded(jnp.moveaxis(x, 0, 1), position)
        for i, block in enumerate(self.blocks):
            key, value = block.remember(x)
            keys = jnp.concatenate([memory.keys[:, i], key], axis=1)
            values = jnp.concatenate([memory.values[:, i], value], axis=1)
            x = start + block(x, keys, values, sees)
        return jnp.moveaxis(self.norm(x), 1, 0)

    def _position(self, count: Array) -> Array:
        return jnp.where(count == self.context, 0, count)

    def _embedded(self, x: Array, position: Array) -> Array:
        return self.embed(x) * math.sqrt(self.width) + positions(position, self.width)


def positions(position: Array, width: int) -> Array:
    """Sinusoidal position embeddings f32[..., width] of i32[...].

    As in "Attention Is All You Need" (https://arxiv.org/abs/1706.03762), with all sines
    before all cosines.
    """
    half = width // 2
    rate = 10_000.0 ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = position[..., None].astype(jnp.float32) * rate.reshape(
        (1,) * position.ndim + (half,)
    )
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
