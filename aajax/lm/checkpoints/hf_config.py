"""Conversion between a Hugging Face config.json and `DecoderConfig`, by family."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from aajax import records, schema
from aajax.errors import InputError
from aajax.lm.model.config import MOST_LAYERS, DecoderConfig, Family, Rope, RopeKind
from aajax.schema import Count, Natural, Positive, Range, check

Kind = Literal["full_attention", "sliding_attention"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The text part of a gemma3 folder leaves out what is as in transformers' config class.
_GEMMA3_TEXT = {
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
}


@dataclasses.dataclass(frozen=True)
class _RopeKeys:
    """Keys of rope_parameters, or of rope_scaling before them; None: left out."""

    rope_type: RopeKind | None = None
    type: RopeKind | None = None  # its older name
    rope_theta: Positive | None = None
    partial_rotary_factor: float | None = None
    factor: Positive | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    original_max_position_embeddings: Count | None = None

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
    use_bidirectional_attention: bool | None = None
    attn_logit_softcapping: float | None = None
    final_logit_softcapping: float | None = None
    use_sliding_window: bool | None = None
    sliding_window: Count | None = None
    sliding_window_pattern: Count | None = None
    max_window_layers: Natural | None = None
    layer_types: tuple[Kind, ...] | None = None
    rope_theta: Positive | None = None
    rope_local_base_freq: Positive | None = None
    partial_rotary_factor: float | None = None
    rope_scaling: _RopeKeys | None = None
    rope_parameters: dict | None = None

    __post_init__ = check

    @property
    def is_gemma(self) -> bool:
        return self.model_type == "gemma3_text"

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
    """A model family: how its config.json is read, and its architecture's name."""

    read: Callable[[_Keys], dict[str, Any]]
    architecture: str


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
    if model_type == "gemma3" and "text_config" in hf:
        inner = hf["text_config"]
        if not isinstance(inner, Mapping):
            raise InputError(
                f"{prefix}text_config is {schema.shown(inner)}: an object is needed"
            )
        outer = {k: hf[k] for k in ("tie_word_embeddings",) if k in hf}
        inner = {**inner, **outer, "model_type": "gemma3_text"}
        return config_from_hf(inner, f"{prefix}text_config.")
    if model_type == "gemma3_text":
        given = {k: x for k, x in hf.items() if x is not None or k == "sliding_window"}
        hf = {**_GEMMA3_TEXT, **given}
    keys = schema.build(_Keys, hf, prefix, others=True)
    with schema.within(prefix):
        return _plain(_decoder(keys))


def _decoder(keys: _Keys) -> DecoderConfig:
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(keys, name) is not None:
            raise InputError(
                f"{name} is {getattr(keys, name)}: only models without it are supported"
            )
    heads, layers = keys.num_attention_heads, keys.num_hidden_layers
    sliding, window = _sliding(keys)
    fields = {
        "head_dim": keys.head_dim or keys.hidden_size // heads,
        "tie_embeddings": bool(keys.tie_word_embeddings),
        "rope": _rope(keys, "full_attention"),
        **_FAMILY[keys.model_type].read(keys),
    }
    return DecoderConfig(
        family=keys.model_type,
        vocab_size=keys.vocab_size,
        hidden_size=keys.hidden_size,
        intermediate_size=keys.intermediate_size,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=keys.num_key_value_heads or heads,
        norm_epsilon=keys.rms_norm_eps or 1e-6,
        activation=_activation(keys),
        window=window,
        sliding=sliding,
        max_length=keys.max_position_embeddings or 32_768,
        **fields,
    )


def _plain(config: DecoderConfig) -> DecoderConfig:
    """The canonical one of all configs that describe the same decoder."""
    changes: dict[str, Any] = {}
    if config.query_scale == config.head_dim**-0.5:
        changes["query_scale"] = None
    if config.local_rope == config.rope:
        changes["local_rope"] = None
    if not any(config.sliding):
        changes |= {"sliding": (), "window": None}
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


def _sliding(keys: _Keys) -> tuple[tuple[bool, ...], int | None]:
    """Which layers have sliding-window attention, and its width; (), None for none."""
    uses = keys.model_type != "llama" and keys.use_sliding_window
    if not (keys.is_gemma or uses) or keys.sliding_window is None:
        return (), None
    layers = range(keys.num_hidden_layers)
    if keys.layer_types is not None:
        sliding = tuple(kind == "sliding_attention" for kind in keys.layer_types)
    elif keys.is_gemma:
        pattern = keys.sliding_window_pattern
        assert pattern is not None  # `config_from_hf` has filled it in
        sliding = tuple(bool((layer + 1) % pattern) for layer in layers)
    else:
        first = 28 if keys.max_window_layers is None else keys.max_window_layers
        sliding = tuple(layer >= first for layer in layers)
    return sliding, keys.sliding_window


