"""Grouped-query attention: with scores, without them, and over a cache in blocks.

On CPUs scores are a matrix of all queries and keys, which is fastest there. On
accelerators that matrix is what takes memory and time, and is not made: sequences
without a cache go through a fused kernel (flash attention, arXiv:2205.14135), JAX's own
splash attention on TPUs and cuDNN's on GPUs; queries of a cache take its slots block by
block, up to the last that is in use.

Which one is used follows from the devices of the mesh in use; see `platform`.
"""

import functools
import math
from typing import Any, NamedTuple, Protocol, cast

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from aajax.lm.model.cache import Cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES, BATCH, dividing
from aajax.types import AnyArray, Array

LANES = 128  # sequences of splash attention are multiples of it
BLOCK = 512  # most queries and keys of a tile of splash attention
SLOTS = 1024  # of a cache that are read at once
SCORES = 2**20  # that stay in a CPU's cache


class Layer(NamedTuple):
    """What differs between layers.

    Attributes:
      is_sliding: bool[], whether attention is over the last `window` positions.
      number: i32[], of the layer, if keys and values are those of all layers.
      own: keys and values of the queries' tokens, [B, K, L, D], with a cache.
    """

    is_sliding: Array
    number: Array | None = None
    own: tuple[Array, Array] | None = None


class Attend(Protocol):
    """Which keys queries attend to, and how it is computed."""

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """softmax(capped(scale · q kᵀ)) v, with the softmax in float32.

        Args:
          query: [B, L, H, D]; groups of H / K heads share keys and values.
          key, value: [B, K, S, D], or [layers, B, K, S, D] with `layer.number`.
          layer: that it is computed for.
          scale: of the logits.

        Returns:
          [B, L, H, D]; arbitrary and finite at padding.
        """
        ...


