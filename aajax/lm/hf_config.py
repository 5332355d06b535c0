"""How config.json of each Hugging Face family says what a decoder is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aajax.lm.config import FAMILIES, DecoderConfig, Rope

ROPE_TYPES = ("default", "linear", "llama3")


class _Family(NamedTuple):
    """What a family's config.json leaves unsaid: how to read it, what it writes."""

    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    architecture: str


def config_from_hf(hf: Mapping[str, Any]) -> DecoderConfig:
    """The decoder that a parsed config.json describes; version 4 and 5 keys.

    Raises:
      ValueError: for a family, rope type, activation or soft-capping that is not known.
    """
    model_type = hf.get("model_type")
    if model_type == "gemma3" and "text_config" in hf:
        inner = dict(hf["text_config"])
        inner.setdefault("tie_word_embeddings", hf.get("tie_word_embeddings", True))
        return config_from_hf({**inner, "model_type": "gemma3_text"})
    if model_type not in _FAMILY:
        raise ValueError(
            f"model_type is {model_type!r}: one of {', '.join(FAMILIES)} is needed"
        )
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if hf.get(name) is not None:
            raise ValueError(
                f"{name} is {hf[name]}: only models without it are supported"
            )
    heads, hidden = _needed(hf, "num_attention_heads"), _needed(hf, "hidden_size")
    layers = _needed(hf, "num_hidden_layers")
    sliding, window = _sliding(hf, layers)
    return DecoderConfig(
        family=model_type,
        vocab_size=_needed(hf, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=_needed(hf, "intermediate_size"),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=hf.get("num_key_value_heads") or heads,
        norm_epsilon=hf.get("rms_norm_eps", 1e-6),
        window=window,
        sliding=sliding,
        max_length=hf.get("max_position_embeddings", 32_768),
        **{
            "head_dim": hf.get("head_dim") or hidden // heads,
            "tie_embeddings": bool(hf.get("tie_word_embeddings", False)),
            "activation": _activation(hf),
            "rope": _rope(hf, "full_attention"),
            **_FAMILY[model_type].read(hf),
        },
    )


def _needed(hf: Mapping[str, Any], name: str) -> int:
    if not isinstance(hf.get(name), int):
        raise ValueError(
            f"{name} is {hf.get(name)!r}: config.json must give an integer"
        )
    return hf[name]


def _activation(hf: Mapping[str, Any]) -> str:
    names = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
    name = hf.get("hidden_activation") or hf.get("hidden_act") or "silu"
    if name not in names:
        raise ValueError(f"hidden_act is {name!r}: one of {', '.join(names)} is needed")
    return names[name]


def _sliding(hf: Mapping[str, Any], layers: int) -> tuple[tuple[bool, ...], int | None]:
    """Which layers see a window only, and its width; (), None if none does."""
    if hf["model_type"] in ("qwen2", "qwen3") and not hf.get("use_sliding_window"):
        return (), None
    window = hf.get("sliding_window")
    kinds = hf.get("layer_types")
    if kinds is not None:
        for kind in kinds:
            if kind not in ("full_attention", "sliding_attention"):
                raise ValueError(
                    f"layer_types has {kind!r}: full_attention and sliding_attention "
                    "are supported"
                )
        sliding = tuple(kind == "sliding_attention" for kind in kinds)
    elif hf["model_type"] == "gemma3_text":
        pattern = hf.get("sliding_window_pattern", 6)
        sliding = tuple(bool((layer + 1) % pattern) for layer in range(layers))
    elif hf["model_type"] in ("qwen2", "qwen3"):
        first = hf.get("max_window_layers", layers)
        sliding = tuple(layer >= first for layer in range(layers))
    else:
        return (), None
    return (sliding, window) if any(sliding) and window else ((), None)


def _rope(hf: Mapping[str, Any], kind: str) -> Rope:
    """Of full or of sliding attention, from either generation of keys."""
    parameters = hf.get("rope_parameters") or {}
    parameters = parameters.get(kind, parameters)
    if not parameters:
        local = kind == "sliding_attention"
        scaling = None if local else hf.get("rope_scaling")
        default = 10_000.0 if local or hf["model_type"] != "gemma3_text" else 1e6
        theta = hf.get("rope_local_base_freq" if local else "rope_theta", default)
        parameters = {"rope_theta": theta, **(scaling or {})}
    name = parameters.get("rope_type", parameters.get("type", "default"))
    if name not in ROPE_TYPES:
        raise ValueError(
            f"rope_type is {name!r}: one of {', '.join(ROPE_TYPES)} is needed"
        )
    return Rope(
        theta=float(parameters.get("rope_theta", hf.get("rope_theta", 10_000.0))),
        kind=name,
        factor=float(parameters.get("factor", 1.0)),
        low_frequency_factor=float(parameters.get("low_freq_factor", 1.0)),
        high_frequency_factor=float(parameters.get("high_freq_factor", 4.0)),
        original_length=int(parameters.get("original_max_position_embeddings", 8192)),
    )


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
        "head_dim": hf.get("head_dim") or 128,
    }


def _read_gemma3(hf: Mapping[str, Any]) -> dict[str, Any]:
    if hf.get("use_bidirectional_attention"):
        raise ValueError(
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
        "head_dim": hf.get("head_dim") or 256,
        "tie_embeddings": bool(hf.get("tie_word_embeddings", True)),
        "activation": _activation({"hidden_act": "gelu_pytorch_tanh", **hf}),
        "query_scale": float(hf.get("query_pre_attn_scalar", 256)) ** -0.5,
        "local_rope": _rope(hf, "sliding_attention"),
    }


_FAMILY = {
    "qwen2": _Family(_read_qwen2, "Qwen2ForCausalLM"),
    "qwen3": _Family(_read_qwen3, "Qwen3ForCausalLM"),
    "llama": _Family(_read_llama, "LlamaForCausalLM"),
    "gemma3_text": _Family(_read_gemma3, "Gemma3ForCausalLM"),
}


def config_to_hf(config: DecoderConfig) -> dict[str, Any]:
    """The config.json of a decoder; `config_from_hf` of it gives the decoder back."""
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
        kinds = ("full_attention", "sliding_attention")
        hf["sliding_window"] = config.window
        hf["layer_types"] = [kinds[sliding] for sliding in config.sliding]
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
