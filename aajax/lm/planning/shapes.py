"""Published decoders by name, as their config.json files describe them.

Numbers are from the model cards' files at https://huggingface.co: Qwen/Qwen2.5-*
and -Instruct, Qwen/Qwen3-*, meta-llama/Llama-3.{1,2}-*, google/gemma-2-*-it and
gemma-3-*-it (text), HuggingFaceTB/SmolLM2-* and SmolLM3-3B, mistralai/Mistral-7B-v0.3,
microsoft/phi-4, allenai/OLMo-2-1124-7B.
"""

from pathlib import Path

from aajax.errors import InputError
from aajax.lm.model.config import DecoderConfig, Rope


def _qwen2(hidden, inner, layers, heads, kv_heads, vocab, tied) -> DecoderConfig:
    return DecoderConfig(
        family="qwen2",
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=hidden // heads,
        tie_embeddings=tied,
        attention_bias=True,
        rope=Rope(theta=1e6),
    )


def _qwen3(hidden, inner, layers, heads, tied) -> DecoderConfig:
    return DecoderConfig(
        family="qwen3",
        vocab_size=151_936,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=8,
        head_dim=128,
        tie_embeddings=tied,
        qk_norm=True,
        rope=Rope(theta=1e6),
        max_length=40_960,
    )


def _llama(hidden, inner, layers, heads, factor, tied) -> DecoderConfig:
    return DecoderConfig(
        family="llama",
        vocab_size=128_256,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=8,
        head_dim=hidden // heads,
        norm_epsilon=1e-5,
        tie_embeddings=tied,
        rope=Rope(theta=5e5, kind="llama3", factor=factor),
        max_length=131_072,
    )


def _smollm2(hidden, inner, layers, heads, kv_heads, theta) -> DecoderConfig:
    return DecoderConfig(
        family="llama",
        vocab_size=49_152,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=64,
        norm_epsilon=1e-5,
        tie_embeddings=True,
        rope=Rope(theta=theta),
        max_length=8192,
    )


def _gemma3(
    hidden, inner, layers, heads, kv_heads, head_dim, query_scalar, large
) -> DecoderConfig:
    rope = Rope(theta=1e6, kind="linear", factor=8.0) if large else Rope(theta=1e6)
    return DecoderConfig(
        family="gemma3_text",
        vocab_size=262_208 if large else 262_144,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        tie_embeddings=True,
        qk_norm=True,
        sandwich_norm=True,
        unit_offset=True,
        embedding_scale=hidden**0.5,
        activation="gelu_tanh",
        query_scale=None if query_scalar == head_dim else query_scalar**-0.5,
        rope=rope,
        local_rope=Rope(theta=1e4),
        window=1024 if large else 512,
        sliding=tuple(bool((layer + 1) % 6) for layer in range(layers)),
        max_length=131_072 if large else 32_768,
    )


def _gemma2(hidden, inner, layers, heads, head_dim, query_scalar) -> DecoderConfig:
    return DecoderConfig(
        family="gemma2",
        vocab_size=256_000,
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=heads // 2,
        head_dim=head_dim,
        tie_embeddings=True,
        sandwich_norm=True,
        unit_offset=True,
        embedding_scale=hidden**0.5,
        attention_cap=50.0,
        logit_cap=30.0,
        activation="gelu_tanh",
        query_scale=None if query_scalar == head_dim else query_scalar**-0.5,
        window=4096,
        sliding=tuple(bool((layer + 1) % 2) for layer in range(layers)),
        max_length=8192,
    )


