"""Conversion between a Hugging Face config.json and `DecoderConfig`, by family."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from aajax import records, schema
from aajax.errors import InputError
from aajax.lm.model.config import (
    MOST_LAYERS,
    DecoderConfig,
    Delta,
    Family,
    Rope,
    RopeKind,
)
from aajax.schema import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Range,
    Share,
    check,
)

Kind = Literal["full_attention", "sliding_attention", "linear_attention"]
KINDS: tuple[Kind, ...] = get_args(Kind)[:2]

# What config.json leaves out is as in transformers' config class of the family.
_LEFT_OUT: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 4096},
    "ministral": {"sliding_window": 4096},
    "ministral3": {
        "rms_norm_eps": 1e-5,
        "head_dim": 128,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e6,
            "factor": 16.0,
            "original_max_position_embeddings": 16_384,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "llama_4_scaling_beta": 0.1,
        },
    },
    "smollm3": {"rope_theta": 2e6, "tie_word_embeddings": True},
    "phi3": {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
    },
    "olmo2": {"rms_norm_eps": 1e-5},
    "olmo3": {"rms_norm_eps": 1e-5, "rope_theta": 5e5, "sliding_window": 4096},
    "granite": {"attention_multiplier": 1.0},
    "qwen3_moe": {"num_experts_per_tok": 8, "moe_intermediate_size": 768},
    "qwen3_5_text": {
        "head_dim": 256,
        "partial_rotary_factor": 0.25,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
    "gemma2": {
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 2,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "tie_word_embeddings": True,
    },
    # The text part of a gemma3 folder says hardly anything.
    "gemma3_text": {
        "vocab_size": 262_208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "gemma4_text": {
        "vocab_size": 262_144,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 30,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "global_head_dim": 512,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "hidden_size_per_layer_input": 256,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": 1e6,
                "partial_rotary_factor": 0.25,
            },
            "sliding_attention": {"rope_theta": 1e4},
        },
    },
}
_NULLS = ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping")
# Models with images too → the family of their text part, if it does not say it.
_WRAPPERS = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "mistral3": "mistral",
    "qwen3_5": "qwen3_5_text",
}


@dataclasses.dataclass(frozen=True)
class _RopeKeys:
    """Keys of rope_parameters, or of rope_scaling before them; None: left out."""

    rope_type: RopeKind | None = None
    type: RopeKind | None = None  # its older name
    rope_theta: Positive | None = None
    partial_rotary_factor: Share | None = None
    factor: Positive | None = None
    attention_factor: Positive | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    mscale: NonNegative | None = None
    mscale_all_dim: NonNegative | None = None
    truncate: bool | None = None
    llama_4_scaling_beta: NonNegative | None = None
    short_factor: tuple[Positive, ...] | None = None
    long_factor: tuple[Positive, ...] | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    original_max_position_embeddings: Count | None = None

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class _FullKeys:
    """Keys of per_layer_config, in which layers differ; None: as in the others."""

    head_dim: Count | None = None
    num_key_value_heads: Count | None = None

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class _KindsOfRope:
    """Keys of rope_parameters where kinds of attention have their own."""

    full_attention: _RopeKeys | None = None
    sliding_attention: _RopeKeys | None = None

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class _Keys:
    """The keys of config.json that are read; None for absent ones."""

    model_type: Family
    vocab_size: Count
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Annotated[int, Range(1, MOST_LAYERS)]
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    rms_norm_eps: Positive | None = None
    max_position_embeddings: Count | None = None
    tie_word_embeddings: bool | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    hidden_act: str | None = None
    hidden_activation: str | None = None
    query_pre_attn_scalar: Positive | None = None
    use_bidirectional_attention: bool | Literal["all", "vision"] | None = None
    attn_logit_softcapping: Positive | None = None
    final_logit_softcapping: Positive | None = None
    embedding_multiplier: Positive | None = None
    residual_multiplier: Positive | None = None
    attention_multiplier: Positive | None = None
    logits_scaling: Positive | None = None
    no_rope_layers: tuple[int, ...] | None = None
    no_rope_layer_interval: Count | None = None
    num_experts: Count | None = None
    num_local_experts: Count | None = None  # its name since version 5 of transformers
    num_experts_per_tok: Count | None = None
    moe_intermediate_size: Count | None = None
    norm_topk_prob: bool | None = None
    decoder_sparse_step: Count | None = None
    full_attention_interval: Count | None = None
    linear_conv_kernel_dim: Count | None = None
    linear_key_head_dim: Count | None = None
    linear_value_head_dim: Count | None = None
    linear_num_key_heads: Count | None = None
    linear_num_value_heads: Count | None = None
    global_head_dim: Count | None = None
    num_global_key_value_heads: Count | None = None
    per_layer_config: dict[str, dict] | None = None
    attention_k_eq_v: bool | None = None
    num_kv_shared_layers: Natural | None = None
    use_double_wide_mlp: bool | None = None
    hidden_size_per_layer_input: Natural | None = None
    vocab_size_per_layer_input: Count | None = None
    enable_moe_block: bool | None = None
    mlp_only_layers: tuple[Natural, ...] | None = None
    use_sliding_window: bool | None = None
    sliding_window: Count | None = None
    sliding_window_pattern: Count | None = None
    max_window_layers: Natural | None = None
    layer_types: tuple[Kind, ...] | None = None
    rope_theta: Positive | None = None
    rope_local_base_freq: Positive | None = None
    partial_rotary_factor: Share | None = None
    original_max_position_embeddings: Count | None = None
    rope_scaling: _RopeKeys | None = None
    rope_parameters: dict | None = None

    __post_init__ = check

    def ropes(self, kind: str) -> _RopeKeys:
        """rope_parameters of a kind of attention."""
        record, prefix = self.rope_parameters or {}, "rope_parameters."
        if not any(each in record for each in KINDS):
            if kind == "sliding_attention":
                return _RopeKeys()
            return schema.build(_RopeKeys, record, prefix, others=True)
        kinds = schema.build(_KindsOfRope, record, prefix, others=True)
        return getattr(kinds, kind) or _RopeKeys()


class _Family(NamedTuple):
    """A model family.

    Attributes:
      read: the fields of `DecoderConfig` that differ between families.
      architecture: the name of its class in transformers.
      sliding: which layers have a window, if config.json gives its width; () for none.
    """

    read: Callable[[_Keys], dict[str, Any]]
    architecture: str
    sliding: Callable[[_Keys], tuple[bool, ...]]


def read_json(folder: Path, name: str) -> Mapping[str, Any]:
    """The JSON object in a file of a checkpoint folder.

    Raises:
      InputError: if the file is missing or does not hold an object.
    """
    try:
        return records.read_object(folder / name)
    except OSError as error:
        raise InputError(
            f"folder is {str(folder)!r}: {name} is needed in it ({error.strerror})"
        ) from error


def config_from_hf(hf: Mapping[str, Any], prefix: str = "") -> DecoderConfig:
    """The `DecoderConfig` of a parsed config.json, of transformers 4 or 5.

    Args:
      hf: the parsed file; unknown keys are ignored.
      prefix: of keys in error messages.

    Raises:
      InputError: for an unsupported family, rope type, activation or soft-capping, or a
        key with an invalid value.
    """
    model_type = hf.get("model_type")
    if isinstance(model_type, str) and model_type in _WRAPPERS and "text_config" in hf:
        inner = hf["text_config"]
        if not isinstance(inner, Mapping):
            raise InputError(
                f"{prefix}text_config is {schema.shown(inner)}: an object is needed"
            )
        outer = {k: hf[k] for k in ("tie_word_embeddings",) if k in hf}
        inner = {"model_type": _WRAPPERS[model_type], **inner, **outer}
        return config_from_hf(inner, f"{prefix}text_config.")
    if isinstance(model_type, str) and model_type in _LEFT_OUT:
        given = {k: x for k, x in hf.items() if x is not None or k in _NULLS}
        hf = {**_LEFT_OUT[model_type], **given}
    keys = schema.build(_Keys, hf, prefix, others=True)
    with schema.within(prefix):
        return _plain(_decoder(keys))


def _decoder(keys: _Keys) -> DecoderConfig:
    _check_family(keys)
    heads, layers = keys.num_attention_heads, keys.num_hidden_layers
    family = _FAMILY[keys.model_type]
    sliding = () if keys.sliding_window is None else family.sliding(keys)
    rope = _rope(keys, "full_attention")
    longest = keys.max_position_embeddings or 32_768
    fields = {
        "intermediate_size": keys.intermediate_size,
        "head_dim": keys.head_dim or keys.hidden_size // heads,
        "tie_embeddings": bool(keys.tie_word_embeddings),
        **family.read(keys),
    }
    return DecoderConfig(
        family=keys.model_type,
        vocab_size=keys.vocab_size,
        hidden_size=keys.hidden_size,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=keys.num_key_value_heads or heads,
        norm_epsilon=keys.rms_norm_eps or 1e-6,
        activation=_activation(keys),
        rope=rope,
        window=keys.sliding_window if sliding else None,
        sliding=sliding,
        # Of factors for longer contexts none are read.
        max_length=int(rope.original_length) if rope.kind == "longrope" else longest,
        **fields,
    )


def _check_family(keys: _Keys) -> None:
    """Raises InputError for what other families alone have."""
    capped = "gemma2", "gemma3_text", "gemma4_text"
    if keys.model_type not in capped:
        for name in ("attn_logit_softcapping", "final_logit_softcapping"):
            if getattr(keys, name) is not None:
                raise InputError(
                    f"{name} is {getattr(keys, name)}: only models without it are "
                    f"supported in the family {keys.model_type}"
                )
    partly = keys.model_type in ("phi3", "qwen3_5_text", "gemma4_text")
    for kind in () if partly else KINDS:
        share = _said_of_rope(keys, kind).get("partial_rotary_factor", 1.0)
        if share != 1:
            raise InputError(
                f"partial_rotary_factor is {share}: only models that rotate whole "
                f"heads are supported in the family {keys.model_type}"
            )


def _plain(config: DecoderConfig) -> DecoderConfig:
    """The canonical one of all configs that describe the same decoder."""
    changes: dict[str, Any] = {}
    if config.full_head_dim == config.head_dim:
        changes["full_head_dim"] = None
    if config.full_kv_heads == config.num_kv_heads:
        changes["full_kv_heads"] = None
    size = config.full_head_dim or config.head_dim
    if size == config.head_dim and config.query_scale == size**-0.5:
        changes["query_scale"] = None
    if config.local_rope == config.rope:
        changes["local_rope"] = None
    if not config.num_shared:
        changes["wide_shared"] = False
    if not any(config.sliding):
        changes |= {"sliding": (), "window": None}
    for name in ("unrotated", "recurrent"):
        if not any(getattr(config, name)):
            changes[name] = ()
    for name in ("rope", "local_rope"):
        rope = changes.get(name, getattr(config, name))
        if rope is not None and rope.attention_factor == rope.default_amplitude:
            changes[name] = dataclasses.replace(rope, attention_factor=None)
    return dataclasses.replace(config, **changes)


def _activation(keys: _Keys) -> Literal["silu", "gelu_tanh"]:
    names: dict[str, Literal["silu", "gelu_tanh"]] = {
        "silu": "silu",
        "swish": "silu",
        "gelu_pytorch_tanh": "gelu_tanh",
    }
    name = keys.hidden_activation or keys.hidden_act or "silu"
    if name not in names:
        raise InputError(f"hidden_act is {name!r}: one of {', '.join(names)} is needed")
    return names[name]


def _nowhere(keys: _Keys) -> tuple[bool, ...]:
    del keys
    return ()


def _everywhere(keys: _Keys) -> tuple[bool, ...]:
    return (True,) * keys.num_hidden_layers


def _by_kind(keys: _Keys) -> tuple[bool, ...] | None:
    """By layer_types, if they are given."""
    if keys.layer_types is None:
        return None
    return tuple(kind == "sliding_attention" for kind in keys.layer_types)


def _by_kind_or_everywhere(keys: _Keys) -> tuple[bool, ...]:
    return _by_kind(keys) or _everywhere(keys)


def _by_pattern(keys: _Keys) -> tuple[bool, ...]:
    """All but every n-th layer, unless layer_types says otherwise."""
    pattern = keys.sliding_window_pattern or 4
    layers = range(keys.num_hidden_layers)
    return _by_kind(keys) or tuple(bool((layer + 1) % pattern) for layer in layers)


def _upper_if_used(keys: _Keys) -> tuple[bool, ...]:
    """From max_window_layers on, if use_sliding_window says so."""
    if not keys.use_sliding_window:
        return ()
    first = 28 if keys.max_window_layers is None else keys.max_window_layers
    layers = range(keys.num_hidden_layers)
    return _by_kind(keys) or tuple(layer >= first for layer in layers)


def _everywhere_if_used(keys: _Keys) -> tuple[bool, ...]:
    return _everywhere(keys) if keys.use_sliding_window else ()


def _unrotated_if_used(keys: _Keys) -> tuple[bool, ...]:
    if not keys.use_sliding_window:
        return ()
    return _by_kind(keys) or _unrotated(keys)


def _unrotated(keys: _Keys) -> tuple[bool, ...]:
    """SmolLM3's layers without rotary embedding."""
    layers = range(keys.num_hidden_layers)
    if keys.no_rope_layers is None:
        interval = keys.no_rope_layer_interval or 4
        return tuple((layer + 1) % interval == 0 for layer in layers)
    if len(keys.no_rope_layers) < keys.num_hidden_layers:
        raise InputError(
            f"no_rope_layers has {len(keys.no_rope_layers)} entries: one for each of "
            f"the {keys.num_hidden_layers} layers is needed"
        )
    return tuple(not keys.no_rope_layers[layer] for layer in layers)