def platform() -> str:
    """Where a program is going to run: cpu, tpu, cuda (NVIDIA's GPUs) or another.

    That of the mesh in use, which may be of devices that are not there, or without one
    that of JAX's default device.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    if device is None:
        device = jax.local_devices()[0]
    is_amd = device.device_kind.startswith(("AMD", "gfx"))
    return "cuda" if device.platform == "gpu" and not is_amd else device.platform


def fused_kernel(config: DecoderConfig, dtype: jnp.dtype) -> str | None:
    """Which fused kernel sequences without a cache go through; None for scores.

    cuDNN's takes numbers of 16 bits, and heads of at most 128 in multiples of 8; it
    has no caps.
    """
    where = platform()
    if where == "tpu":
        return "splash"
    small = jnp.dtype(dtype).itemsize == 2
    sizes = config.head_dim, config.full_head_dim or config.head_dim
    if (
        where == "cuda"
        and small
        and all(x % 8 == 0 and x <= 128 for x in sizes)
        and config.attention_cap is None
    ):
        return "cudnn"
    return None


def attend_to(
    config: DecoderConfig, positions: Array, cache: Cache | None, dtype: jnp.dtype
) -> Attend:
    """How queries at these positions attend.

    Args:
      config: static.
      positions: i32[B, L], −1 for padding; in order where `is_in_order` says so.
      cache: that has the keys; None if they are those of the same tokens.
      dtype: of the computation.
    """
    kernel = fused_kernel(config, dtype)
    if cache is None and kernel is not None:
        kinds = frozenset(config.sliding or (False,))
        return Fused(kinds, config.window, kernel, config.attention_cap)
    if cache is not None and is_in_order(config, positions, cache, dtype):
        return piece_at(config, positions, cache.size)
    if cache is not None and platform() != "cpu":
        return blocks_in_use(config, positions, cache.size)
    return masked(config, positions, cache)


@flax.struct.dataclass
class Masked:
    """Attention by the matrix of all scores.

    Attributes:
      full: bool[B, L, S], which keys a query sees in full layers.
      local: the same in sliding layers; None if there are none.
      cap: of scores; see `capped`.
    """

    full: Array
    local: Array | None
    cap: float | None = flax.struct.field(pytree_node=False, default=None)

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """See `Attend`."""
        mask = self.full
        if self.local is not None:
            mask = jnp.where(layer.is_sliding, self.local, self.full)
        if layer.number is not None:
            key, value = key[layer.number], value[layer.number]
        key, value = key.astype(query.dtype), value.astype(query.dtype)
        if layer.own is None:
            return attend(query, key, value, mask, scale, self.cap)
        options = {"scale": scale, "cap": self.cap}
        return attend_in_parts(query, key, value, mask, **options)


def masked(config: DecoderConfig, positions: Array, cache: Cache | None) -> Masked:
    """Masks of queries at these positions."""
    if cache is None:
        at = positions[:, None]
    else:
        at = jnp.arange(cache.size, dtype=jnp.int32)[None, None]
    query = positions[:, :, None]
    full = (at >= 0) & (at <= query)
    if config.window is None or not any(config.sliding):
        return Masked(full, None, config.attention_cap)
    local = full & (query - at < config.window)
    return Masked(full, local, config.attention_cap)


class AfterOpening(NamedTuple):
    """Attention of one sequence that is an opening, and B of L tokens that follow it.

    Attributes:
      opening: masks of the opening's queries, [1, O, O].
      rest: those of the other sequences, [B, L, O + L].
    """

    opening: Masked
    rest: Masked

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """See `Attend`."""
        batch, length, both = self.rest.full.shape
        size = both - length
        first = self.opening(
            query[:, :size], key[:, :, :size], value[:, :, :size], layer, scale
        )

        def whole(x: Array) -> Array:
            """[1, K, O + B L, D] → [B, K, O + L, D]."""
            _, heads, _, width = x.shape
            own = x[0, :, size:].reshape(heads, batch, length, width).swapaxes(0, 1)
            begun = jnp.broadcast_to(x[:, :, :size], (batch, heads, size, width))
            return jnp.concatenate([begun, own], 2)

        rows = query[0, size:].reshape(batch, length, *query.shape[2:])
        rest = self.rest(rows, whole(key), whole(value), layer, scale)
        return jnp.concatenate([first, rest.reshape(1, -1, *rest.shape[2:])], 1)


def after_opening(config: DecoderConfig, positions: Array, size: int) -> AfterOpening:
    """Attention of sequences at these positions, i32[B, L], after O = `size` tokens."""
    place = jnp.arange(size, dtype=jnp.int32)
    begun = jnp.broadcast_to(place, (len(positions), size))
    every = jnp.concatenate([begun, positions], 1)
    rest = masked(config, every, None)
    rest = jax.tree.map(lambda mask: mask[:, size:], rest)
    return AfterOpening(masked(config, place[None], None), rest)


@flax.struct.dataclass
class Blocks:
    """Attention to a cache, block by block, with the softmax of what was seen so far.

    As many slots are read as the longest sequence has, not all that there are, and
    scores exist for one block at a time. It has no gradient.

    Attributes:
      positions: i32[B, L], −1 for padding.
      first: i32[2], first block that a query sees in full and in sliding layers.
      end: i32[], the block after the last that a query sees.
      window: of sliding layers, in tokens; None if there are none.
      cap: of scores; see `capped`.
    """

    positions: Array
    first: Array
    end: Array
    window: int | None = flax.struct.field(pytree_node=False)
    cap: float | None = flax.struct.field(pytree_node=False, default=None)

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """See `Attend`."""
        number_of_layer = 0 if layer.number is None else layer.number
        if layer.number is None:
            key, value = key[None], value[None]
        batch, length, num_heads, size = query.shape
        _, _, num_kv_heads, num_slots, _ = key.shape
        block = min(SLOTS, num_slots)
        rows = query.reshape(batch, length, num_kv_heads, -1, size)
        rows = rows.transpose(0, 2, 3, 1, 4)  # [B, K, H / K, L, D]
        reach = None
        if self.window is not None:
            everything = jnp.iinfo(jnp.int32).max
            reach = jnp.where(layer.is_sliding, self.window, everything)

        def read(number: Array, seen: tuple[Array, Array, Array]):
            top, total, sums = seen
            # The last block begins earlier where slots are no multiple of blocks.
            start = jnp.minimum(number * block, num_slots - block)
            at = (number_of_layer, 0, 0, start, 0)
            shape = (1, batch, num_kv_heads, block, size)
            keys, values = (
                jax.lax.dynamic_slice(x, at, shape)[0].astype(query.dtype)
                for x in (key, value)
            )
            slot = start + jnp.arange(block, dtype=jnp.int32)
            distance = self.positions[:, :, None] - slot[None, None]
            mask = (distance >= 0) & (slot >= number * block)[None, None]
            if reach is not None:
                mask &= distance < reach
            score = jnp.einsum(
                "bkgld,bksd->bkgls", rows, keys, preferred_element_type=jnp.float32
            )
            low = jnp.finfo(jnp.float32).min
            score = capped(score * jnp.float32(scale), self.cap)
            score = jnp.where(mask[:, None, None], score, low)
            above = jnp.maximum(top, jnp.max(score, -1, keepdims=True))
            weight = jnp.where(mask[:, None, None], jnp.exp(score - above), 0.0)
            less = jnp.exp(top - above)
            more = jnp.einsum(
                "bkgls,bksd->bkgld", weight.astype(values.dtype), values,
                preferred_element_type=jnp.float32,
            )  # fmt: skip
            total = total * less + jnp.sum(weight, -1, keepdims=True)
            return above, total, sums * less + more

        one = (*rows.shape[:-1], 1)
        nothing = (
            jnp.full(one, jnp.finfo(jnp.float32).min),
            jnp.zeros(one, jnp.float32),
            jnp.zeros(rows.shape, jnp.float32),
        )
        first = self.first[layer.is_sliding.astype(jnp.int32)]
        _, total, sums = jax.lax.fori_loop(first, self.end, read, nothing)
        # Padding sees nothing.
        y = sums / jnp.where(total == 0, 1.0, total)
        y = y.astype(query.dtype).transpose(0, 3, 1, 2, 4)
        return y.reshape(batch, length, num_heads, size)


def blocks_in_use(config: DecoderConfig, positions: Array, num_slots: int) -> Blocks:
    """Which blocks queries at these positions see, in a cache of so many slots."""
    block = min(SLOTS, num_slots)
    window = config.window if any(config.sliding) else None
    end = jnp.max(positions) // block + 1
    first = jnp.zeros(2, jnp.int32)
    if window is not None:
        earliest = jnp.min(jnp.where(positions < 0, num_slots, positions))
        nearest = jnp.maximum(earliest - window + 1, 0) // block
        first = jnp.stack([jnp.zeros_like(nearest), nearest])
    return Blocks(positions, first, end, window, config.attention_cap)


@flax.struct.dataclass
class Piece:
    """Attention of a piece of a prompt by splash attention, on TPUs.

    Tokens of the piece attend to each other causally, and all of them to what their
    sequence had before, block by block; parts of a softmax are put together by the
    logarithms of their sums. It has no gradient.

    Attributes:
      before: i32[B], slots that were in use, to which all tokens of a row attend.
      end: i32[], the block after the last of them.
      cap: of scores; see `capped`.
    """

    before: Array
    end: Array
    cap: float | None = flax.struct.field(pytree_node=False, default=None)

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """See `Attend`."""
        assert layer.number is not None and layer.own is not None
        own_key, own_value = (x.astype(query.dtype) for x in layer.own)
        kernel = functools.partial(KERNELS["piece"], scale=scale, cap=self.cap)
        mesh = jax.sharding.get_abstract_mesh()
        if not mesh.empty and set(AXES) <= set(mesh.axis_names):
            of_own = dividing(mesh, P(BATCH, "tensor", None, None), own_key.shape)
            rows, heads, *_ = of_own
            of_queries, of_cache = P(rows, None, heads, None), P(None, *of_own)
            kernel = jax.shard_map(
                kernel,
                mesh=mesh,
                in_specs=(
                    *(of_queries, (of_own, of_own), (of_cache, of_cache)),
                    *((P(), P()), P(rows)),
                ),
                out_specs=of_queries,
                check_vma=False,
            )
        own, cache = (own_key, own_value), (key, value)
        return kernel(query, own, cache, (layer.number, self.end), self.before)


def is_in_order(
    config: DecoderConfig, positions: AnyArray, cache: Cache | None, dtype: jnp.dtype
) -> bool:
    """Whether a kernel is going to be used that needs positions `in_order`.

    With a cache splash attention alone, and not for all shapes; others go by blocks. A
    window over what was before is not the same for all tokens of a row. Caches are
    not repeated for tensor axes that do not divide their heads, and few queries would
    be padded to 128.
    """
    kernel = fused_kernel(config, dtype)
    if cache is None:
        return kernel is not None
    tensor = dict(jax.sharding.get_abstract_mesh().shape).get("tensor", 1)
    return (
        kernel == "splash"
        and not any(config.sliding)
        and positions.shape[1] >= LANES // 2
        and cache.size % LANES == 0
        and not cache.is_apart
        and config.num_kv_heads % tensor == 0
    )


def piece_at(config: DecoderConfig, positions: Array, num_slots: int) -> Piece:
    """Tokens at these positions, in order, of a cache of so many slots."""
    block = math.gcd(SLOTS, num_slots)
    before = jnp.maximum(positions[:, 0], 0)
    end = (jnp.max(before) + block - 1) // block
    return Piece(before, end, config.attention_cap)


def splash_piece(
    query: Array,
    own: tuple[Array, Array],
    cache: tuple[Array, Array],
    which: tuple[Array, Array],
    before: Array,
    *,
    scale: float,
    cap: float | None = None,
    interpret: bool = False,
) -> Array:
    """`Piece` on one device.

    Args:
      query: [B, L, H, D].
      own: keys and values of the same tokens, [B, K, L, D].
      cache: keys and values of all, [layers, B, K, S, D].
      which: i32[] each: the layer, and the end of the blocks of slots to be read.
      before: i32[B], slots in use before these tokens.
      scale: of the logits.
      cap: of the logits; see `capped`.
      interpret: whether to emulate the kernel, for tests on CPUs.
    """
    tpu = _splash_attention()
    index, end = which
    batch, length, num_heads, size = query.shape
    num_kv_heads, num_slots = cache[0].shape[2:4]
    padding, group = -length % LANES, num_heads // num_kv_heads
    padded, slots = length + padding, math.gcd(SLOTS, num_slots)
    query = query * jnp.asarray(scale, query.dtype)
    query = jnp.pad(query, ((0, 0), (0, padding), (0, 0), (0, 0)))
    widths = ((0, 0), (0, 0), (0, padding), (0, 0))
    own = jnp.pad(own[0], widths), jnp.pad(own[1], widths)
    rows = query.reshape(batch, padded, num_kv_heads, group, size)
    rows = rows.transpose(0, 2, 3, 1, 4)

    def kernel(mask):
        blocks = [math.gcd(BLOCK, number) for number in mask.shape]
        return tpu.make_splash_mqa_single_device(
            tpu.MultiHeadMask([mask] * group),
            block_sizes=tpu.BlockSizes(blocks[0], blocks[1]),
            save_residuals=True,
            attn_logits_soft_cap=cap,
            interpret=interpret,
        )

    causal = jax.vmap(jax.vmap(kernel(tpu.CausalMask((padded, padded)))))
    whole = kernel(tpu.FullMask((padded, slots)))
    whole = jax.vmap(jax.vmap(whole, (0, 0, 0, None)), (0, 0, 0, 0))
    y, (log_sum,) = causal(rows, *own)

    def read(number: Array, seen: tuple[Array, Array]):
        y, log_sum = seen
        at = (index, 0, 0, number * slots, 0)
        shape = (1, batch, num_kv_heads, slots, size)
        keys, values = (
            jax.lax.dynamic_slice(x, at, shape)[0].astype(query.dtype) for x in cache
        )
        slot = number * slots + jnp.arange(slots, dtype=jnp.int32)
        is_old = (slot[None] < before[:, None]).astype(jnp.int32)
        segments = tpu.SegmentIds(q=jnp.ones((batch, padded), jnp.int32), kv=is_old)
        more, (log_more,) = whole(rows, keys, values, segments)
        both = jnp.logaddexp(log_sum, log_more)
        share, other = (jnp.exp(x - both)[..., None] for x in (log_sum, log_more))
        return y * share + more.astype(jnp.float32) * other, both

    seen = y.astype(jnp.float32), log_sum
    y, _ = jax.lax.fori_loop(0, end, read, seen)
    y = y.astype(query.dtype).transpose(0, 3, 1, 2, 4)
    return y.reshape(batch, padded, num_heads, size)[:, :length]


@flax.struct.dataclass
class Fused:
    """Attention of sequences to themselves by a fused kernel, in order of position.

    Attributes:
      kinds: whether layers are sliding ones, others, or both.
      window: of sliding layers, in tokens.
      kernel: a key of `KERNELS`.
      cap: of scores, for a kernel that has it; see `capped`.
    """

    kinds: frozenset[bool] = flax.struct.field(pytree_node=False)
    window: int | None = flax.struct.field(pytree_node=False)
    kernel: str = flax.struct.field(pytree_node=False)
    cap: float | None = flax.struct.field(pytree_node=False, default=None)

    def __call__(
        self, query: Array, key: Array, value: Array, layer: Layer, scale: float
    ) -> Array:
        """See `Attend`."""
        kernel = KERNELS[self.kernel]
        if self.cap is not None:
            kernel = functools.partial(kernel, cap=self.cap)

        def kind(window: int | None):
            local = functools.partial(kernel, window=window, scale=scale)
            return functools.partial(on_each_device, local)

        if self.kinds == {True, False}:
            arms = kind(self.window), kind(None)
            return jax.lax.cond(layer.is_sliding, *arms, query, key, value)
        return kind(self.window if True in self.kinds else None)(query, key, value)


def in_order(positions: Array) -> tuple[Array, Array]:
    """Indices i32[B, L] that put positions in order, padding last, and their inverse.

    In that order a query sees those keys that are not after it.
    """
    last = jnp.iinfo(jnp.int32).max
    order = jnp.argsort(jnp.where(positions < 0, last, positions), axis=1, stable=True)
    return order, jnp.argsort(order, axis=1)


def on_each_device(kernel: Any, query: Array, key: Array, value: Array) -> Array:
    """Runs a kernel on each device of the mesh in use, on its rows and heads.

    Compilers cannot split kernels. Rows are split over data and fsdp, heads over
    tensor; where there are fewer heads of keys than devices, several devices have the
    same one.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not set(AXES) <= set(mesh.axis_names):
        return kernel(query, key, value)
    num_heads, num_kv_heads = query.shape[2], key.shape[1]
    copies = math.lcm(num_kv_heads, mesh.shape["tensor"]) // num_kv_heads
    if copies > 1 and num_heads % (copies * num_kv_heads) == 0:
        key, value = (jnp.repeat(x, copies, 1) for x in (key, value))
    of_keys = dividing(mesh, P(BATCH, "tensor", None, None), key.shape)
    rows, heads, *_ = of_keys
    of_queries = P(rows, None, heads, None)
    split = jax.shard_map(
        kernel,
        mesh=mesh,
        in_specs=(of_queries, of_keys, of_keys),
        out_specs=of_queries,
        # Kernels do not say over what their results vary.
        check_vma=False,
    )
    return split(query, key, value)


