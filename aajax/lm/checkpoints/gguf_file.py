"""Reads GGUF files, the format of llama.cpp, into checkpoint folders.

Tensors are dequantised by the package `gguf`, to float32 unless the file has them in
half precision. What llama.cpp changes in its files is undone: rows of query and key in
the Llama family are in another order there, Gemma's norms have 1 added, and all experts
of a layer are one tensor.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from aajax.errors import InputError
from aajax.lm.checkpoints.gguf_tokenizer import build_tokenizer
from aajax.lm.checkpoints.hf_config import config_from_hf
from aajax.lm.checkpoints.weights import write_folder
from aajax.lm.model.config import Rope

FAMILIES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "smollm3": "smollm3",
    "phi3": "phi3",
    "granite": "granite",
    "olmo2": "olmo2",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
}
_REORDERED = ("llama", "smollm3", "granite")  # rows of query and key
QUANTISATIONS = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"),
)
_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output.weight": "lm_head.weight",
    "output_norm.weight": "model.norm.weight",
}
_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS_AFTER = {  # attention and MLP
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_OWN_MODULES = {
    "gemma2": _NORMS_AFTER,
    "gemma3": _NORMS_AFTER,
    "olmo2": _NORMS_AFTER,
    "phi3": {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
    "qwen3moe": {
        "ffn_gate_inp": "mlp.gate",
        "ffn_gate_exps": "mlp.experts.{}.gate_proj",
        "ffn_up_exps": "mlp.experts.{}.up_proj",
        "ffn_down_exps": "mlp.experts.{}.down_proj",
    },
}
_ORIGINAL = "original_max_position_embeddings"
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
_FREQUENCIES = "rope_freqs.weight"  # factors of Llama 3's rotary frequencies
_SCALARS = {  # key → key of config.json
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "context_length": "max_position_embeddings",
}
# Of one architecture alone.
_OWN_SCALARS = {
    "granite": {
        "attention.scale": "attention_multiplier",
        "embedding_scale": "embedding_multiplier",
        "residual_scale": "residual_multiplier",
        "logit_scale": "logits_scaling",
    },
    "gemma2": {
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    "qwen3moe": {
        "expert_count": "num_experts",
        "expert_used_count": "num_experts_per_tok",
        "expert_feed_forward_length": "moe_intermediate_size",
    },
}


def import_gguf(file: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Writes the Hugging Face folder of a GGUF file: config, weights, tokenizer.

    The chat template of the file comes with its tokenizer.

    Args:
      file: of a decoder of one of FAMILIES, in one of QUANTISATIONS.
      folder: created if it does not exist.

    Raises:
      InputError: for a file that is cut off or of an unknown architecture,
        quantisation or tokenizer, or whose weights do not fit in memory; before
        weights are read.
    """
    opened = _open(Path(file))
    config = config_from_hf(opened.config())
    parts = list(opened.parts(config.num_heads, config.num_kv_heads))
    _check_memory(opened.file, sum(part.nbytes for part in parts))
    tokenizer = build_tokenizer(opened.file, opened.metadata)
    stops = opened.metadata.get("tokenizer.ggml.eos_token_id")
    more = {} if stops is None else {"eos_token_id": stops}
    tokenizer.save_pretrained(folder)
    dtype = {"dtype": np.dtype(parts[0].dtype).name}
    write_folder(Path(folder), {**opened.config(), **dtype, **more}, parts)


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A tensor of a GGUF file, as one of a Hugging Face checkpoint."""

    name: str
    source: Any
    dtype: np.dtype
    heads: int  # in whose order rows are; 0: no such
    is_offset: bool
    expert: int | None = None  # of those in the tensor, which it is

    @property
    def nbytes(self) -> int:
        count = 1 if self.expert is None else int(self.source.shape[-1])
        return int(self.source.n_elements) * self.dtype.itemsize // count

    def fetch(self) -> np.ndarray:
        """Its numbers, dequantised and laid out as transformers has them."""
        import gguf

        kind = self.source.tensor_type
        data = self.source.data
        shape = [int(n) for n in reversed(self.source.shape)]
        if self.expert is not None:
            data, shape = data[self.expert], shape[1:]
        x = gguf.dequantize(data, kind).reshape(shape)
        if self.heads:
            pairs = x.reshape(self.heads, -1, 2, *x.shape[1:])
            x = pairs.swapaxes(1, 2).reshape(x.shape)
        if self.is_offset:
            x = x - 1.0
        return np.ascontiguousarray(x).astype(self.dtype)


@dataclasses.dataclass(frozen=True)
class _File:
    file: Path
    metadata: dict[str, Any]
    tensors: dict[str, Any]

    @property
    def architecture(self) -> str:
        return self.metadata["general.architecture"]

    def get(self, key: str, default: Any = None) -> Any:
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def config(self) -> dict[str, Any]:
        """What config.json says."""
        hf = {name: self.get(key) for key, name in _SCALARS.items()}
        missing = [key for key, name in _SCALARS.items() if hf[name] is None]
        if missing:
            raise InputError(
                f"{_label(self.file)}: its {self.architecture}.{missing[0]} is needed"
            )
        embedding = self.tensors.get("token_embd.weight")
        if embedding is None:
            raise InputError(f"{_label(self.file)}: its token_embd.weight is needed")
        epsilon = float(self.get("attention.layer_norm_rms_epsilon", 1e-6))
        heads = hf["num_attention_heads"]
        hf |= {
            "model_type": FAMILIES[self.architecture],
            "vocab_size": int(embedding.shape[1]),
            "head_dim": self.get("attention.key_length", hf["hidden_size"] // heads),
            # Stored in 32 bits; this is what was written.
            "rms_norm_eps": float(f"{epsilon:.6g}"),
            "tie_word_embeddings": "output.weight" not in self.tensors,
            "rope_parameters": self._rope(),
        }
        for key, name in _OWN_SCALARS.get(self.architecture, {}).items():
            if self.get(key) is not None:
                hf[name] = self.get(key)
        return hf | self._own(hf)

    def _own(self, hf: dict[str, Any]) -> dict[str, Any]:
        """What config.json says of one architecture, some of it not in the file."""
        rope, heads = hf["rope_parameters"], hf["num_attention_heads"]
        window = self.get("attention.sliding_window") or None
        plain = {"rope_theta": rope["rope_theta"], "rope_type": "default"}
        if self.architecture == "gemma3":
            # Of the sizes that there are one differs.
            scalar = hf["hidden_size"] // heads
            is_largest = hf["num_hidden_layers"] == 62
            return {
                "query_pre_attn_scalar": scalar if is_largest else hf["head_dim"],
                "sliding_window": window,
                "rope_parameters": {
                    "full_attention": rope,
                    "sliding_attention": {**plain, "rope_theta": 1e4},
                },
            }
        if self.architecture == "gemma2":
            is_largest = hf["num_hidden_layers"] == 46
            scalar = hf["hidden_size"] // heads if is_largest else hf["head_dim"]
            return {"query_pre_attn_scalar": scalar, "sliding_window": window}
        if self.architecture == "olmo2" and window:
            return {
                "model_type": "olmo3",
                "sliding_window": window,
                "rope_parameters": {"full_attention": rope, "sliding_attention": plain},
            }
        if self.architecture == "phi3":
            own = {"sliding_window": window}
            length = self.get("rope.scaling.original_context_length")
            return own if length is None else own | {_ORIGINAL: length}
        if self.architecture == "qwen3moe":
            return {"norm_topk_prob": True}  # in all that there are
        return {}

    def _rope(self) -> dict[str, Any]:
        rope: dict[str, Any] = {
            "rope_theta": float(self.get("rope.freq_base", 1e4)),
            "rope_type": "default",
        }
        size = self.get("attention.key_length")
        size = size or self.get("embedding_length") // self.get("attention.head_count")
        if self.architecture == "phi3":
            rope["partial_rotary_factor"] = (
                self.get("rope.dimension_count", size) / size
            )
        if _SHORT in self.tensors:
            return rope | self._longrope()
        kind = self.get("rope.scaling.type", "none")
        if kind not in ("linear", "yarn", "none"):
            raise InputError(
                f"{_label(self.file)}: {self.architecture}.rope.scaling.type is "
                f"{kind!r}, and none, linear or yarn is needed"
            )
        if kind != "none":
            factor = float(self.get("rope.scaling.factor"))
            usual = (1.0, Rope(kind="yarn", factor=factor).amplitude)
            amplitude = self.get("rope.scaling.attn_factor", 1.0)
            if not np.isclose(amplitude, usual, rtol=1e-4).any():
                raise InputError(
                    f"{_label(self.file)}: {self.architecture}.rope.scaling.attn_factor"
                    f" is {amplitude}, and that of the factor {factor} is needed"
                )
            rope |= {"rope_type": kind, "factor": factor}
            length = self.get("rope.scaling.original_context_length")
            if length is not None:
                rope[_ORIGINAL] = length
            return rope
        if _FREQUENCIES not in self.tensors:
            return rope
        return rope | self._llama3(rope["rope_theta"])

    def _longrope(self) -> dict[str, Any]:
        """Phi-3's scaling, whose factors are tensors."""

        def factors(name: str) -> list[float]:
            numbers = np.asarray(self.tensors[name].data, np.float32).reshape(-1)
            return [float(f"{number:.7g}") for number in numbers]

        return {
            "rope_type": "longrope",
            "short_factor": factors(_SHORT),
            "long_factor": factors(_LONG if _LONG in self.tensors else _SHORT),
        }

    def _llama3(self, theta: float) -> dict[str, Any]:
        """Llama 3's scaling, of which the file has the factors alone."""
        factors = np.asarray(self.tensors[_FREQUENCIES].data, np.float32).reshape(-1)
        scaling = {
            "rope_type": "llama3",
            "factor": float(factors.max()),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        size = 2 * len(factors)
        scaled = Rope(theta, "llama3", scaling["factor"], 1.0, 4.0, 8192)
        found = Rope(theta).frequencies(size) / scaled.frequencies(size)
        if not np.allclose(found, factors, rtol=1e-3):
            raise InputError(
                f"{_label(self.file)}: the {_FREQUENCIES} of Llama 3 is needed"
            )
        return scaling

    def parts(self, num_heads: int, num_kv_heads: int) -> Iterator[_Tensor]:
        """All tensors of the decoder; raises InputError for one that it has not."""
        modules = {**_MODULES, **_OWN_MODULES.get(self.architecture, {})}
        kinds = {tensor.tensor_type.name for tensor in self.tensors.values()}
        dtype = {"F16": np.float16, "BF16": jnp.bfloat16}.get(
            next(iter(kinds - {"F32"}), ""), np.float32
        )
        dtype = np.dtype(dtype if len(kinds - {"F32"}) == 1 else np.float32)
        for name, tensor in self.tensors.items():
            if name in (_FREQUENCIES, _LONG, _SHORT):
                continue
            found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
            module = modules.get(found[2]) if found else None
            if name in _WHOLE:
                plain = _WHOLE[name]
            elif found and module is not None:
                plain = f"model.layers.{found[1]}.{module}.{found[3]}"
            else:
                raise InputError(
                    f"{_label(self.file)}: its tensor {name} is none of a decoder of "
                    f"the kind {self.architecture}"
                )
            kind = found[2] if found else ""
            heads = {"attn_q": num_heads, "attn_k": num_kv_heads}.get(kind, 0)
            own = (
                *(tensor, dtype, heads if self.architecture in _REORDERED else 0),
                self.architecture in ("gemma2", "gemma3") and "norm" in name,
            )
            if "{}" not in plain:
                yield _Tensor(plain, *own)
                continue
            for expert in range(int(tensor.shape[-1])):
                yield _Tensor(plain.format(expert), *own, expert)


def _label(file: Path) -> str:
    """How messages about a file begin."""
    return f"model is {str(file)!r}"


def _open(file: Path) -> _File:
    label = _label(file)
    metadata, tensors = _read(file)
    architecture = metadata.get("general.architecture")
    if architecture not in FAMILIES:
        raise InputError(
            f"{label}: a decoder of the kind {', '.join(FAMILIES)} is needed, not "
            f"{architecture}"
        )
    kinds = {tensor.tensor_type.name for tensor in tensors.values()}
    unknown = sorted(kinds.difference(QUANTISATIONS))
    if unknown:
        raise InputError(
            f"{label}: tensors in one of {', '.join(QUANTISATIONS)} are needed, not "
            f"{unknown[0]}"
        )
    return _File(file, metadata, tensors)


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata by key, and tensors by name, of which nothing is read yet."""
    try:
        import gguf
    except ModuleNotFoundError:
        raise InputError(
            "gguf is not installed: pip install 'aajax[lm]' is needed for GGUF files"
        ) from None
    try:
        reader = gguf.GGUFReader(file)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except OSError as error:
        raise InputError(
            f"{_label(file)}: a readable file is needed ({error})"
        ) from error
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{_label(file)}: a GGUF file that is not cut off is needed ({reason})"
        ) from error
    return metadata, {tensor.name: tensor for tensor in reader.tensors}


def _check_memory(file: Path, num_bytes: int) -> None:
    """Raises InputError if weights would not fit in memory, where the system tells."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return
    if num_bytes > memory:
        raise InputError(
            f"{_label(file)}: its weights take {num_bytes / 1e9:.3g} GB, more than "
            f"the {memory / 1e9:.3g} GB of memory"
        )