def _rope(keys: _Keys, kind: str) -> Rope:
    """The rotary embedding of full or sliding attention, from old or new keys."""
    said = _said_of_rope(keys, kind)
    name = said.get("rope_type", said.get("type", "default"))
    if keys.model_type == "phi3" and name == "yarn":
        name = "longrope"  # the family's older word for it
    local = kind == "sliding_attention"
    of_gemma = keys.model_type in ("gemma3_text", "gemma4_text")
    default = 1e6 if of_gemma and not local else 1e4
    longest = keys.max_position_embeddings
    original = keys.original_max_position_embeddings
    if original is not None:
        said["original_max_position_embeddings"] = original
    if name in ("llama3", "yarn", "longrope"):
        said.setdefault("original_max_position_embeddings", longest)
    if name == "longrope" and longest and "factor" not in said:
        said["factor"] = longest / said["original_max_position_embeddings"]
    scale, all_scale = said.get("mscale"), said.get("mscale_all_dim")
    if name == "yarn" and "attention_factor" not in said and scale and all_scale:
        more = math.log(max(said.get("factor", 1.0), 1.0)) * 0.1
        said["attention_factor"] = (scale * more + 1) / (all_scale * more + 1)
    fields = {
        "theta": said.get("rope_theta", default),
        "kind": name,
        "share": said.get("partial_rotary_factor", 1.0),
    }
    if said.get("llama_4_scaling_beta"):
        # Which needs it with any kind.
        fields["original_length"] = said.get("original_max_position_embeddings", 8192)
    for field, key in _ROPE_KEYS[name].items():
        if said.get(key) is not None:
            fields[field] = said[key]
        elif key not in _ROPE_OPTIONAL and name != "proportional":
            raise InputError(
                f"{key} is missing: a number is needed with rope_type {name!r}"
            )
    return Rope(**fields)