_MISTRAL = DecoderConfig(
    family="mistral",
    vocab_size=32_768,
    hidden_size=4096,
    intermediate_size=14_336,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    norm_epsilon=1e-5,
    rope=Rope(theta=1e6),
)
_SMOLLM3 = DecoderConfig(
    family="smollm3",
    vocab_size=128_256,
    hidden_size=2048,
    intermediate_size=11_008,
    num_layers=36,
    num_heads=16,
    num_kv_heads=4,
    head_dim=128,
    tie_embeddings=True,
    rope=Rope(theta=5e6),
    unrotated=(False, False, False, True) * 9,
    max_length=65_536,
)
_PHI4 = DecoderConfig(
    family="phi3",
    vocab_size=100_352,
    hidden_size=5120,
    intermediate_size=17_920,
    num_layers=40,
    num_heads=40,
    num_kv_heads=10,
    head_dim=128,
    norm_epsilon=1e-5,
    rope=Rope(theta=2.5e5),
    max_length=16_384,
)
_OLMO2 = DecoderConfig(
    family="olmo2",
    vocab_size=100_352,
    hidden_size=4096,
    intermediate_size=11_008,
    num_layers=32,
    num_heads=32,
    num_kv_heads=32,
    head_dim=128,
    joint_qk_norm=True,
    pre_norm=False,
    sandwich_norm=True,
    rope=Rope(theta=5e5),
    max_length=4096,
)
_QWEN3_MOE = DecoderConfig(
    family="qwen3_moe",
    vocab_size=151_936,
    hidden_size=2048,
    intermediate_size=768,
    num_layers=48,
    num_heads=32,
    num_kv_heads=4,
    head_dim=128,
    qk_norm=True,
    rope=Rope(theta=1e6),
    num_experts=128,
    experts_per_token=8,
    normalise_experts=True,
    max_length=40_960,
)
SHAPES = {
    "qwen2.5-0.5b": _qwen2(896, 4864, 24, 14, 2, 151_936, True),
    "qwen2.5-1.5b": _qwen2(1536, 8960, 28, 12, 2, 151_936, True),
    "qwen2.5-3b": _qwen2(2048, 11_008, 36, 16, 2, 151_936, True),
    "qwen2.5-7b": _qwen2(3584, 18_944, 28, 28, 4, 152_064, False),
    "qwen2.5-14b": _qwen2(5120, 13_824, 48, 40, 8, 152_064, False),
    "qwen2.5-32b": _qwen2(5120, 27_648, 64, 40, 8, 152_064, False),
    "qwen2.5-72b": _qwen2(8192, 29_568, 80, 64, 8, 152_064, False),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, True),
    "qwen3-8b": _qwen3(4096, 12_288, 36, 32, False),
    "qwen3-14b": _qwen3(5120, 17_408, 40, 40, False),
    "qwen3-32b": _qwen3(5120, 25_600, 64, 64, False),
    "qwen3-30b-a3b": _QWEN3_MOE,
    "llama-3.1-8b": _llama(4096, 14_336, 32, 32, 8.0, False),
    "llama-3.1-70b": _llama(8192, 28_672, 80, 64, 8.0, False),
    "llama-3.2-1b": _llama(2048, 8192, 16, 32, 32.0, True),
    "llama-3.2-3b": _llama(3072, 8192, 28, 24, 32.0, True),
    "smollm2-135m": _smollm2(576, 1536, 30, 9, 3, 1e5),
    "smollm2-360m": _smollm2(960, 2560, 32, 15, 5, 1e5),
    "smollm2-1.7b": _smollm2(2048, 8192, 24, 32, 32, 1.3e5),
    "smollm3-3b": _SMOLLM3,
    "mistral-7b-v0.3": _MISTRAL,
    "phi-4": _PHI4,
    "olmo-2-1124-7b": _OLMO2,
    "gemma-2-2b": _gemma2(2304, 9216, 26, 8, 256, 256),
    "gemma-2-9b": _gemma2(3584, 14_336, 42, 16, 256, 256),
    "gemma-2-27b": _gemma2(4608, 36_864, 46, 32, 128, 144),
    "gemma-3-1b": _gemma3(1152, 6912, 26, 4, 1, 256, 256, False),
    "gemma-3-4b": _gemma3(2560, 10_240, 34, 8, 4, 256, 256, True),
    "gemma-3-12b": _gemma3(3840, 15_360, 48, 16, 8, 256, 256, True),
    "gemma-3-27b": _gemma3(5376, 21_504, 62, 32, 16, 128, 168, True),
}


def find_shape(model: str) -> DecoderConfig:
    """The configuration of the published model called `model`, a key of SHAPES.

    Raises:
      InputError: for a name that is not known.
    """
    if model not in SHAPES:
        raise InputError(f"model is {model!r}: one of {', '.join(SHAPES)} is needed")
    return SHAPES[model]


def find_config(model: str) -> DecoderConfig:
    """The configuration of a checkpoint folder, or of a published model by its name.

    Raises:
      InputError: for what is neither.
    """
    if (Path(model) / "config.json").exists():
        # Safetensors is of the extra `lm`, which published sizes do without.
        from aajax.lm.checkpoints.weights import read_config

        return read_config(model)
    return find_shape(model)


def shape_of_folder(folder: str) -> str:
    """The name in SHAPES of a published checkpoint's folder, Qwen2.5-7B-Instruct.

    A folder of another name is returned as it is.
    """
    name = folder.lower().removesuffix("-it").replace("-instruct", "")
    return name if name in SHAPES else folder
