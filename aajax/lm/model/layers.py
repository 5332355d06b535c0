"""Norm, rotary embedding, linear layers with adapters, attention and MLP."""

import functools
from typing import Any, NamedTuple, cast

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from aajax.lm.model import attention
from aajax.lm.model.config import ATTENTION, FULL_ATTENTION, DecoderConfig
from aajax.lm.model.constraints import (
    by_tokens,
    look_up,
    over_batch,
    replicate,
    split_over_batch,
)
from aajax.lm.model.precision import cpu_has_bfloat16, is_rounded
from aajax.types import AnyArray, Array

LINEAR = "linear"  # name of the result of a linear layer, for `jax.checkpoint`
JOINED = "joined_a", "joined_b"  # variables of joined adapters; see `lora.joined`
# Tokens that a matrix of 16-bit numbers can be multiplied with in the time of reading
# it: products per second over bytes per second, 240 for TPU v5e, about 300 for H100.
INTENSITY = 240
# Rows of a product that takes the time of reading a kernel of 16-bit numbers on a CPU.
_FEW_ROWS = 64

_INIT = nn.initializers.normal(0.02)


@flax.struct.dataclass
class Route:
    """Which adapter each sequence takes; see `route_to`.

    Attributes:
      adapter_id: i32[B], −1 for none.
      chosen: i32[B], the same, 0 for none.
      scale: f32[B], what the adapter's update is multiplied by (alpha / rank).
      count: n, how many adapters there are.
      is_same: whether all sequences take the one adapter that there is.
    """

    adapter_id: AnyArray
    chosen: Array
    scale: Array
    count: int = flax.struct.field(pytree_node=False)
    is_same: bool = flax.struct.field(pytree_node=False, default=False)


def route_to(adapter_id: AnyArray, scale: Array) -> Route:
    """The route of sequences with these adapters, i32[B], of scales f32[n].

    The scale is NaN for an adapter out of range.
    """
    chosen = jnp.maximum(jnp.asarray(adapter_id), 0)
    own = scale.at[chosen].get(mode="fill", fill_value=jnp.nan)
    return Route(adapter_id, chosen, own, len(scale))


def route_of_all(scale: Array) -> Route:
    """The route of sequences that all take the one adapter, of scale f32[1]."""
    zero = jnp.zeros(1, jnp.int32)
    return Route(zero, zero, scale, count=1, is_same=True)


def product(x: Array, kernel: Array, dtype: Any, is_transposed: bool = False) -> Array:
    """x W, [n, in] × [in, out] → [n, out] in `dtype`.

    CPUs round factors themselves where `precision.is_rounded`, which is twice as fast
    with AVX512-BF16, and about as fast as without rounding on other CPUs.

    Args:
      x: [n, in].
      kernel: W [in, out], or Wᵀ if `is_transposed`.
      dtype: of the factors, and of the result.
      is_transposed: whether the kernel is.
    """
    if attention.platform() == "cpu" and is_rounded():
        return _rounded_product(x, kernel, int(is_transposed)).astype(dtype)
    kernel = kernel.astype(dtype)
    if is_transposed:  # in this order few rows are faster
        return _product(kernel, x, 1).T.astype(dtype)
    return x @ kernel


def _product(x: Array, y: Array, contracted: int) -> Array:
    """Of the last axis of x and that axis of y, summed in float32."""
    dims = ((1,), (contracted,)), ((), ())
    return jax.lax.dot_general(x, y, dims, preferred_element_type=jnp.float32)


def _rounded_product(x: Array, kernel: Array, contracted: int) -> Array:
    return cast(Array, _rounded(x, kernel, contracted))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rounded(x: Array, kernel: Array, contracted: int) -> Array:
    # XLA does it in bfloat16 for gradients too if axes are named, and not transposed.
    is_read = kernel.dtype == jnp.bfloat16 and len(x) < _FEW_ROWS
    if is_read or cpu_has_bfloat16():
        x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    else:
        x, kernel = _in_float32(x), _in_float32(kernel)
    return _product(x, kernel, contracted)


def _in_float32(x: Array) -> Array:
    """The numbers that x has in bfloat16."""
    if x.dtype == jnp.bfloat16:
        return x.astype(jnp.float32)
    # XLA would leave out a cast there and back.
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def _rounded_forward(x: Array, kernel: Array, contracted: int):
    return _rounded_product(x, kernel, contracted), (x, kernel)


