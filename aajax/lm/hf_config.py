"""How config.json of each Hugging Face family says what a decoder is."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aajax.errors import InputError
from aajax.lm.config import FAMILIES, ROPE_KINDS, DecoderConfig, Rope

KINDS = ("full_attention", "sliding_attention")

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


class _Family(NamedTuple):
    """What a family's config.json leaves unsaid: how to read it, what it writes."""

    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    architecture: str


def read_json(folder: Path, name: str) -> Mapping[str, Any]:
    """The object in a JSON file of a checkpoint folder.

    Raises:
      InputError: if it is not there, or is no object.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"folder is {folder}: {name} is needed in it ({error.strerror})"
        ) from error
    except ValueError as error:
        raise InputError(
            f"folder is {folder}: {name} must be JSON ({error})"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"folder is {folder}: {name} must be a JSON object")
    return content


def config_from_hf(hf: Mapping[str, Any]) -> DecoderConfig:
    """The decoder that a parsed config.json describes; version 4 and 5 keys.

    Raises:
      InputError: for a family, rope type, activation or soft-capping that is not known.
    """
    model_type = hf.get("model_type")
    if model_type == "gemma3" and "text_config" in hf:
        outer = {k: hf[k] for k in ("tie_word_embeddings",) if k in hf}
        inner = {**hf["text_config"], **outer, "model_type": "gemma3_text"}
        return config_from_hf(inner)
    if model_type not in _FAMILY:
        raise InputError(
            f"model_type is {model_type!r}: one of {', '.join(FAMILIES)} is needed"
        )
    if model_type == "gemma3_text":
        hf = {**_GEMMA3_TEXT, **hf}
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if hf.get(name) is not None:
            raise InputError(
                f"{name} is {hf[name]}: only models without it are supported"
            )
    heads, hidden = _count(hf, "num_attention_heads"), _count(hf, "hidden_size")
    layers = _count(hf, "num_hidden_layers")
    sliding, window = _sliding(hf, layers)
    fields = {
        "head_dim": _count(hf, "head_dim", hidden // heads),
        "tie_embeddings": bool(hf.get("tie_word_embeddings", False)),
        "rope": _rope(hf, "full_attention"),
        **_FAMILY[model_type].read(hf),
    }
    config = DecoderConfig(
        family=model_type,
        vocab_size=_count(hf, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=_count(hf, "intermediate_size"),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=_count(hf, "num_key_value_heads", heads),
        norm_epsilon=_number(hf, "rms_norm_eps", 1e-6),
        activation=_activation(hf),
        window=window,
        sliding=sliding,
        max_length=_count(hf, "max_position_embeddings", 32_768),
        **fields,
    )
    return _plain(config)


def _plain(config: DecoderConfig) -> DecoderConfig:
    """The one among the configs of the same decoder that leaves out what it may."""
    changes: dict[str, Any] = {}
    if config.query_scale == config.head_dim**-0.5:
        changes["query_scale"] = None
    if config.local_rope == config.rope:
        changes["local_rope"] = None
    if not any(config.sliding):
        changes |= {"sliding": (), "window": None}
    return dataclasses.replace(config, **changes)


def _number(hf: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = default if hf.get(name) is None else hf[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise InputError(f"{name} is {value!r}: a number above 0 is needed")
    return value


def _count(hf: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = _number(hf, name, default)
    if value != int(value):
        raise InputError(f"{name} is {value!r}: an integer is needed")
    return int(value)


def _activation(hf: Mapping[str, Any]) -> str:
    names = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
    name = hf.get("hidden_activation") or hf.get("hidden_act") or "silu"
    if name not in names:
        raise InputError(f"hidden_act is {name!r}: one of {', '.join(names)} is needed")
    return names[name]


def _sliding(hf: Mapping[str, Any], layers: int) -> tuple[tuple[bool, ...], int | None]:
    """Which layers see a window only, and its width; (), None if none does."""
    gemma = hf["model_type"] == "gemma3_text"
    used = gemma or (hf["model_type"] != "llama" and hf.get("use_sliding_window"))
    if not used or hf.get("sliding_window") is None:
        return (), None
    kinds = hf.get("layer_types")
    if kinds is not None:
        for kind in kinds:
            if kind not in KINDS:
                raise InputError(
                    f"layer_types has {kind!r}: {' and '.join(KINDS)} are supported"
                )
        sliding = tuple(kind == "sliding_attention" for kind in kinds)
    elif gemma:
        pattern = _count(hf, "sliding_window_pattern")
        sliding = tuple(bool((layer + 1) % pattern) for layer in range(layers))
    else:
        first = hf.get("max_window_layers", 28)
        sliding = tuple(layer >= first for layer in range(layers))
    return sliding, _count(hf, "sliding_window")


def _rope(hf: Mapping[str, Any], kind: str) -> Rope:
    """Of full or of sliding attention, from either generation of keys."""
    local = kind == "sliding_attention"
    default = 1e6 if hf["model_type"] == "gemma3_text" and not local else 1e4
    given = hf.get("rope_parameters") or {}
    if any(each in given for each in KINDS):
        given = given.get(kind) or {}
    elif local:
        given = {}
    parameters = {
        "rope_theta": hf.get("rope_local_base_freq" if local else "rope_theta"),
        "partial_rotary_factor": hf.get("partial_rotary_factor"),
        **((not local and hf.get("rope_scaling")) or {}),
        **given,
    }
    name = parameters.get("rope_type", parameters.get("type", "default"))
    if name not in ROPE_KINDS:
        raise InputError(
            f"rope_type is {name!r}: one of {', '.join(ROPE_KINDS)} is needed"
        )
    if parameters["partial_rotary_factor"] not in (None, 1.0):
        raise InputError(
            f"partial_rotary_factor is {parameters['partial_rotary_factor']}: only "
            "models that rotate whole heads are supported"
        )
    rope = Rope(theta=float(_number(parameters, "rope_theta", default)), kind=name)
    if name != "default":
        rope = dataclasses.replace(rope, factor=float(_number(parameters, "factor")))
    if name == "llama3":
        context = "original_max_position_embeddings"
        longest = hf.get("max_position_embeddings")
        rope = dataclasses.replace(
            rope,
            low_frequency_factor=float(_number(parameters, "low_freq_factor")),
            high_frequency_factor=float(_number(parameters, "high_freq_factor")),
            original_length=_count(parameters, context, longest),
        )
    return rope


def _read_llama(hf: Mapping[str, Any]) -> dict[str, Any]:
    biased = bool(hf.get("attention_bias", False))
    return {
        "attention_bias": biased,
        "output_bias": biased,
        "mlp_bias": bool(hf.get("mlp_bias", False)),
    }


def _read_qwen2(hf: Mapping[str, Any]) -> dict[str, Any]:
    del hf
    return {"attention_bias": True}


def _read_qwen3(hf: Mapping[str, Any]) -> dict[str, Any]:
    biased = bool(hf.get("attention_bias", False))
    return {
        "qk_norm": True,
        "attention_bias": biased,
        "output_bias": biased,
        "head_dim": _count(hf, "head_dim", 128),
    }


def _read_gemma3(hf: Mapping[str, Any]) -> dict[str, Any]:
    if hf.get("use_bidirectional_attention"):
        raise InputError(
            "use_bidirectional_attention is True: only causal models are supported"
        )
    biased = bool(hf.get("attention_bias", False))
    return {
        "qk_norm": True,
        "sandwich_norm": True,
        "unit_offset": True,
        "scale_embedding": True,
        "attention_bias": biased,
        "output_bias": biased,
        "query_scale": _number(hf, "query_pre_attn_scalar") ** -0.5,
        "local_rope": _rope(hf, "sliding_attention"),
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
      InputError: if the decoder is none that its family's config.json can describe.
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