def _said_of_rope(keys: _Keys, kind: str) -> dict[str, Any]:
    """What old and new keys say of the rotary embedding of a kind of attention."""
    local = kind == "sliding_attention"
    own_base = local and keys.model_type == "gemma3_text"
    plain = _RopeKeys(
        rope_theta=keys.rope_local_base_freq if own_base else keys.rope_theta,
        partial_rotary_factor=keys.partial_rotary_factor,
    )
    scaling = None if local else keys.rope_scaling
    said: dict[str, Any] = {}
    for part in (plain, scaling or _RopeKeys(), keys.ropes(kind)):
        said |= {name: x for name, x in vars(part).items() if x is not None}
    return said


# Kind → field of `Rope` → key.
_ROPE_KEYS: dict[RopeKind, dict[str, str]] = {
    "default": {},
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_frequency_factor": "low_freq_factor",
        "high_frequency_factor": "high_freq_factor",
        "original_length": "original_max_position_embeddings",
    },
    "yarn": {
        "factor": "factor",
        "original_length": "original_max_position_embeddings",
        "attention_factor": "attention_factor",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "is_truncated": "truncate",
    },
    "longrope": {
        "factor": "factor",
        "original_length": "original_max_position_embeddings",
        "attention_factor": "attention_factor",
        "short_factors": "short_factor",
        "long_factors": "long_factor",
    },
    "proportional": {"factor": "factor"},
}
_ROPE_OPTIONAL = ("attention_factor", "beta_fast", "beta_slow", "truncate")