def _rounded_backward(contracted: int, kept: tuple[Array, Array], g: Array):
    x, kernel = kept
    of_kernel = (g.T, x) if contracted else (x.T, g)
    return (
        _rounded_product(g, kernel, 1 - contracted).astype(x.dtype),
        _rounded_product(*of_kernel, 0).astype(kernel.dtype),
    )


_rounded.defvjp(_rounded_forward, _rounded_backward)


def adapted_product(x: Array, kernel: Array, a: Array, b: Array, dtype: Any) -> Array:
    """x W + (x A) B as one product, [x, x A] [W; B], and likewise for gradients.

    Products over the few columns of A are slow on CPUs, and their sums are read and
    written once more.

    Args:
      x: [n, in].
      kernel: W [in, out].
      a, b: [in, r] and [r, out].
      dtype: of the factors, and of the result, [n, out].
    """
    return _adapted_product(x, *(y.astype(dtype) for y in (kernel, a, b)))


@jax.custom_vjp
def _adapted_product(x: Array, kernel: Array, a: Array, b: Array) -> Array:
    return _adapted_forward(x, kernel, a, b)[0]


def _adapted_forward(x: Array, kernel: Array, a: Array, b: Array):
    inner = checkpoint_name(_matmul(x, a, 0).astype(x.dtype), LINEAR)
    wide, tall = jnp.concatenate([x, inner], 1), jnp.concatenate([kernel, b], 0)
    return _matmul(wide, tall, 0).astype(x.dtype), (x, inner, kernel, a, b)


def _adapted_backward(kept: tuple[Array, ...], g: Array):
    x, inner, kernel, a, b = kept
    of_inner = _matmul(g, b, 1).astype(g.dtype)
    wide, flat = jnp.concatenate([g, of_inner], 1), jnp.concatenate([kernel, a], 1)
    return (
        _matmul(wide, flat, 1).astype(x.dtype),
        _matmul(x.T, g, 0).astype(kernel.dtype),
        _matmul(of_inner.T, x, 0).T.astype(a.dtype),
        _matmul(inner.T, g, 0).astype(b.dtype),
    )


_adapted_product.defvjp(_adapted_forward, _adapted_backward)


def _matmul(x: Array, y: Array, contracted: int) -> Array:
    return (_rounded_product if is_rounded() else _product)(x, y, contracted)


class Linear(nn.Module):
    """y = x W (+ b) (+ s_i x A_i B_i), i the sequence's adapter; see `lora`.

    W [in, out] is the variable "kernel", or Wᵀ is "transposed"; see `unstack_layers`.
    The weights of adapters are the variables a [n, in, r] and b [n, r, out] of the
    collection "lora", absent where a layer has none.
    """

    features: int
    use_bias: bool
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: Array, route: Route | None) -> Array:
        """x [B, L, in] → [B, L, out], in `dtype`."""
        shape = x.shape[-1], self.features
        # In two dimensions: the gradient's product over [B, L] is slow on CPUs.
        rows = x.reshape(-1, shape[0])
        if self.has_variable("params", "transposed"):
            turned = self.get_variable("params", "transposed")
            y = product(rows, turned, self.dtype, is_transposed=True)
        else:
            kernel = self.param("kernel", _INIT, shape, self.param_dtype)
            has_pair = self.has_variable("lora", "a")
            if route is not None and route.is_same and has_pair:
                # Before the bias, which it does not change.
                a, b = (self.get_variable("lora", name)[0] for name in "ab")
                y = adapted_product(rows, kernel, a * route.scale[0], b, self.dtype)
                route = None
            else:
                y = product(rows, kernel, self.dtype)
        y = y.reshape(*x.shape[:-1], self.features)
        if self.use_bias:
            bias = self.param(
                "bias", nn.initializers.zeros, (self.features,), self.param_dtype
            )
            y = y + jnp.expand_dims(bias.astype(self.dtype), (0, 1))
        change = None if route is None else self._change(x, route)
        if route is not None and change is not None:
            # Not y + 0 · change: what has diverged must not reach who does not use it.
            is_plain = (route.adapter_id < 0)[:, None, None]
            y = jnp.where(is_plain, y, y + change)
        return checkpoint_name(y, LINEAR)

    def _change(self, x: Array, route: Route) -> Array | None:
        """What adapters add, [B, L, out]; None where they have no weights."""
        for names, function in (("a", "b"), _low_rank), (JOINED, _low_rank_of_joined):
            if self.has_variable("lora", names[0]):
                a, b = (self.get_variable("lora", name) for name in names)
                return function(x, a, b, route).astype(self.dtype)
        return None