def splash(
    query: Array,
    key: Array,
    value: Array,
    *,
    window: int | None,
    scale: float,
    cap: float | None = None,
    interpret: bool = False,
) -> Array:
    """Causal attention by JAX's splash attention, a kernel for TPUs.

    Scores are of products in the queries' dtype, summed in float32. Queries are scaled
    before, which in bfloat16 rounds them once more, by at most 2⁻⁹ of themselves.

    Args:
      query, key, value: as in `Attend`, with S = L.
      window: keys that a query sees, its own included; None for all before it.
      scale: of the logits.
      cap: of the logits; see `capped`.
      interpret: whether to emulate the kernel, for tests on CPUs.
    """
    tpu = _splash_attention()
    batch, length, num_heads, size = query.shape
    num_kv_heads, padding = key.shape[1], -length % LANES
    # Keys after the last query are seen by none of those that are kept.
    query = jnp.pad(query, ((0, 0), (0, padding), (0, 0), (0, 0)))
    key, value = (
        jnp.pad(x, ((0, 0), (0, 0), (0, padding), (0, 0))) for x in (key, value)
    )
    padded = length + padding
    block = math.gcd(BLOCK, padded)
    blocks = tpu.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block,
        block_q_dkv=block, block_kv_dkv=block, block_kv_dkv_compute=block,
        block_q_dq=block, block_kv_dq=block,
    )  # fmt: skip
    square, group = (padded, padded), num_heads // num_kv_heads
    if window is None:
        mask = tpu.CausalMask(square)
    else:
        mask = tpu.LocalMask(square, (window - 1, 0), 0)
    attend_group = tpu.make_splash_mqa_single_device(
        tpu.MultiHeadMask([mask] * group), block_sizes=blocks, attn_logits_soft_cap=cap,
        interpret=interpret,
    )  # fmt: skip
    query = query * jnp.asarray(scale, query.dtype)
    groups = query.reshape(batch, padded, num_kv_heads, group, size)
    groups = groups.transpose(0, 2, 3, 1, 4)
    y = cast(Array, jax.vmap(jax.vmap(attend_group))(groups, key, value))
    y = y.transpose(0, 3, 1, 2, 4).reshape(batch, padded, num_heads, size)
    return y[:, :length].astype(query.dtype)


