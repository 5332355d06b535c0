"""Names of a decoder's parameters in Hugging Face checkpoints."""

import re
from typing import NamedTuple

from aajax.lm.model.config import (
    ATTENTION,
    DELTA,
    FULL_ATTENTION,
    MLP,
    WIDE_MLP,
    DecoderConfig,
)
from aajax.lm.model.lora import features

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_WHOLE = {
    "embedding": EMBEDDING,
    "head": HEAD,
    "norm/scale": "model.norm.weight",
    "layer_inputs/embedding": "model.embed_tokens_per_layer.weight",
    "layer_inputs/projection/kernel": "model.per_layer_model_projection.weight",
    "layer_inputs/norm/scale": "model.per_layer_projection_norm.weight",
}
_MODULES = {
    "attention_norm": "input_layernorm",
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.o_proj",
    "attention/query_norm": "self_attn.q_norm",
    "attention/key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp/gate": "mlp.gate_proj",
    "mlp/up": "mlp.up_proj",
    "mlp/down": "mlp.down_proj",
    "layer_input/gate": "per_layer_input_gate",
    "layer_input/output": "per_layer_projection",
    "post_layer_input_norm": "post_per_layer_input_norm",
}
# Of some layers, in place of another block, by whose names they are stored.
_VARIANTS = {FULL_ATTENTION: ATTENTION, WIDE_MLP: MLP}
_SANDWICH = {  # here the name of the others' norm before the MLP is taken
    "post_attention_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "post_mlp_norm": "post_feedforward_layernorm",
}
_EXPERTS = {
    "mlp/router": "mlp.gate",
    "mlp/gate": "mlp.experts.{}.gate_proj",
    "mlp/up": "mlp.experts.{}.up_proj",
    "mlp/down": "mlp.experts.{}.down_proj",
}
_DELTA = {
    "delta/mixed": "linear_attn.in_proj_qkv",
    "delta/gate": "linear_attn.in_proj_z",
    "delta/write": "linear_attn.in_proj_b",
    "delta/forget": "linear_attn.in_proj_a",
    "delta/output": "linear_attn.out_proj",
}
_DELTA_LEAVES = {
    "convolution": "linear_attn.conv1d.weight",
    "log_rate": "linear_attn.A_log",
    "forget_bias": "linear_attn.dt_bias",
    "norm": "linear_attn.norm.weight",
}
# Of Phi-3: several linear layers are rows of one.
_FUSED = {
    "self_attn.qkv_proj": ("attention/query", "attention/key", "attention/value"),
    "mlp.gate_up_proj": ("mlp/gate", "mlp/up"),
}
_BUFFER = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
_NOT_TEXT = re.compile(
    r"(model\.)?(vision_tower|multi_modal_projector|visual|audio_tower|embed_vision"
    r"|embed_audio)\.|mtp\."
)
# Of layers that share the keys and values of others, where checkpoints have them.
_OF_KEYS = re.compile(
    r"model\.layers\.(\d+)\.self_attn\.(k_proj|v_proj|k_norm|v_norm)\."
)
_TEXT = (  # of folders with images too, before and since version 5 of transformers
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)


_WITH_IMAGES = "gemma3_text", "gemma4_text", "mistral", "ministral3", "qwen3_5_text"


class Stored(NamedTuple):
    """How a parameter is stored in a checkpoint.

    Attributes:
      names: of its tensors, one for each index of its leading axes, in their order.
      num_leading: how many leading axes there are: layers, and experts after them.
      is_transposed: whether tensors are its transpose: [out, in] for kernels [in, out].
      rows: which of the tensors' rows it is, and how many they have; None for all.
    """

    names: tuple[str, ...]
    num_leading: int
    is_transposed: bool
    rows: tuple[slice, int] | None = None


def stored(config: DecoderConfig, path: str) -> Stored:
    """The tensors of the parameter at `path`, such as layers/attention/key/kernel."""
    if path in _WHOLE:
        return Stored((_WHOLE[path],), 0, is_transposed=path.endswith("kernel"))
    module, _, leaf = path.removeprefix("layers/").rpartition("/")
    modules = {**_MODULES, **(_SANDWICH if config.sandwich_norm else {})}
    modules |= _EXPERTS if config.num_experts else _DELTA
    block, slash, part = module.partition("/")
    name = modules.get(_VARIANTS.get(block, block) + slash + part, "")
    rows = None
    parts = siblings(config, module)
    if len(parts) > 1:
        name = next(fused for fused, them in _FUSED.items() if them == parts)
        sizes = [_size(config, part) for part in parts]
        start = sum(sizes[: parts.index(module)])
        rows = slice(start, start + _size(config, module)), sum(sizes)
    end = f"{name}.{'bias' if leaf == 'bias' else 'weight'}"
    if module == DELTA:
        end = _DELTA_LEAVES[leaf]
    if leaf == "layer_scale":
        end = "layer_scalar"
    layers = config.having(module)
    experts = range(config.num_experts) if "{}" in name else (0,)
    names = tuple(
        f"model.layers.{layer}.{end.format(expert)}"
        for layer in layers
        for expert in experts
    )
    return Stored(names, 2 if "{}" in name else 1, leaf.startswith("kernel"), rows)


def siblings(config: DecoderConfig, module: str) -> tuple[str, ...]:
    """Linear layers that are stored as rows of one, such as attention/key, in order."""
    if config.family == "phi3":
        for parts in _FUSED.values():
            if module in parts:
                return parts
    return (module,)


def _size(config: DecoderConfig, module: str) -> int:
    return features(config, module.rsplit("/", 1)[1])[1]


def text_name(config: DecoderConfig, name: str) -> str | None:
    """The name of a checkpoint's tensor in a text-only model; None if it is not needed.

    Not needed are rotary frequencies, which old checkpoints store, and vision towers.
    In multimodal checkpoints the prefix of the text model is removed.
    """
    if _BUFFER.search(name):
        return None
    if config.family in _WITH_IMAGES:
        if _NOT_TEXT.match(name):
            return None
        for prefix, plain in _TEXT:
            if name.startswith(prefix):
                name = plain + name.removeprefix(prefix)
                break
    of_keys = _OF_KEYS.match(name)
    if of_keys and int(of_keys[1]) >= config.first_shared:
        return None
    return name
