"""Gated DeltaNet: attention with a state of fixed size in place of keys and values.

    S_t = α_t S_{t−1} + k_t β_t (v_t − (α_t S_{t−1})ᵀ k_t)ᵀ          y_t = S_tᵀ q_t

α in (0, 1] forgets, β in (0, 1) writes: what the state says of a key is replaced by its
value. See "Gated Delta Networks" (arXiv:2412.06464), also for the form in chunks.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from aajax.lm.model.cache import Memory
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.layers import Linear, Route
from aajax.types import Array

CHUNK = 64  # tokens whose products are matrices
_einsum = functools.partial(jnp.einsum, precision="highest")


class DeltaNet(nn.Module):
    """A layer of Gated DeltaNet, between a short convolution and a gate."""

    config: DecoderConfig
    dtype: jnp.dtype
    param_dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: Array, is_real: Array, memory: Memory, route: Route | None
    ) -> tuple[Array, Memory]:
        """One layer.

        Args:
          x: [B, L, D], tokens in order of position, padding last.
          is_real: bool[B, L], which are none of padding.
          memory: of the tokens before.
          route: adapters.

        Returns:
          [B, L, D], arbitrary at padding, and the memory with the tokens.
        """
        delta, types = self.config.delta, (self.dtype, self.param_dtype)
        assert delta is not None
        batch, length, _ = x.shape
        heads, size = delta.value_heads, delta.value_dim

        def linear(name: str, features: int) -> Array:
            return Linear(features, False, *types, name=name)(x, route)

        mixed, gate = linear("mixed", delta.channels), linear("gate", heads * size)
        write, forget = linear("write", heads), linear("forget", heads)
        mixed, inputs = self._convolved(mixed, is_real, memory.inputs)
        keys = delta.key_heads * delta.key_dim
        query, key, value = jnp.split(mixed.astype(jnp.float32), (keys, 2 * keys), -1)

        def by_head(y: Array) -> Array:
            y = y.reshape(batch, length, delta.key_heads, delta.key_dim)
            scale = jax.lax.rsqrt(jnp.sum(y * y, -1, keepdims=True) + 1e-6)
            return jnp.repeat(y * scale, heads // delta.key_heads, 2)

        query, key = by_head(query) * jnp.float32(delta.key_dim**-0.5), by_head(key)
        value = value.reshape(batch, length, heads, size)
        real = is_real[..., None].astype(jnp.float32)
        write = jax.nn.sigmoid(write).astype(jnp.float32) * real
        y, state = delta_rule(
            query, key, value, self._log_forget(forget) * real, write, memory.state
        )
        y = self._gated(y.astype(self.dtype), gate.reshape(batch, length, heads, size))
        output = Linear(self.config.hidden_size, False, *types, name="output")
        y = output(y.reshape(batch, length, heads * size), route)
        return y, Memory(inputs, state)

    def _convolved(
        self, x: Array, is_real: Array, before: Array
    ) -> tuple[Array, Array]:
        """Each channel's causal convolution, and the last inputs of it."""
        length, kernel = x.shape[1], before.shape[1] + 1
        init = nn.initializers.normal(0.02)
        shape = x.shape[-1], 1, kernel
        weight = self.param("convolution", init, shape, self.param_dtype)
        weight = weight.astype(self.dtype)
        window = jnp.concatenate([before.astype(x.dtype), x], 1)
        parts = [
            window[:, i : i + length] * jnp.expand_dims(weight[:, 0, i], (0, 1))
            for i in range(kernel)
        ]
        count = jnp.sum(is_real, 1, dtype=jnp.int32)
        last = count[:, None] + jnp.arange(kernel - 1, dtype=jnp.int32)[None]
        inputs = jnp.take_along_axis(window, last[..., None], 1)
        return jax.nn.silu(sum(parts[1:], parts[0])), inputs.astype(before.dtype)

    def _log_forget(self, forget: Array) -> Array:
        """log α, f32[B, L, heads]."""
        heads = (forget.shape[-1],)
        ones = nn.initializers.ones
        rate = self.param("log_rate", nn.initializers.zeros, heads, self.param_dtype)
        bias = self.param("forget_bias", ones, heads, self.param_dtype)
        rate, bias = (
            jnp.expand_dims(y.astype(jnp.float32), (0, 1)) for y in (rate, bias)
        )
        return -jnp.exp(rate) * jax.nn.softplus(forget.astype(jnp.float32) + bias)

    def _gated(self, y: Array, gate: Array) -> Array:
        """Normalised outputs of heads, scaled, times silu(gate)."""
        ones = nn.initializers.ones
        scale = self.param("norm", ones, (y.shape[-1],), self.param_dtype)
        wide = y.astype(jnp.float32)
        mean = jnp.mean(wide * wide, -1, keepdims=True)
        normal = wide * jax.lax.rsqrt(mean + self.config.norm_epsilon)
        scaled = normal.astype(y.dtype) * jnp.expand_dims(scale, (0, 1, 2)).astype(
            y.dtype
        )
        gated = scaled.astype(jnp.float32) * jax.nn.silu(gate.astype(jnp.float32))
        return gated.astype(y.dtype)