def _low_rank(x: Array, a: Array, b: Array, route: Route) -> Array:
    """s_i x A_i B_i for each sequence, [B, L, out], in the dtype of x.

    For i = −1 the result is arbitrary, for an i out of range NaN.
    """
    scale = route.scale.astype(x.dtype)[:, None, None]
    if a.shape[0] == 1:
        # No copy for each sequence; and in two dimensions, as the product over [B, L]
        # that is the gradient is slow on CPUs, eight times measured.
        rank = a.shape[-1]
        inner = x.reshape(-1, x.shape[-1]) @ a[0].astype(x.dtype)
        inner = inner.reshape(*x.shape[:-1], rank) * scale
        y = inner.reshape(-1, rank) @ b[0].astype(x.dtype)
        return y.reshape(*x.shape[:-1], -1)
    a, b = replicate(a), replicate(b)
    # Cast once gathered, so that gradients are summed over sequences in their own type.
    a, b = (y[route.chosen].astype(x.dtype) for y in (a, b))
    inner = jnp.einsum("bli,bir->blr", x, a)
    return jnp.einsum("blr,bro->blo", inner * scale, b)


def _low_rank_of_joined(x: Array, a: Array, b: Array, route: Route) -> Array:
    """`_low_rank` of joined adapters, a [n r, in] and b [n r, out], all finite.

    By row: each sequence's matrices are copied, and multiplied with it. Or by adapter:
    all sequences are multiplied with all matrices, which are read once and not copied,
    and products with others' are set to 0.
    """
    count, (batch, length) = route.count, x.shape[:2]
    rank = a.shape[0] // count
    a, b = (y.astype(x.dtype) for y in (a, b))
    scale = route.scale.astype(x.dtype)[:, None, None]
    if is_cheaper_by_adapter(count, split_over_batch(batch), length):
        inner = over_batch(jnp.einsum("bli,ri->blr", x, a))
        owner = jnp.arange(count * rank, dtype=jnp.int32) // rank
        own = (route.chosen[:, None] == owner[None])[:, None]
        inner = jnp.where(own, inner, jnp.zeros((), x.dtype)) * scale
        return jnp.einsum("blr,ro->blo", inner, b)
    a, b = (y.reshape(count, rank, -1)[route.chosen] for y in (a, b))
    inner = jnp.einsum("bli,bri->blr", x, a)
    return jnp.einsum("blr,bro->blo", inner * scale, b)


def is_cheaper_by_adapter(count: int, batch: int, length: int) -> bool:
    """Whether n adapters cost less by adapter than by row, for [B, L] tokens a device.

    In units of reading an adapter: by row each of B is read, written and read again, by
    adapter each of n is read, or takes the time of its products with all tokens.
    """
    return count == 1 or count * max(1, batch * length / INTENSITY) < 3 * batch