def _rope(keys: _Keys, kind: str) -> Rope:
    """The rotary embedding of full or sliding attention, from old or new keys."""
    local = kind == "sliding_attention"
    plain = _RopeKeys(
        rope_theta=keys.rope_local_base_freq if local else keys.rope_theta,
        partial_rotary_factor=keys.partial_rotary_factor,
    )
    scaling = None if local else keys.rope_scaling
    said: dict[str, Any] = {}
    for part in (plain, scaling or _RopeKeys(), keys.ropes(kind)):
        said |= {name: x for name, x in vars(part).items() if x is not None}
    name = said.get("rope_type", said.get("type", "default"))
    if said.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError(
            f"partial_rotary_factor is {said['partial_rotary_factor']}: only models "
            "that rotate whole heads are supported"
        )
    default = 1e6 if keys.is_gemma and not local else 1e4
    fields = {"theta": said.get("rope_theta", default), "kind": name}
    if name == "llama3":
        longest = keys.max_position_embeddings
        said.setdefault("original_max_position_embeddings", longest)
    for field, key in _ROPE_KEYS[name].items():
        if said.get(key) is None:
            raise InputError(
                f"{key} is missing: a number is needed with rope_type {name!r}"
            )
        fields[field] = said[key]
    return Rope(**fields)


# Kind → field of `Rope` → key.
_ROPE_KEYS = {
    "default": {},
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_frequency_factor": "low_freq_factor",
        "high_frequency_factor": "high_freq_factor",
        "original_length": "original_max_position_embeddings",
    },
}


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


def _read_gemma3(keys: _Keys) -> dict[str, Any]:
    if keys.use_bidirectional_attention:
        raise InputError(
            "use_bidirectional_attention is True: only causal models are supported"
        )
    assert keys.query_pre_attn_scalar is not None  # `config_from_hf` has filled it in
    biased = bool(keys.attention_bias)
    return {
        "qk_norm": True,
        "sandwich_norm": True,
        "unit_offset": True,
        "scale_embedding": True,
        "attention_bias": biased,
        "output_bias": biased,
        "query_scale": keys.query_pre_attn_scalar**-0.5,
        "local_rope": _rope(keys, "sliding_attention"),
    }


_FAMILY = {
    "qwen2": _Family(_read_qwen2, "Qwen2ForCausalLM"),
    "qwen3": _Family(_read_qwen3, "Qwen3ForCausalLM"),
    "llama": _Family(_read_llama, "LlamaForCausalLM"),
    "gemma3_text": _Family(_read_gemma3, "Gemma3ForCausalLM"),
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
    hf = {
        "architectures": [_FAMILY[config.family].architecture],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        "max_position_embeddings": config.max_length,
    }
    rope = _rope_to_hf(config.rope)
    if config.family == "gemma3_text":
        scale = config.query_scale or config.head_dim**-0.5
        hf["hidden_activation"] = activation
        hf["query_pre_attn_scalar"] = round(scale**-2)
        local = _rope_to_hf(config.local_rope or config.rope)
        hf["rope_parameters"] = {"full_attention": rope, "sliding_attention": local}
    else:
        hf["hidden_act"] = activation
        hf["rope_parameters"] = rope
    if config.family != "qwen2":
        hf["attention_bias"] = config.attention_bias
    if config.family == "llama":
        hf["mlp_bias"] = config.mlp_bias
    if any(config.sliding):
        hf["sliding_window"] = config.window
        hf["layer_types"] = [KINDS[sliding] for sliding in config.sliding]
        hf["use_sliding_window"] = True
    elif config.family == "gemma3_text":
        hf["layer_types"] = ["full_attention"] * config.num_layers
    return hf


def _rope_to_hf(rope: Rope) -> dict[str, Any]:
    hf: dict[str, Any] = {"rope_theta": rope.theta, "rope_type": rope.kind}
    if rope.kind != "default":
        hf["factor"] = rope.factor
    if rope.kind == "llama3":
        hf["low_freq_factor"] = rope.low_frequency_factor
        hf["high_freq_factor"] = rope.high_frequency_factor
        hf["original_max_position_embeddings"] = rope.original_length
    return hf