def _read_llama(keys: _Keys) -> dict[str, Any]:
    biased = bool(keys.attention_bias)
    return {
        "attention_bias": biased,
        "output_bias": biased,
        "mlp_bias": bool(keys.mlp_bias),
    }


def _read_qwen2(keys: _Keys) -> dict[str, Any]:
    del keys
    return {"attention_bias": True}


def _read_qwen3(keys: _Keys) -> dict[str, Any]:
    biased = bool(keys.attention_bias)
    return {
        "qk_norm": True,
        "attention_bias": biased,
        "output_bias": biased,
        "head_dim": keys.head_dim or 128,
    }


def _read_qwen3_moe(keys: _Keys) -> dict[str, Any]:
    if keys.mlp_only_layers or (keys.decoder_sparse_step or 1) != 1:
        name = "mlp_only_layers" if keys.mlp_only_layers else "decoder_sparse_step"
        raise InputError(
            f"{name} is {schema.shown(getattr(keys, name))}: experts in all layers are "
            "needed"
        )
    fields = _read_qwen3(keys)
    return fields | {
        "head_dim": keys.head_dim or keys.hidden_size // keys.num_attention_heads,
        "intermediate_size": keys.moe_intermediate_size,
        "num_experts": keys.num_local_experts or keys.num_experts or 128,
        "experts_per_token": keys.num_experts_per_tok,
        "normalise_experts": bool(keys.norm_topk_prob),
    }


def _read_qwen3_5(keys: _Keys) -> dict[str, Any]:
    biased = bool(keys.attention_bias)
    interval = keys.full_attention_interval or 4
    recurrent = tuple((i + 1) % interval != 0 for i in range(keys.num_hidden_layers))
    if keys.layer_types is not None:
        recurrent = tuple(kind == "linear_attention" for kind in keys.layer_types)
    sizes = {
        field: getattr(keys, f"linear_{key}") for field, key in _DELTA_KEYS.items()
    }
    return {
        "qk_norm": True,
        "unit_offset": True,
        "output_gate": True,
        "attention_bias": biased,
        "output_bias": biased,
        "recurrent": recurrent,
        "delta": Delta(**sizes),
    }


_DELTA_KEYS = {
    "key_heads": "num_key_heads",
    "value_heads": "num_value_heads",
    "key_dim": "key_head_dim",
    "value_dim": "value_head_dim",
    "kernel": "conv_kernel_dim",
}


def _read_mistral(keys: _Keys) -> dict[str, Any]:
    del keys
    return {}


def _read_ministral3(keys: _Keys) -> dict[str, Any]:
    growth = _said_of_rope(keys, "full_attention").get("llama_4_scaling_beta")
    return {"query_growth": growth or None}


def _read_smollm3(keys: _Keys) -> dict[str, Any]:
    return {**_read_llama(keys), "unrotated": _unrotated(keys)}