class Norm(nn.Module):
    """y = x / √(mean(x²) + ε) · scale, in float32; · (1 + scale) with `unit_offset`.

    Without `rounds_last` x is rounded to its dtype before it is scaled.
    """

    epsilon: float
    unit_offset: bool
    param_dtype: Any
    rounds_last: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x [..., D] → [..., D], of the dtype of x."""
        init = nn.initializers.zeros if self.unit_offset else nn.initializers.ones
        scale = self.param("scale", init, (x.shape[-1],), self.param_dtype)
        factor = scale.astype(jnp.float32) + (1.0 if self.unit_offset else 0.0)
        factor = jnp.expand_dims(factor, range(x.ndim - 1))
        normal = normalised(x, self.epsilon)
        if self.rounds_last:
            return (normal * factor).astype(x.dtype)
        return normal.astype(x.dtype) * factor.astype(x.dtype)


def normalised(x: Array, epsilon: float) -> Array:
    """x / √(mean(x²) + ε) over the last axis, f32 of the shape of x."""
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide * wide, -1, keepdims=True)
    return wide * jax.lax.rsqrt(mean + epsilon)


def norm(config: DecoderConfig, param_dtype: Any, name: str) -> Norm:
    """A norm of this decoder."""
    # As Gemma and OLMo do, and Qwen3.5, but no others.
    rounds_last = config.unit_offset or config.sandwich_norm
    return Norm(
        config.norm_epsilon, config.unit_offset, param_dtype, rounds_last, name=name
    )


class Rotation(NamedTuple):
    """The rotary embedding of tokens.

    Attributes:
      cos, sin: f32[B, L, R / 2], of R numbers of a head that are rotated.
      growth: f32[B, L], what queries are multiplied by; None for 1.
    """

    cos: Array
    sin: Array
    growth: Array | None = None


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotates pairs (k, k + R/2) of the first R; x [B, L, H, D], cos f32[B, L, R/2]."""
    size = 2 * cos.shape[-1]
    left, right = jnp.split(x[..., :size].astype(jnp.float32), 2, -1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    turned = [left * cos - right * sin, right * cos + left * sin]
    if size == x.shape[-1]:
        return jnp.concatenate(turned, -1).astype(x.dtype)
    turned = [part.astype(x.dtype) for part in turned]
    return jnp.concatenate([*turned, x[..., size:]], -1)


class Attention(nn.Module):
    """Causal grouped-query attention, with or without a KV cache.

    Attributes:
      config, dtype, param_dtype: of the decoder.
      block: which of its blocks of attention this is.
      is_shared: whether it has no keys and values of its own.
    """

    config: DecoderConfig
    dtype: Any
    param_dtype: Any
    block: str = ATTENTION
    is_shared: bool = False

    @nn.compact
    def __call__(
        self,
        x: Array,
        rope: Rotation,
        attend,
        route: Route | None,
    ) -> tuple[Array, Any]:
        """One layer.

        Args:
          x: [B, L, D].
          rope: of the tokens.
          attend: function of queries [B, L, heads, head_dim], of this layer's keys and
            values, [B, kv_heads, L, head_dim], and of the scale of logits, that adds
            keys and values to the cache, and returns what the queries attend to,
            [B, L, heads, head_dim], and the new cache. Keys and values are None where
            they are shared.
          route: adapters.

        Returns:
          [B, L, D], and the new cache.
        """
        config = self.config
        batch, length, _ = x.shape
        num_kv_heads, head_dim = config.heads(self.block)

        def linear(name: str, features: int, use_bias: bool) -> Linear:
            return Linear(features, use_bias, self.dtype, self.param_dtype, name=name)

        def project(name: str, features: int) -> Array:
            return linear(name, features, config.attention_bias)(x, route)

        def heads(name: str, y: Array, count: int, normed: bool = True) -> Array:
            if normed and config.joint_qk_norm:
                y = norm(config, self.param_dtype, f"{name}_norm")(y)
            y = y.reshape(batch, length, count, head_dim)
            if normed and config.qk_norm:
                y = norm(config, self.param_dtype, f"{name}_norm")(y)
            return y

        width, narrow = (x * head_dim for x in (config.num_heads, num_kv_heads))
        query, gate = project("query", width * (1 + config.output_gate)), None
        if config.output_gate:
            pairs = query.reshape(batch, length, config.num_heads, 2, head_dim)
            query, gate = (pairs[..., i, :].reshape(batch, length, -1) for i in (0, 1))
        query = heads("query", query, config.num_heads)
        cos, sin, growth = rope
        query, key, value = rotate(query, cos, sin), None, None
        if growth is not None:
            query = query * growth[:, :, None, None].astype(query.dtype)
        if not self.is_shared:
            key = value = project("key", narrow)
            if not (config.keys_as_values and self.block == FULL_ATTENTION):
                value = project("value", narrow)
            key = rotate(heads("key", key, num_kv_heads), cos, sin).swapaxes(1, 2)
            value = heads("value", value, num_kv_heads, False).swapaxes(1, 2)
            if config.value_norm:
                value = normalised(value, config.norm_epsilon).astype(value.dtype)
        scale = config.query_scale or head_dim**-0.5
        y, kept = attend(query, key, value, scale)
        y = y.reshape(batch, length, width)
        if gate is not None:
            y = y * jax.nn.sigmoid(gate)
        output = linear("output", config.hidden_size, config.output_bias)
        return output(y, route), kept


def _activated(config: DecoderConfig, gate: Array) -> Array:
    if config.activation == "silu":
        return jax.nn.silu(gate)
    return jax.nn.gelu(gate, approximate=True)


class MLP(nn.Module):
    """down(activation(gate(x)) · up(x)), of the width of a block."""

    config: DecoderConfig
    dtype: Any
    param_dtype: Any
    block: str = "mlp"

    @nn.compact
    def __call__(self, x: Array, route: Route | None) -> Array:
        """x [B, L, D] → [B, L, D]."""
        config = self.config

        def linear(name: str, features: int) -> Linear:
            types = self.dtype, self.param_dtype
            return Linear(features, config.mlp_bias, *types, name=name)

        width = config.width(self.block)
        gate, up = linear("gate", width)(x, route), linear("up", width)(x, route)
        hidden = _activated(config, gate) * up
        return linear("down", config.hidden_size)(hidden, route)


class LayerInputs(nn.Module):
    """A vector for each layer of each token, [B, L, layers, P].

        e = √P · table[token]          p = norm(D^(−1/2) · x W)
        (p + e) / √2

    x [B, L, D] is the token's embedding as the first layer gets it.
    """

    config: DecoderConfig
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, tokens: Array, x: Array) -> Array:
        """Tokens i32[B, L] and x [B, L, D] → [B, L, layers, P]."""
        config, size = self.config, self.config.per_layer_size
        whole = config.num_layers * size
        shape = config.vocab_size, whole
        init = nn.initializers.normal(0.02)
        table = self.param("embedding", init, shape, self.param_dtype)
        scales = (
            jnp.asarray(number**power, self.dtype)
            for number, power in ((size, 0.5), (config.hidden_size, -0.5), (2, -0.5))
        )
        of_token, of_width, of_both = scales
        own = look_up(table, tokens).astype(self.dtype) * of_token
        types = self.dtype, self.param_dtype
        seen = Linear(whole, False, *types, name="projection")(x, None) * of_width
        shape = *tokens.shape, config.num_layers, size
        seen = norm(config, self.param_dtype, "norm")(seen.reshape(shape))
        return (seen + own.reshape(shape)) * of_both