def _splash_attention() -> Any:
    """JAX's package of it, which takes long to import and is for TPUs."""
    from jax.experimental.pallas.ops.tpu import splash_attention

    return splash_attention


def cudnn(
    query: Array, key: Array, value: Array, *, window: int | None, scale: float
) -> Array:
    """Causal attention by cuDNN, for NVIDIA's GPUs; arguments as of `splash`."""
    length = query.shape[1]
    # It has gradients for even lengths alone. Nobody sees a key after the last query.
    more = ((0, 0), (0, length % 2), (0, 0), (0, 0))
    key, value = key.swapaxes(1, 2), value.swapaxes(1, 2)
    query, key, value = (jnp.pad(x, more) for x in (query, key, value))
    y = jax.nn.dot_product_attention(
        query, key, value, scale=scale, is_causal=True,
        local_window_size=None if window is None else (window - 1, 0),
        implementation="cudnn",
    )  # fmt: skip
    return y[:, :length]


KERNELS: dict[str, Any] = {"splash": splash, "cudnn": cudnn, "piece": splash_piece}


def capped(score: Array, cap: float | None) -> Array:
    """cap · tanh(score / cap), which is within ±cap; the score for None."""
    if cap is None:
        return score
    return jnp.float32(cap) * jnp.tanh(score / jnp.float32(cap))