def _read_granite(keys: _Keys) -> dict[str, Any]:
    return {
        **_read_llama(keys),
        "query_scale": keys.attention_multiplier,
        "embedding_scale": keys.embedding_multiplier or 1.0,
        "residual_scale": keys.residual_multiplier or 1.0,
        "logit_divisor": keys.logits_scaling or 1.0,
    }


def _read_olmo2(keys: _Keys) -> dict[str, Any]:
    biased = bool(keys.attention_bias)
    return {
        "joint_qk_norm": True,
        "pre_norm": False,
        "sandwich_norm": True,
        "attention_bias": biased,
        "output_bias": biased,
    }


def _read_olmo3(keys: _Keys) -> dict[str, Any]:
    return {**_read_olmo2(keys), "local_rope": _rope(keys, "sliding_attention")}


def _read_gemma2(keys: _Keys) -> dict[str, Any]:
    if keys.use_bidirectional_attention:
        raise InputError(
            "use_bidirectional_attention is True: only causal models are supported"
        )
    assert keys.query_pre_attn_scalar is not None  # `config_from_hf` has filled it in
    biased = bool(keys.attention_bias)
    return {
        "sandwich_norm": True,
        "unit_offset": True,
        "embedding_scale": keys.hidden_size**0.5,
        "attention_bias": biased,
        "output_bias": biased,
        "query_scale": keys.query_pre_attn_scalar**-0.5,
        "attention_cap": keys.attn_logit_softcapping,
        "logit_cap": keys.final_logit_softcapping,
    }


def _read_gemma3(keys: _Keys) -> dict[str, Any]:
    local = _rope(keys, "sliding_attention")
    return {**_read_gemma2(keys), "qk_norm": True, "local_rope": local}


def _read_gemma4(keys: _Keys) -> dict[str, Any]:
    _check_gemma4(keys)
    biased = bool(keys.attention_bias)
    full = _full_of_gemma4(keys)
    return {
        "sandwich_norm": True,
        "qk_norm": True,
        "value_norm": True,
        "layer_scale": True,
        "embedding_scale": keys.hidden_size**0.5,
        "query_scale": 1.0,
        "attention_bias": biased,
        "output_bias": biased,
        "logit_cap": keys.final_logit_softcapping,
        "local_rope": _rope(keys, "sliding_attention"),
        "full_head_dim": full.head_dim,
        "full_kv_heads": full.num_key_value_heads,
        "keys_as_values": bool(keys.attention_k_eq_v),
        "num_shared": keys.num_kv_shared_layers or 0,
        "wide_shared": bool(keys.use_double_wide_mlp),
        "per_layer_size": keys.hidden_size_per_layer_input or 0,
    }


def _check_gemma4(keys: _Keys) -> None:
    """Raises InputError for what is none of a dense decoder of text."""
    if keys.enable_moe_block:
        raise InputError(
            "enable_moe_block is True: only models without experts are supported in "
            "the family gemma4_text"
        )
    if keys.use_bidirectional_attention in (True, "all"):
        raise InputError(
            f"use_bidirectional_attention is {keys.use_bidirectional_attention!r}: "
            "only causal models are supported"
        )
    size = keys.vocab_size_per_layer_input
    if keys.hidden_size_per_layer_input and size not in (None, keys.vocab_size):
        raise InputError(
            f"vocab_size_per_layer_input is {size}: that of the vocabulary, "
            f"{keys.vocab_size}, is needed"
        )
    if keys.attn_logit_softcapping is not None:
        raise InputError(
            f"attn_logit_softcapping is {keys.attn_logit_softcapping}: only models "
            "without it are supported in the family gemma4_text"
        )


def _full_of_gemma4(keys: _Keys) -> _FullKeys:
    """Sizes of layers with full attention, by older or newer keys."""
    if keys.per_layer_config is None:
        shares = bool(keys.attention_k_eq_v)
        heads = keys.num_global_key_value_heads if shares else None
        return _FullKeys(keys.global_head_dim, heads)
    full = [i for i, local in enumerate(_all_but_last(keys)) if not local]
    record = keys.per_layer_config
    each = [
        schema.build(_FullKeys, record.get(str(i), {}), f"per_layer_config.{i}.")
        for i in range(keys.num_hidden_layers)
    ]
    same = each[full[0]]
    for i, found in enumerate(each):
        wanted = same if i in full else _FullKeys()
        if found != wanted:
            raise InputError(
                f"per_layer_config.{i} is {schema.shown(record.get(str(i)))}: layers "
                "of one kind of attention need to be of equal size"
            )
    return same


