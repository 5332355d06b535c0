"""The tokenizer of a GGUF file, as one of transformers with its chat template."""

from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from aajax.errors import InputError

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # kinds of tokens
_SPACE = "▁"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What splits a text before its pieces are merged, by the file's name for it: how many
# digits stay together, or None for GPT-2's rule; whether digits are split alone.
_SPLITS = {
    **dict.fromkeys(("gpt-2", "gpt2", "default"), (None, False)),
    "smollm": (None, True),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), (r"\p{N}", False)),
    **dict.fromkeys(("llama-bpe", "llama-v3", "llama3"), (r"\p{N}{1,3}", False)),
}


def build_tokenizer(file: Path, metadata: dict[str, Any]) -> Any:
    """The `PreTrainedTokenizerFast` that the metadata of a GGUF file describes.

    Raises:
      InputError: for a tokenizer that is neither byte-level with a known way of
        splitting texts nor in the manner of sentencepiece.
    """
    from transformers import PreTrainedTokenizerFast

    label = f"model is {str(file)!r}"
    kind = metadata.get("tokenizer.ggml.model")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if kind not in ("gpt2", "llama") or not tokens:
        raise InputError(
            f"{label}: a tokenizer of the kind gpt2 or llama is needed, not {kind}"
        )
    build = _byte_level if kind == "gpt2" else _sentencepiece
    tokenizer = build(label, metadata, {token: i for i, token in enumerate(tokens)})
    kinds = metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    pairs = list(zip(tokens, kinds, strict=True))
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in pairs
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)

    def token(name: str) -> str | None:
        number = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return tokens[number] if number is not None and number < len(tokens) else None

    named = {
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "unk_token": token("unknown"),
        "pad_token": token("padding"),
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=metadata.get("tokenizer.chat_template"),
        **{name: text for name, text in named.items() if text is not None},
    )


def _byte_level(label: str, metadata: dict[str, Any], vocab: dict[str, int]):
    name = metadata.get("tokenizer.ggml.pre", "default")
    if name not in _SPLITS:
        raise InputError(
            f"{label}: tokenizer.ggml.pre is {name!r}, and one of "
            f"{', '.join(_SPLITS)} is needed"
        )
    digits, is_split = _SPLITS[name]
    merges = [tuple(pair.split(" ")) for pair in metadata["tokenizer.ggml.merges"]]
    is_llama = name.startswith("llama")
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=is_llama))
    steps: list[Any] = [
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=digits is None)
    ]
    if is_split:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    if digits is not None:
        steps.insert(0, pre_tokenizers.Split(Regex(_WORDS % digits), "isolated"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if digits == r"\p{N}":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(label: str, metadata: dict[str, Any], vocab: dict[str, int]):
    from transformers.tokenization_utils_base import generate_merges

    del label
    kinds, scores = (metadata[f"tokenizer.ggml.{x}"] for x in ("token_type", "scores"))
    plain = {
        token: score
        for token, kind, score in zip(vocab, kinds, scores, strict=True)
        if kind == _NORMAL
    }
    merges = generate_merges(vocab, plain)
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", 0)
    model = models.BPE(
        vocab,
        merges,
        unk_token=list(vocab)[unknown],
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    is_prefixed = metadata.get("tokenizer.ggml.add_space_prefix", True)
    prefix = [normalizers.Prepend(_SPACE)] if is_prefixed else []
    replace = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([*prefix, replace])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer
