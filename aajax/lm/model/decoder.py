"""The decoder: a scan over layers, for all families, with or without a KV cache."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from aajax.errors import InputError
from aajax.lm.model import attention
from aajax.lm.model.attention import capped
from aajax.lm.model.cache import Cache, Memory, empty_memory
from aajax.lm.model.config import (
    ATTENTION,
    DELTA,
    FULL_ATTENTION,
    DecoderConfig,
    Rope,
)
from aajax.lm.model.constraints import look_up, over_batch
from aajax.lm.model.delta import DeltaNet
from aajax.lm.model.layers import (
    LINEAR,
    MLP,
    Attention,
    Experts,
    LayerInput,
    LayerInputs,
    Rotation,
    Route,
    norm,
    product,
    route_of_all,
    route_to,
)
from aajax.lm.model.precision import is_rounded
from aajax.types import AnyArray, Array, PRNGKey, PyTree

LAYER = "layer_{}"  # of params that are taken apart
# What is kept for gradients on CPUs. The rest, scores of attention above all, is
# computed again: it takes more memory than time.
_KEPT = jax.checkpoint_policies.save_only_these_names(LINEAR)


class Adapters(NamedTuple):
    """n stacked LoRA adapters of equal rank r; see `lora`.

    Attributes:
      weights: the tree of the layers' params, with leaves a [layers, n, in, r] and
        b [layers, n, r, out] in place of kernels.
      scale: f32[n], alpha / rank of each.
    """

    weights: PyTree
    scale: Array


class _Kind(NamedTuple):
    """What differs between layers.

    Attributes:
      is_sliding: bool[], whether attention is over a window.
      is_rotated: bool[], whether there is a rotary embedding.
    """

    is_sliding: Array
    is_rotated: Array


class _Extra(NamedTuple):
    """What layers that differ get beside what the layer before made of tokens.

    Attributes:
      shared: keys and values [B, kv_heads, S, head_dim] of another layer, to which this
        one attends; None for its own.
      own: [B, L, P], the tokens' own vectors of this layer; None without.
    """

    shared: tuple[Array, Array] | None = None
    own: Array | None = None


class _Layer(nn.Module):
    """A layer.

    Attributes:
      config, dtype, param_dtype: of the decoder.
      number: of the layer; None if layers do not differ.
    """

    config: DecoderConfig
    dtype: Any
    param_dtype: Any
    number: int | None = None

    @nn.compact
    def __call__(self, carry, index, kind, positions, ropes, seen, route, extra):
        config = self.config
        mixer, is_shared, is_source = ATTENTION, False, False
        if self.number is not None:
            mixer = config.mixer(self.number)
            is_shared = config.source(self.number) != self.number
            is_source = self.number in config.sources
        x, key_cache, value_cache = carry
        read = None

        def attend(query: Array, key: Array, value: Array, scale: float):
            nonlocal read
            alone = attention.Layer(kind.is_sliding)
            if is_shared:
                return seen(query, *extra.shared, alone, scale), (None, None)
            if key_cache is None:
                read = key, value
                return seen(query, key, value, alone, scale), (None, None)
            batch = jnp.arange(positions.shape[0])[:, None, None]
            head = jnp.arange(key.shape[1])[None, :, None]
            # Padding's position is below 0, and below 0 would count from the end.
            slot = jnp.where(positions < 0, key_cache.shape[-2], positions)[:, None]
            at = batch, head, slot
            if index is not None:
                at = index, *at
            keys = key_cache.at[at].set(key.astype(key_cache.dtype), mode="drop")
            values = value_cache.at[at].set(value.astype(key_cache.dtype), mode="drop")
            layer = attention.Layer(kind.is_sliding, index, (key, value))
            read = keys, values
            return seen(query, keys, values, layer, scale), (keys, values)

        types = self.dtype, self.param_dtype
        y = self._before("attention_norm", x)
        if mixer == DELTA:
            assert config.delta is not None
            # Of a recurrent layer `carry` has inputs and state.
            memory = empty_memory(config.delta, len(x), self.dtype)
            if key_cache is not None:
                memory = Memory(key_cache, value_cache)
            block = DeltaNet(config, *types, name=DELTA)
            y, kept = block(y, positions >= 0, memory, route)
            kept = (None, None) if key_cache is None else kept
        else:
            block = Attention(config, *types, mixer, is_shared, name=mixer)
            rope = _rope_of(config, kind, ropes, mixer)
            y, kept = block(y, rope, attend, route)
        x = self._added(x, "post_attention_norm", y)
        x = self._added(x, "post_mlp_norm", self._mlp(x, route))
        x = self._finished(x, extra.own)
        return (over_batch(x), *kept), read if is_source else None

    def _mlp(self, x: Array, route: Route | None) -> Array:
        config, types = self.config, (self.dtype, self.param_dtype)
        read = self._before("mlp_norm", x)
        if config.num_experts:
            return Experts(config, *types, name="mlp")(read, route)
        block = "mlp" if self.number is None else config.mlp(self.number)
        return MLP(config, *types, block, name=block)(read, route)

    def _finished(self, x: Array, own: Array | None) -> Array:
        """What a layer makes of x when attention and MLP are done."""
        config = self.config
        if own is not None:
            part = LayerInput(config, self.dtype, self.param_dtype, name="layer_input")
            y = part(x, own)
            x = x + norm(config, self.param_dtype, "post_layer_input_norm")(y)
        if config.layer_scale:
            one = nn.initializers.ones
            scale = self.param("layer_scale", one, (1,), self.param_dtype)
            x = x * scale[0].astype(x.dtype)
        return x

    def _before(self, name: str, x: Array) -> Array:
        """What a block reads."""
        return (
            norm(self.config, self.param_dtype, name)(x) if self.config.pre_norm else x
        )

    def _added(self, x: Array, name: str, y: Array) -> Array:
        """The sum of x and what a block said, normalised where the decoder does so."""
        config = self.config
        if config.sandwich_norm:
            y = norm(config, self.param_dtype, name)(y)
        if config.residual_scale != 1:
            y = y * jnp.asarray(config.residual_scale, y.dtype)
        return x + y


def _layers_of(remat: bool, cache: Cache | None) -> Any:
    """The module of layers, which computes again for gradients what is not kept."""
    if remat or (cache is None and attention.platform() == "cpu"):
        policy = None if remat else _KEPT
        return nn.remat(_Layer, prevent_cse=False, policy=policy)
    return _Layer


def _rope_of(
    config: DecoderConfig, kind: _Kind, ropes: tuple[Rotation, Rotation], block: str
) -> Rotation:
    """The rotary embedding of a layer, from those of full and of sliding ones."""
    rope, local = ropes
    if config.splits_attention:
        rope = rope if block == FULL_ATTENTION else local
    elif local is not rope:
        rope = jax.tree.map(lambda a, b: jnp.where(kind.is_sliding, b, a), rope, local)
    if any(config.unrotated):
        cos = jnp.where(kind.is_rotated, rope.cos, jnp.float32(1.0))
        sin = jnp.where(kind.is_rotated, rope.sin, jnp.float32(0.0))
        rope = rope._replace(cos=cos, sin=sin)
    return rope


class Decoder(nn.Module):
    """The Flax module from tokens to last hidden states; use `forward`."""

    config: DecoderConfig
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    remat: bool = False
    apart: bool = False

    @nn.compact
    def __call__(
        self,
        tokens: Array,
        positions: Array,
        cache: Cache | None = None,
        route: Route | None = None,
        seen: attention.Attend | None = None,
    ) -> tuple[Array, Cache | None]:
        """See `forward`; `seen` is how tokens attend, if not as there."""
        config = self.config
        init = nn.initializers.normal(0.02)
        shape = config.vocab_size, config.hidden_size
        embedding = self.param("embedding", init, shape, self.param_dtype)
        if not config.tie_embeddings:
            self.param("head", init, shape, self.param_dtype)
        x = look_up(embedding, tokens).astype(self.dtype)
        if config.embedding_scale != 1:
            x = x * jnp.asarray(config.embedding_scale, self.dtype)
        own = None
        if config.per_layer_size:
            types = config, self.dtype, self.param_dtype
            own = LayerInputs(*types, name="layer_inputs")(tokens, x)
        ropes = self._ropes(positions)
        if seen is None:
            seen = attention.attend_to(config, positions, cache, self.dtype)
        types = config, self.dtype, self.param_dtype
        each = positions, ropes, seen, route
        no, yes = [False] * config.num_layers, [True] * config.num_layers
        rotated = [not x for x in config.unrotated] or yes
        kinds = _Kind(jnp.asarray(config.sliding or no), jnp.asarray(rotated))
        kept = (None, None) if cache is None else (cache.key, cache.value)
        memory: tuple[Memory, ...] = ()
        if self.apart:
            x, kept, memory = self._each_layer(x, cache, kinds, each, own)
        else:
            index = jnp.arange(config.num_layers, dtype=jnp.int32)
            stack = nn.scan(
                _layers_of(self.remat, cache),
                variable_axes={"params": 0, "lora": 0},
                split_rngs={"params": True},
                in_axes=(0, 0, *[nn.broadcast] * 5),  # pyright: ignore[reportArgumentType]
                length=config.num_layers,
            )(*types, name="layers")
            (x, *kept), _ = stack((x, *kept), index, kinds, *each, _Extra())
        if cache is not None:
            read = jnp.max(positions, 1, initial=-1) + 1
            length = jnp.maximum(cache.length, read)
            cache = Cache(kept[0], kept[1], length, memory)
        return norm(config, self.param_dtype, "norm")(x), cache

    def _each_layer(
        self,
        x: Array,
        cache: Cache | None,
        kinds: _Kind,
        each: tuple,
        own: Array | None,
    ):
        """All layers, one after the other, and what they keep."""
        config = self.config
        kept: list[Any] = [(None, None)] * config.num_layers
        if cache is not None:
            pairs = zip(cache.key, cache.value, strict=True)
            for i, pair in zip(config.caching, pairs, strict=True):
                kept[i] = pair
            for i, memory in zip(config.recurring, cache.memory, strict=True):
                kept[i] = memory
        module: Any = _layers_of(self.remat, cache)
        read: dict[int, Any] = {}
        for i in range(config.num_layers):
            types = config, self.dtype, self.param_dtype
            layer = module(*types, i, name=LAYER.format(i))
            kind = jax.tree.map(lambda entries, i=i: entries[i], kinds)
            vector = None if own is None else own[:, :, i]
            extra = _Extra(read.get(config.source(i)), vector)
            (x, *kept[i]), read[i] = layer((x, *kept[i]), None, kind, *each, extra)
        pairs = tuple(zip(*(kept[i] for i in config.caching), strict=True))
        memory = tuple(Memory(*kept[i]) for i in config.recurring)
        return x, pairs, memory

    def _ropes(self, positions: Array) -> tuple[Rotation, Rotation]:
        """Rotations of full and of sliding layers."""
        config, growth = self.config, None
        if config.query_growth is not None:
            length = jnp.float32(config.rope.original_length)
            times = jnp.floor(positions.astype(jnp.float32) / length)
            beta = jnp.float32(config.query_growth)
            # Padding is before the beginning.
            growth = 1 + beta * jnp.log1p(jnp.maximum(times, 0))

        def angles(rope: Rope, head_dim: int) -> Rotation:
            frequency = jnp.asarray(rope.frequencies(head_dim))
            angle = positions[:, :, None].astype(jnp.float32) * frequency[None, None]
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            if rope.amplitude != 1:
                cos, sin = (x * jnp.float32(rope.amplitude) for x in (cos, sin))
            return Rotation(cos, sin, growth)

        local, size = config.local_rope, config.full_head_dim or config.head_dim
        full = angles(config.rope, size)
        if not any(config.sliding) or (local is None and size == config.head_dim):
            return full, full
        return full, angles(local or config.rope, config.head_dim)


def forward(
    config: DecoderConfig,
    params: PyTree,
    tokens: AnyArray,
    positions: AnyArray,
    cache: Cache | None = None,
    adapters: Adapters | None = None,
    adapter_id: AnyArray | None = None,
    *,
    dtype: jnp.dtype = jnp.float32,
    remat: bool = False,
) -> tuple[Array, Cache | None]:
    """The last hidden states of `tokens`.

    Args:
      config: static.
      params: of `init_params` or a checkpoint; optionally passed through
        `unstack_layers`, together with the adapters.
      tokens: i32[B, L].
      positions: i32[B, L], each token's position in its sequence, −1 for padding.
        Without a cache a token attends to the given tokens at or before its position;
        with one, to all slots up to and including its position. Those of a sequence
        follow each other without gaps, in any order, with padding anywhere.
      cache: KV cache of earlier tokens; must have room for `positions`.
      adapters: LoRA adapters.
      adapter_id: i32[B], index of each sequence's adapter, −1 for none; needed with
        `adapters`.
      dtype: of the computation; norms and softmax are always float32.
      remat: whether to recompute layers in the backward pass, to save memory.

    Returns:
      Hidden states [B, L, D] (arbitrary at padding), and the cache with the tokens
      added; None without a cache.
    """
    if config.is_uneven or (cache is not None and cache.is_apart):
        params, adapters = unstack_layers(config, params, adapters)
    variables, route = {"params": params}, None
    apart = _is_apart(params)
    if adapters is not None:
        if adapter_id is None:
            raise InputError("adapter_id is None: with adapters, i32[B] is needed")
        variables["lora"] = adapters.weights if apart else {"layers": adapters.weights}
        route = route_to(adapter_id, adapters.scale)
    module = Decoder(config, dtype, remat=remat, apart=apart)

    def read(tokens: AnyArray, positions: AnyArray) -> tuple[Array, Cache | None]:
        found = module.apply(variables, tokens, positions, cache, route)
        return cast(tuple[Array, Cache | None], found)

    in_order = attention.is_in_order(config, positions, cache, dtype)
    if not in_order and not config.recurring:
        return read(tokens, positions)
    order, back = attention.in_order(jnp.asarray(positions))
    tokens, positions = (
        jnp.take_along_axis(jnp.asarray(x), order, 1) for x in (tokens, positions)
    )
    hidden, after = read(tokens, positions)
    return jnp.take_along_axis(hidden, back[:, :, None], 1), after


def forward_after(
    config: DecoderConfig,
    params: PyTree,
    opening: AnyArray,
    tokens: AnyArray,
    positions: AnyArray,
    adapters: Adapters | None = None,
    *,
    dtype: jnp.dtype = jnp.float32,
    remat: bool = False,
) -> Array:
    """The last hidden states of sequences after an opening that all of them share.

    The opening is read once, in training too: its gradient is that of all sequences.

    Args:
      config: static.
      params: of `init_params` or a checkpoint.
      opening: i32[O], tokens at the positions 0, ..., O − 1.
      tokens: i32[B, L], those that follow it in each sequence.
      positions: i32[B, L], from O on, −1 for padding; see `forward`.
      adapters: one, which all sequences take; None for the base.
      dtype, remat: of `forward`.

    Returns:
      Hidden states [B, L, D] of `tokens`, by `forward`'s numbers but for rounding.

    Raises:
      InputError: if there is more than one adapter, or for recurrent layers, which
        read tokens one after the other.
    """
    if config.recurring:
        raise InputError(
            f"config is of {config.family}, with recurrent layers: attention in all "
            "layers is needed with an opening"
        )
    if config.is_uneven:
        params, adapters = unstack_layers(config, params, adapters)
    variables, route = {"params": params}, None
    apart = _is_apart(params)
    if adapters is not None:
        if len(adapters.scale) != 1:
            raise InputError(
                f"adapters has {len(adapters.scale)}: 1 is needed with an opening"
            )
        variables["lora"] = adapters.weights if apart else {"layers": adapters.weights}
        route = route_of_all(adapters.scale)
    size = len(opening)
    place = jnp.arange(size, dtype=jnp.int32)

    def packed(first: AnyArray, rest: AnyArray) -> Array:
        return jnp.concatenate([first, jnp.reshape(rest, -1)])[None]

    # As one sequence: all but attention is by token.
    hidden, _ = Decoder(config, dtype, remat=remat, apart=apart).apply(
        variables, packed(opening, tokens), packed(place, positions), None, route,
        attention.after_opening(config, jnp.asarray(positions), size),
    )  # fmt: skip
    return hidden[0, size:].reshape(*jnp.shape(tokens), -1)


def unstack_layers(
    config: DecoderConfig, params: PyTree, adapters: Adapters | None = None
) -> tuple[PyTree, Adapters | None]:
    """Params and adapters with one array per layer, for fast decoding on CPUs.

    `forward` accepts the result in place of `params` and `adapters`, with a cache that
    was `cut`. With stacked weights each layer's are copied whenever it runs, two fifths
    of the time of decoding with a small model. This copies them once, for the memory of
    a second copy, and transposes kernels, which takes another quarter off. Arguments
    that are unstacked already are returned as they are.
    """

    def cut(tree: PyTree) -> dict[str, PyTree]:
        numbers = range(config.num_layers)
        return {LAYER.format(i): _layer(config, tree, i) for i in numbers}

    if params and not _is_apart(params):
        others = {name: x for name, x in params.items() if name != "layers"}
        params = others | cut(params["layers"])
    if adapters is not None and not _is_apart(adapters.weights):
        adapters = adapters._replace(weights=cut(adapters.weights))
    return params, adapters


def _is_apart(tree: PyTree) -> bool:
    return LAYER.format(0) in tree


def _layer(config: DecoderConfig, tree: PyTree, i: int, module: str = "") -> PyTree:
    """Layer i of stacked weights, kernels as `Linear` takes them transposed."""
    found = {}
    for name, x in tree.items():
        if isinstance(x, Mapping):
            inner = _layer(config, x, i, f"{module}/{name}".removeprefix("/"))
            if inner:
                found[name] = inner
            continue
        numbers = config.having(module)
        if i in numbers:
            own = x[numbers.index(i)]
            name, own = ("transposed", own.T) if name == "kernel" else (name, own)
            found[name] = own
    return found


def logits(config: DecoderConfig, params: PyTree, hidden: Array) -> Array:
    """Logits f32[..., V] of hidden states [..., D]."""
    table = params["embedding"] if config.tie_embeddings else params["head"]
    if attention.platform() == "cpu" and is_rounded():
        rows = hidden.reshape(-1, hidden.shape[-1])
        score = product(rows, table, jnp.float32, is_transposed=True)
        score = score.reshape(*hidden.shape[:-1], -1)
    else:
        score = jnp.einsum(
            "...d,vd->...v", hidden, table.astype(hidden.dtype),
            preferred_element_type=jnp.float32,
        )  # fmt: skip
    if config.logit_divisor != 1:
        score = score / jnp.float32(config.logit_divisor)
    return capped(score, config.logit_cap)


def init_params(
    config: DecoderConfig, key: PRNGKey, dtype: jnp.dtype = jnp.float32
) -> PyTree:
    """Random parameters, normal with deviation 0.02, stacked over layers."""
    tokens = jnp.zeros((1, 1), jnp.int32)
    module = Decoder(config, param_dtype=dtype, apart=config.is_uneven)
    params: PyTree = module.init(key, tokens, tokens)["params"]
    if not config.is_uneven:
        return params
    names = [LAYER.format(i) for i in range(config.num_layers)]
    each: list[dict[Any, Any]] = [dict(flatten_dict(params.pop(x))) for x in names]
    paths = dict.fromkeys(path for layer in each for path in layer)
    layers = {
        path: jnp.stack([layer[path] for layer in each if path in layer])
        for path in paths
    }
    return {**params, "layers": unflatten_dict(layers)}