class LayerInput(nn.Module):
    """W (activation(x U) · own): what a layer adds that comes of a token's own vector.

    The vector is one of `LayerInputs`.
    """

    config: DecoderConfig
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: Array, own: Array) -> Array:
        """x [B, L, D] and own [B, L, P] → [B, L, D]."""
        config, types = self.config, (self.dtype, self.param_dtype)
        gate = Linear(config.per_layer_size, False, *types, name="gate")(x, None)
        output = Linear(config.hidden_size, False, *types, name="output")
        return output(_activated(config, gate) * own, None)


class _Kernels(nn.Module):
    """A matrix for each expert, the variable "kernels" [experts, in, out]."""

    shape: tuple[int, int, int]
    param_dtype: Any

    @nn.compact
    def __call__(self) -> Array:
        return self.param("kernels", _INIT, self.shape, self.param_dtype)


class Experts(nn.Module):
    """Σ_e p_e · MLP_e(x) over the experts e of the largest probabilities p.

    The probabilities are a softmax of x W over all experts, in float32.
    """

    config: DecoderConfig
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: Array, route: Route | None) -> Array:
        """x [B, L, D] → [B, L, D]."""
        del route  # there are no adapters of experts
        config = self.config
        count, outer, inner = (
            config.num_experts,
            config.hidden_size,
            config.intermediate_size,
        )
        types = self.dtype, self.param_dtype
        score = Linear(count, False, *types, name="router")(x, None)
        prob = jax.nn.softmax(score.astype(jnp.float32))
        prob, chosen = jax.lax.top_k(prob, config.experts_per_token)
        if config.normalise_experts:
            prob = prob / jnp.sum(prob, -1, keepdims=True)

        def kernels(name: str, num_in: int, num_out: int) -> Array:
            found = _Kernels((count, num_in, num_out), self.param_dtype, name=name)()
            return found.astype(self.dtype)

        gate, up = kernels("gate", outer, inner), kernels("up", outer, inner)
        down = kernels("down", inner, outer)
        mix = functools.partial(_mixed, config)
        return by_tokens(mix, (x, prob.astype(x.dtype), chosen), (gate, up), down)


def _mixed(
    config: DecoderConfig, tokens: tuple[Array, ...], inward: tuple[Array, ...], down
) -> Array:
    """The sum of `Experts` [B, L, D], from tokens (x, p and e [B, L, k]) and kernels.

    Tokens are sorted by expert, once for each that they go to, so that each expert
    multiplies a block of rows.
    """
    x, prob, chosen = tokens
    each = chosen.shape[-1]
    expert = chosen.reshape(-1)
    order = jnp.argsort(expert)
    counts = jnp.zeros(config.num_experts, jnp.int32).at[expert].add(1)
    rows = x.reshape(-1, x.shape[-1])[order // each]
    gate, up = (jax.lax.ragged_dot(rows, kernels, counts) for kernels in inward)
    y = jax.lax.ragged_dot(_activated(config, gate) * up, down, counts)
    y = y[jnp.argsort(order)].reshape(*chosen.shape, -1)
    return jnp.sum(y * prob[..., None], -2)