def _all_but_last(keys: _Keys) -> tuple[bool, ...]:
    """By kinds or by pattern; the last layer has full attention in any case."""
    return (*_by_pattern(keys)[:-1], False)


_FAMILY: dict[str, _Family] = {
    "qwen2": _Family(_read_qwen2, "Qwen2ForCausalLM", _upper_if_used),
    "qwen3": _Family(_read_qwen3, "Qwen3ForCausalLM", _upper_if_used),
    "qwen3_moe": _Family(_read_qwen3_moe, "Qwen3MoeForCausalLM", _everywhere_if_used),
    "qwen3_5_text": _Family(_read_qwen3_5, "Qwen3_5ForCausalLM", _nowhere),
    "llama": _Family(_read_llama, "LlamaForCausalLM", _nowhere),
    "mistral": _Family(_read_mistral, "MistralForCausalLM", _everywhere),
    "ministral": _Family(_read_mistral, "MinistralForCausalLM", _by_kind_or_everywhere),
    "ministral3": _Family(_read_ministral3, "Ministral3ForCausalLM", _everywhere),
    "smollm3": _Family(_read_smollm3, "SmolLM3ForCausalLM", _unrotated_if_used),
    "phi3": _Family(_read_mistral, "Phi3ForCausalLM", _everywhere),
    "granite": _Family(_read_granite, "GraniteForCausalLM", _nowhere),
    "olmo2": _Family(_read_olmo2, "Olmo2ForCausalLM", _nowhere),
    "olmo3": _Family(_read_olmo3, "Olmo3ForCausalLM", _by_pattern),
    "gemma2": _Family(_read_gemma2, "Gemma2ForCausalLM", _by_pattern),
    "gemma3_text": _Family(_read_gemma3, "Gemma3ForCausalLM", _by_pattern),
    "gemma4_text": _Family(_read_gemma4, "Gemma4ForCausalLM", _all_but_last),
}


def config_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """The config.json of a decoder; `config_from_hf` of it gives the decoder back.

    Raises:
      InputError: if its family's config.json cannot describe the decoder.
    """
    hf = _written(config)
    wanted, found = _plain(config), config_from_hf(hf)
    for field in dataclasses.fields(config):
        value, known = getattr(wanted, field.name), getattr(found, field.name)
        if value != known:
            raise InputError(
                f"{field.name} is {value!r}: a config.json of {config.family} can "
                f"only say {known!r} here"
            )
    return hf


def _written(config: DecoderConfig) -> dict[str, Any]:
    activation = "silu" if config.activation == "silu" else "gelu_pytorch_tanh"
    family, rope = config.family, config.rope
    longest = config.max_length
    if rope.kind == "longrope":
        longest = round(rope.factor * rope.original_length)
    hf = {
        "architectures": [_FAMILY[family].architecture],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        "max_position_embeddings": longest,
    }
    is_gemma = family in ("gemma2", "gemma3_text", "gemma4_text")
    hf["hidden_activation" if is_gemma else "hidden_act"] = activation
    hf["rope_parameters"] = _rope_to_hf(rope, family)
    if family in ("gemma3_text", "gemma4_text", "olmo3"):
        kinds = rope, config.local_rope or rope
        hf["rope_parameters"] = dict(zip(KINDS, map(_rope_to_hf, kinds), strict=True))
    if family in _BIASED:
        hf["attention_bias"] = config.attention_bias
    if family in ("llama", "smollm3", "granite"):
        hf["mlp_bias"] = config.mlp_bias
    if family in _PADDED:
        hf["pad_token_id"] = None
    return hf | _window_to_hf(config) | _others_to_hf(config)


