"""LoRA adapters: several at once on one base model, or merged into it.

    y = x W + (alpha / rank) x A B        A [in, rank], B [rank, out]

See "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685). Adapters
have a dtype of their own: `forward` casts them to its `dtype` for the computation, and
gradients have the adapters' dtype. With float32 adapters on a bfloat16 base, updates
smaller than the resolution of bfloat16 are hence not lost.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer

from aajax.errors import InputError
from aajax.lm.model.config import (
    ATTENTION,
    FULL_ATTENTION,
    MLP,
    WIDE_MLP,
    DecoderConfig,
)
from aajax.lm.model.decoder import Adapters
from aajax.lm.model.layers import JOINED
from aajax.schema import Count, Items, Positive, check
from aajax.types import Array, PRNGKey, PyTree

Target = Literal["query", "key", "value", "output", "gate", "up", "down"]
BLOCKS: dict[Target, str] = {  # where in the tree of parameters a linear layer is
    "query": ATTENTION,
    "key": ATTENTION,
    "value": ATTENTION,
    "output": ATTENTION,
    "gate": MLP,
    "up": MLP,
    "down": MLP,
}
# Linear layers of blocks that some layers have in place of another: where they are, and
# of which target they are.
VARIANTS: dict[str, tuple[str, Target]] = {
    f"{prefix}_{name}": (block, name)
    for prefix, block, plain in (
        ("full", FULL_ATTENTION, ATTENTION),
        ("wide", WIDE_MLP, MLP),
    )
    for name in BLOCKS
    if BLOCKS[name] == plain
}
# Linear layer → block, and its name in there.
PLACES: dict[str, tuple[str, Target]] = {
    **{name: (block, name) for name, block in BLOCKS.items()},
    **VARIANTS,
}
Targets = Annotated[tuple[Target, ...], Items(1, distinct=True)]


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Which linear layers have adapters, and of which size.

    Attributes:
      rank: columns of A.
      alpha: A B is multiplied by alpha / rank.
      targets: names of linear layers; their order does not matter.
    """

    rank: Count = 32
    alpha: Positive = 64.0
    targets: Targets = tuple(BLOCKS)

    __post_init__ = check

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank


def module(name: str) -> str:
    """The path of a linear layer in a layer, such as attention/query."""
    return "/".join(PLACES[name])


def linear_layers(config: DecoderConfig, targets: Sequence[Target]) -> tuple[str, ...]:
    """The linear layers, names of PLACES, that a decoder has of some targets."""
    return tuple(
        name
        for target in targets
        for name, (_, own) in PLACES.items()
        if own == target and config.having(module(name))
    )


def features(config: DecoderConfig, name: str) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, a name of PLACES."""
    block, target = PLACES[name]
    hidden = config.hidden_size
    if target in ("gate", "up"):
        return hidden, config.width(block)
    if target == "down":
        return config.width(block), hidden
    num_kv_heads, head_dim = config.heads(block)
    queries, keys = config.num_heads * head_dim, num_kv_heads * head_dim
    if target == "query":
        return hidden, queries * (1 + config.output_gate)
    return (queries, hidden) if target == "output" else (hidden, keys)


def targets_of(config: DecoderConfig) -> tuple[Target, ...]:
    """The linear layers that can have adapters: not those of experts."""
    has_experts = config.num_experts > 0
    return tuple(
        name for name, block in BLOCKS.items() if block != MLP or not has_experts
    )


def num_layers(config: DecoderConfig, name: str) -> int:
    """How many layers have this linear layer."""
    return len(config.having(module(name)))


def init_adapters(
    config: DecoderConfig,
    lora: LoraConfig,
    key: PRNGKey,
    num_adapters: int = 1,
    dtype: jnp.dtype = jnp.float32,
) -> Adapters:
    """Initial adapters: A uniform in ±1/√in, as in PEFT, and B zero (no effect).

    Args:
      config: of the base.
      lora: of each of them.
      key: consumed; adapters differ in A.
      num_adapters: n.
      dtype: of A and B.

    Raises:
      InputError: for less than one adapter, or a target that cannot have one.
    """
    if num_adapters < 1:
        raise InputError(f"num_adapters is {num_adapters}: at least 1 is needed")
    known = targets_of(config)
    for name in lora.targets:
        if name not in known:
            raise InputError(
                f"targets has {name!r}: with experts, only {', '.join(known)} can have "
                "adapters"
            )
    names = linear_layers(config, lora.targets)
    if not names:
        raise InputError(
            f"targets is {list(lora.targets)}: linear layers that the decoder has are "
            "needed"
        )
    # One key for each that there is, whether it is a target or not.
    keys = dict(zip(BLOCKS, jax.random.split(key, len(BLOCKS)), strict=True))
    others = jax.random.split(jax.random.fold_in(key, 1), len(VARIANTS))
    keys |= dict(zip(VARIANTS, others, strict=True))
    pairs = {}
    for name in names:
        num_in, num_out = features(config, name)
        lead = num_layers(config, name), num_adapters
        shape, bound = (*lead, num_in, lora.rank), num_in**-0.5
        pairs[name] = {
            "a": jax.random.uniform(keys[name], shape, dtype, -bound, bound),
            "b": jnp.zeros((*lead, lora.rank, num_out), dtype),
        }
    scale = jnp.full(num_adapters, lora.scale, jnp.float32)
    return Adapters(weights_of(pairs), scale)


def pairs_of(adapters: Adapters) -> dict[str, dict[str, Array]]:
    """The leaves a and b of each linear layer, by its name in PLACES."""
    weights = adapters.weights
    return {
        name: weights[block][target]
        for name, (block, target) in PLACES.items()
        if target in weights.get(block, {})
    }


def weights_of(pairs: dict[str, dict[str, Any]]) -> PyTree:
    """Inverse of `pairs_of`: `Adapters.weights`."""
    weights: dict[str, dict[str, Any]] = {}
    for name, (block, target) in PLACES.items():
        if name in pairs:
            weights.setdefault(block, {})[target] = pairs[name]
    return weights


def check_fits(config: DecoderConfig, adapters: Adapters) -> None:
    """Raises InputError if the adapters' shapes do not fit this decoder."""
    count = len(adapters.scale)
    for name, pair in pairs_of(adapters).items():
        num_in, num_out = features(config, name)
        lead, rank = (num_layers(config, name), count), pair["a"].shape[-1]
        wanted = {"a": (*lead, num_in, rank), "b": (*lead, rank, num_out)}
        for part, shape in wanted.items():
            if pair[part].shape != shape:
                raise InputError(
                    f"adapters is a tree with {name}/{part} "
                    f"{list(pair[part].shape)}: {list(shape)} is needed"
                )


def stack(adapters: Sequence[Adapters]) -> Adapters:
    """Concatenates adapters along their axis n.

    Smaller ranks, and targets that only some have, are padded with zeros. Since A and B
    are both zero there, so are their gradients: padding stays zero in training.

    Args:
      adapters: of the same decoder and dtype.

    Raises:
      InputError: if there are none or they do not fit together.
    """
    if not adapters:
        raise InputError("adapters is empty: at least one is needed")
    each = [pairs_of(one) for one in adapters]
    types = sorted({leaf.dtype.name for leaf in jax.tree.leaves(each)})
    if len(types) > 1:
        raise InputError(f"adapters are {' and '.join(types)}: one dtype is needed")
    like: dict[str, dict[str, Array]] = {}
    for name in PLACES:
        found = [pairs[name] for pairs in each if name in pairs]
        if found:
            # The widest says which shapes all have.
            like[name] = max(found, key=lambda pair: pair["a"].shape[-1])
    padded = [_padded(one, like) for one in adapters]
    weights = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *padded)
    return Adapters(weights, jnp.concatenate([one.scale for one in adapters]))


def take(adapters: Adapters, index: int | Array) -> Adapters:
    """The adapter at `index`, i32[], as `Adapters` with n = 1.

    Raises:
      InputError: for an index that is known and not of these.
    """
    _check_index(adapters, index)

    def part(leaf: Array, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(leaf, index, 1, axis)

    weights = jax.tree.map(lambda leaf: part(leaf, 1), adapters.weights)
    return Adapters(weights, part(adapters.scale, 0))


def put(adapters: Adapters, index: int | Array, one: Adapters) -> Adapters:
    """Replaces the adapter at `index`, i32[], by `one`.

    Shapes and dtypes stay, so that a buffer can be donated:

        put = jax.jit(lora.put, donate_argnums=0)

    Args:
      adapters: n of them.
      index: in 0, ..., n − 1; not checked if traced.
      one: `Adapters` with n = 1; padded as by `stack`, cast to the others' dtype.

    Raises:
      InputError: if `one` is more than one or has a rank or targets that the others do
        not have, or for an index that is known and not of these.
    """
    _check_index(adapters, index)
    if len(one.scale) != 1:
        raise InputError(f"one has {len(one.scale)} adapters: exactly 1 is needed")
    like = pairs_of(adapters)
    extra = sorted(set(pairs_of(one)) - set(like))
    if extra:
        raise InputError(
            f"one has targets {', '.join(extra)}: only {', '.join(like)} are there"
        )

    def replace(leaf: Array, new: Array, axis: int) -> Array:
        new = new.astype(leaf.dtype)
        return jax.lax.dynamic_update_slice_in_dim(leaf, new, index, axis)

    weights = jax.tree.map(
        lambda leaf, new: replace(leaf, new, 1), adapters.weights, _padded(one, like)
    )
    return Adapters(weights, replace(adapters.scale, one.scale, 0))


def begun_with(fresh: Adapters, one: Adapters) -> Adapters:
    """New adapters that have the effect of `one`, and of which all can be trained.

    Of ranks and targets that `one` has not they keep their own A beside a B of zero,
    so that B has a gradient. Of padding with zeros, as by `put`, A and B would have
    none.

    Args:
      fresh: of `init_adapters`, n = 1; what `one` has is replaced.
      one: n = 1, of the same scale; cast to the dtype of `fresh`.

    Raises:
      InputError: if `one` has a larger rank, or targets that `fresh` has not.
    """
    replaced = put(fresh, 0, one)  # refuses what does not fit
    own, found = pairs_of(one), pairs_of(replaced)
    for name, pair in pairs_of(fresh).items():
        rank = own[name]["a"].shape[-1] if name in own else 0
        a = jnp.concatenate([found[name]["a"][..., :rank], pair["a"][..., rank:]], -1)
        found[name] = {**found[name], "a": a}
    return Adapters(weights_of(found), replaced.scale)


def joined(adapters: Adapters, dtype: jnp.dtype) -> Adapters:
    """Adapters side by side, as accelerators sample with them: no rank is an axis.

    `forward` takes the result in place of the adapters. It has the weights joined_a
    [layers, n r, in] and joined_b [layers, n r, out] of each target, in the dtype of
    the computation, to which `forward` casts others. An adapter with a B that is not
    finite has the scale NaN and a B of zeros, so that products with it are no concern
    of sequences that do not use it.
    """
    weights, is_finite = {}, jnp.ones(len(adapters.scale), bool)
    for name, pair in pairs_of(adapters).items():
        a, b = pair["a"].swapaxes(2, 3).astype(dtype), pair["b"].astype(dtype)
        fine = jnp.isfinite(b).all((0, 2, 3))
        b = jnp.where(fine[None, :, None, None], b, jnp.zeros((), dtype))
        is_finite &= fine
        weights[name] = {
            part: x.reshape(x.shape[0], -1, x.shape[-1])
            for part, x in zip(JOINED, (a, b), strict=True)
        }
    scale = jnp.where(is_finite, adapters.scale, jnp.nan)
    return Adapters(weights_of(weights), scale)


def merge(
    config: DecoderConfig, params: PyTree, adapters: Adapters, index: int | Array
) -> PyTree:
    """Merges one adapter into the parameters: W + scale A B.

    The sum is computed in float32 and cast to the dtype of W.

    Args:
      config: of the base.
      params: of the base.
      adapters: n of them.
      index: i32[], the one to merge.

    Raises:
      InputError: if adapters are not of this decoder, or for an index that is known
        and not of these.
    """
    check_fits(config, adapters)
    one = take(adapters, index)
    layers = {**params["layers"]}
    for name, pair in pairs_of(one).items():
        block, name = PLACES[name]
        a, b = (pair[part][:, 0].astype(jnp.float32) for part in "ab")
        kernel = layers[block][name]["kernel"]
        change = one.scale[0] * jnp.matmul(a, b, precision="highest")
        merged = (kernel.astype(jnp.float32) + change).astype(kernel.dtype)
        layers[block] = {
            **layers[block],
            name: {**layers[block][name], "kernel": merged},
        }
    return {**params, "layers": layers}


def _padded(adapters: Adapters, like: Mapping[str, dict[str, Array]]) -> PyTree:
    """Weights padded with zeros to the targets and ranks of `like`."""
    count, own = len(adapters.scale), pairs_of(adapters)
    dtype = jax.tree.leaves(own)[0].dtype
    pairs = {}
    for name, pair in like.items():
        pairs[name] = {}
        for part, axis in (("a", 3), ("b", 2)):
            shape = list(pair[part].shape)
            shape[1] = count
            if name not in own:
                pairs[name][part] = jnp.zeros(shape, dtype)
                continue
            leaf = own[name][part]
            missing = shape[axis] - leaf.shape[axis]
            if missing < 0 or not _same(leaf.shape, shape, besides=axis):
                raise InputError(
                    f"adapters have {name}/{part} {list(leaf.shape)}: {shape}, or a "
                    "smaller rank, is needed beside the others"
                )
            padding = [(0, missing if i == axis else 0) for i in range(leaf.ndim)]
            pairs[name][part] = jnp.pad(leaf, padding)
    return weights_of(pairs)


def _same(shape: Sequence[int], other: Sequence[int], besides: int) -> bool:
    return all(i == besides or shape[i] == other[i] for i in range(len(other)))


def _check_index(adapters: Adapters, index: int | Array) -> None:
    count = len(adapters.scale)
    if not isinstance(index, Tracer) and not 0 <= int(index) < count:
        raise InputError(f"index is {index}: 0 to {count - 1} is needed")
