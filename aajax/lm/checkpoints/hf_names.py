"""Names of a decoder's parameters in Hugging Face checkpoints."""

import re
from typing import NamedTuple

from aajax.lm.model.config import DecoderConfig

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_WHOLE = {
    "embedding": EMBEDDING,
    "head": HEAD,
    "norm/scale": "model.norm.weight",
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
}
_SANDWICH = {  # here the name of the others' norm before the MLP is taken
    "post_attention_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "post_mlp_norm": "post_feedforward_layernorm",
}
_BUFFER = re.compile(r"(^|\.)rotary_emb\.inv_freq$")
_NOT_TEXT = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\.")
_TEXT = (  # of folders with images too, before and since version 5 of transformers
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)


class Stored(NamedTuple):
    """How a parameter is stored in a checkpoint.

    Attributes:
      names: of its tensors, one per layer if it is stacked, else one.
      is_stacked: whether the parameter's first axis is layers.
      is_transposed: whether tensors are its transpose: [out, in] for kernels [in, out].
    """

    names: tuple[str, ...]
    is_stacked: bool
    is_transposed: bool


def stored(config: DecoderConfig, path: str) -> Stored:
    """The tensors of the parameter at `path`, such as layers/attention/key/kernel."""
    if path in _WHOLE:
        return Stored((_WHOLE[path],), is_stacked=False, is_transposed=False)
    module, leaf = path.removeprefix("layers/").rsplit("/", 1)
    modules = {**_MODULES, **(_SANDWICH if config.sandwich_norm else {})}
    end = f"{modules[module]}.{'bias' if leaf == 'bias' else 'weight'}"
    names = tuple(f"model.layers.{layer}.{end}" for layer in range(config.num_layers))
    return Stored(names, is_stacked=True, is_transposed=leaf == "kernel")


def text_name(config: DecoderConfig, name: str) -> str | None:
    """The name of a checkpoint's tensor in a text-only model; None if it is not needed.

    Not needed are rotary frequencies, which old checkpoints store, and vision towers.
    In multimodal gemma3 checkpoints the prefix of the text model is removed.
    """
    if _BUFFER.search(name):
        return None
    if config.family == "gemma3_text":
        if _NOT_TEXT.match(name):
            return None
        for prefix, plain in _TEXT:
            if name.startswith(prefix):
                return plain + name.removeprefix(prefix)
    return name