def attend(
    query: Array,
    key: Array,
    value: Array,
    mask: Array,
    scale: float,
    cap: float | None = None,
) -> Array:
    """Masked attention softmax(capped(scale · q kᵀ)) v, the softmax in float32.

    Keys and values have the layout of the cache, to avoid transposing it.

    Args:
      query: [B, L, H, D]; groups of H / K heads share keys and values.
      key, value: [B, K, S, D].
      mask: bool[B, L, S]; a fully masked query gives an arbitrary finite result.
      scale: of the logits.
      cap: of the logits; see `capped`.

    Returns:
      [B, L, H, D].
    """
    batch, length, num_heads, size = query.shape
    by_key = batch, key.shape[1], num_heads // key.shape[1], length
    groups = query.reshape(batch, length, *by_key[1:3], size)
    # A group's queries are rows of one matrix: of products with more axes CPUs make
    # copies, four times as slow for a single token.
    rows = groups.transpose(0, 2, 3, 1, 4).reshape(*by_key[:2], -1, size)
    score = jnp.einsum("bknd,bksd->bkns", rows, key, preferred_element_type=jnp.float32)
    score = score.reshape(*by_key, -1)
    # Added, and not chosen in place of the score: a CPU is slow to choose.
    bias = jnp.where(mask, jnp.float32(0.0), jnp.finfo(jnp.float32).min)
    score = capped(score * jnp.float32(scale), cap) + bias[:, None, None]
    weight = jax.nn.softmax(score).astype(value.dtype)
    weight = weight.reshape(*rows.shape[:3], -1)
    y = jnp.einsum("bkns,bksd->bknd", weight, value).reshape(*by_key, size)
    return y.transpose(0, 3, 1, 2, 4).reshape(batch, length, num_heads, size)


def attend_in_parts(
    query: Array, key: Array, value: Array, mask: Array, **options: Any
) -> Array:
    """`attend`, of so few sequences at a time that a CPU keeps their scores at hand.

    More scores are written to memory and read again several times. On a mesh sequences
    stay together: a loop over those of all devices would move them between devices.

    Args:
      query, key, value, mask: as of `attend`.
      options: its scale and cap.
    """
    batch, length, num_heads, _ = query.shape
    of_row = num_heads * length * key.shape[2]
    is_split = not jax.sharding.get_abstract_mesh().empty
    few = functools.partial(attend, **options)
    if is_split or batch * of_row <= 4 * SCORES:
        return few(query, key, value, mask)
    most = min(batch, max(1, SCORES // of_row))
    rows = next(n for n in range(most, 0, -1) if batch % n == 0)
    parts = jax.tree.map(
        lambda x: x.reshape(batch // rows, rows, *x.shape[1:]),
        (query, key, value, mask),
    )
    y = jax.lax.map(lambda part: few(*part), parts)
    return y.reshape(query.shape)