def delta_rule(
    query: Array,
    key: Array,
    value: Array,
    log_forget: Array,
    write: Array,
    state: Array,
) -> tuple[Array, Array]:
    """y and the last S of the recurrence above, in float32, chunk by chunk.

    Args:
      query, key: [B, L, heads, key_dim].
      value: [B, L, heads, value_dim].
      log_forget: log α, [B, L, heads]; 0, with a β of 0, leaves S as it is.
      write: β, [B, L, heads].
      state: S before, [B, heads, key_dim, value_dim].

    Returns:
      [B, L, heads, value_dim], and S after the last token.
    """
    length = query.shape[1]
    size = min(CHUNK, length)
    padding = -length % size

    def chunks(y: Array) -> Array:
        """[B, L, heads, ...] → [chunks, B, heads, size, ...]."""
        y = jnp.pad(y, [(0, 0), (0, padding)] + [(0, 0)] * (y.ndim - 2))
        y = y.reshape(y.shape[0], -1, size, *y.shape[2:])
        return jnp.moveaxis(jnp.moveaxis(y, 1, 0), 2, 3)

    def step(state: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        return _chunk(state, *chunk)

    each = tuple(map(chunks, (query, key, value, log_forget, write)))
    state, y = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), state, each)
    y = jnp.moveaxis(jnp.moveaxis(y, 3, 2), 0, 1)
    return y.reshape(y.shape[0], -1, *y.shape[3:])[:, :length], state


def _chunk(
    state: Array,
    query: Array,
    key: Array,
    value: Array,
    log_forget: Array,
    write: Array,
) -> tuple[Array, Array]:
    """The tokens of a chunk together: what each writes depends on those before it.

    With γ_i the product of α up to i, written are the u of the triangular system

        u_i = β_i (v_i − γ_i Sᵀ k_i − Σ_{j<i} γ_i / γ_j (k_iᵀ k_j) u_j).
    """
    total = jnp.cumsum(log_forget, -1)
    size = total.shape[-1]
    seen = jnp.tril(jnp.ones((size, size), bool))[None, None]
    between = jnp.where(seen, total[..., :, None] - total[..., None, :], -jnp.inf)
    between = jnp.exp(between)
    own = _einsum("bhik,bhjk->bhij", key, key) * between
    system = own * write[..., None]
    known = value - jnp.exp(total)[..., None] * _einsum("bhik,bhkv->bhiv", key, state)
    written = jax.scipy.linalg.solve_triangular(
        system, known * write[..., None], lower=True, unit_diagonal=True
    )
    y = _einsum("bhik,bhkv->bhiv", query * jnp.exp(total)[..., None], state)
    score = _einsum("bhik,bhjk->bhij", query, key) * between
    y = y + _einsum("bhij,bhjv->bhiv", score, written)
    rest = jnp.exp(total[..., -1:] - total)[..., None]
    state = state * jnp.exp(total[..., -1])[..., None, None]
    return state + _einsum("bhik,bhiv->bhkv", key * rest, written), y