# Families of which config.json says whether attention has biases.
_BIASED = (
    *(
        "qwen3",
        "qwen3_moe",
        "qwen3_5_text",
        "llama",
        "smollm3",
        "granite",
        "olmo2",
        "olmo3",
    ),
    *("gemma2", "gemma3_text", "gemma4_text"),
)


# Families whose class in transformers has a token for padding, in no other vocabulary.
_PADDED = ("ministral3", "smollm3", "phi3", "olmo2", "olmo3")


def _window_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """Keys of the window, left out where they do not matter."""
    if any(config.sliding):
        hf = {"sliding_window": config.window, "use_sliding_window": True}
        if config.family not in ("mistral", "ministral3", "phi3", "qwen3_moe"):
            hf["layer_types"] = [KINDS[sliding] for sliding in config.sliding]
        return hf
    if config.family in ("olmo3", "gemma2", "gemma3_text", "gemma4_text"):
        # Transformers needs a width, though no layer has a window.
        return {"layer_types": ["full_attention"] * config.num_layers}
    if config.family in ("mistral", "ministral"):
        return {"sliding_window": None}
    return {}


def _others_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """Keys that one family has."""
    family, scale = config.family, config.query_scale or config.head_dim**-0.5
    hf: dict[str, Any] = {}
    if family in ("gemma2", "gemma3_text"):
        hf["query_pre_attn_scalar"] = round(scale**-2)
        hf["attn_logit_softcapping"] = config.attention_cap
        hf["final_logit_softcapping"] = config.logit_cap
    elif family == "gemma4_text":
        hf |= {
            "final_logit_softcapping": config.logit_cap,
            "global_head_dim": config.full_head_dim or config.head_dim,
            "num_global_key_value_heads": config.full_kv_heads,
            "attention_k_eq_v": config.keys_as_values,
            "num_kv_shared_layers": config.num_shared,
            "use_double_wide_mlp": config.wide_shared,
            "hidden_size_per_layer_input": config.per_layer_size,
            "vocab_size_per_layer_input": config.vocab_size,
        }
    elif family == "granite":
        hf["attention_multiplier"] = scale
        hf["embedding_multiplier"] = config.embedding_scale
        hf["residual_multiplier"] = config.residual_scale
        hf["logits_scaling"] = config.logit_divisor
    elif family == "smollm3":
        unrotated = config.unrotated or (False,) * config.num_layers
        hf["no_rope_layers"] = [int(not entry) for entry in unrotated]
    elif family == "ministral3" and config.query_growth is not None:
        hf["rope_parameters"] = {
            **_rope_to_hf(config.rope),
            "llama_4_scaling_beta": config.query_growth,
            "original_max_position_embeddings": config.rope.original_length,
        }
    elif family == "phi3" and config.rope.kind == "longrope":
        hf["original_max_position_embeddings"] = config.rope.original_length
    elif family == "qwen3_5_text":
        recurrent = config.recurrent or (False,) * config.num_layers
        kinds = [get_args(Kind)[2 * entry] for entry in recurrent]
        sizes = {f"linear_{key}": field for field, key in _DELTA_KEYS.items()}
        delta = config.delta or Delta(16, 32, 128, 128)
        hf |= {name: getattr(delta, field) for name, field in sizes.items()}
        hf["layer_types"] = kinds
    elif family == "qwen3_moe":
        hf |= {
            "moe_intermediate_size": config.intermediate_size,
            "num_experts": config.num_experts,
            "num_experts_per_tok": config.experts_per_token,
            "norm_topk_prob": config.normalise_experts,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    return hf


def _rope_to_hf(rope: Rope, family: str = "") -> dict[str, Any]:
    hf: dict[str, Any] = {"rope_theta": rope.theta, "rope_type": rope.kind}
    if rope.share != 1 or family == "qwen3_5_text":
        hf["partial_rotary_factor"] = rope.share
    for field, key in _ROPE_KEYS[rope.kind].items():
        value = getattr(rope, field)
        if value is not None:
            hf[key] = list(value) if isinstance(value, tuple) else value
    return hf
