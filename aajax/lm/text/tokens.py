"""Tokenizers: conversion between text and token ids."""

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jinja2
import tokenizers

from aajax import records, schema
from aajax.errors import InputError
from aajax.lm.text.chat_templates import read_chat_template
from aajax.schema import Natural, check

# Only tokenizers and configs are used, and it need not tell that it has no PyTorch.
logging.getLogger("transformers").addFilter(
    lambda record: not re.match("PyTorch was not|None of PyTorch", record.getMessage())
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: E402

# Classes that say no more than that tokenizer.json holds everything.
_PLAIN_CLASSES = {None, "PreTrainedTokenizerFast", "TokenizersBackend"}
# Some templates write the day of the call, from which no run could be repeated.
_DATE = "26 Jul 2024"


@dataclasses.dataclass(frozen=True)
class _TokenizerKeys:
    """The keys of tokenizer_config.json that are read."""

    tokenizer_class: str | None = None

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class _GenerationKeys:
    """The keys of generation_config.json and config.json that are read."""

    eos_token_id: Natural | tuple[Natural, ...] | None = None

    __post_init__ = check


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """A tokenizer, with markers that text cannot produce.

    A marker is a special token, or one that was added to the model's vocabulary and is
    used in the chat template (<think>). Only templates produce markers; a text that
    contains the spelling of one is tokenised like any other, and cannot forge a turn.

    Attributes:
      tokenizer: of `transformers`, which recognises markers in a text.
      plain: the same tokenizer without markers.
      markers: id by spelling.
      pieces: bytes by id; see `token_bytes`.
      stop_ids: stop tokens: the end-of-sequence tokens of the tokenizer, of
        generation_config.json and of config.json, and the chat template's end of turn.
      end_of_turn: the marker that the chat template puts after a reply; None without
        such a template.
      pad_id: padding token.
    """

    tokenizer: PreTrainedTokenizerFast
    plain: tokenizers.Tokenizer
    markers: Mapping[str, int]
    pieces: tuple[bytes | None, ...]
    stop_ids: frozenset[int]
    end_of_turn: str | None
    pad_id: int

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included; a model may have more rows."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without added special tokens or markers.

        Lone surrogates, which are not valid Unicode text, become "?".
        """
        text = text.encode(errors="replace").decode()
        ids = self.plain.encode(text, add_special_tokens=False).ids
        unknown = self.tokenizer.unk_token_id
        forbidden = {number for number in self.markers.values() if number != unknown}
        if forbidden.isdisjoint(ids):
            return ids
        # The model's own vocabulary spells a marker, which single characters cannot.
        encodings = self.plain.encode_batch(list(text), add_special_tokens=False)
        return [token for encoding in encodings for token in encoding.ids]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids, without special tokens and unknown ids.

        Bytes that are not valid UTF-8 become U+FFFD.
        """
        known = (int(i) for i in ids if 0 <= i < self.vocab_size)
        return b"".join(self.pieces[i] or b"" for i in known).decode(errors="replace")

    def token_bytes(self) -> list[bytes | None]:
        """The bytes of each id's text; None for special tokens and unused ids.

        A marker that is not special (<think> of Qwen3) has bytes, since it may be part
        of what a reply says.
        """
        return list(self.pieces)

    def render(
        self,
        messages: list[dict[str, str]],
        generate: bool = False,
        enable_thinking: bool = False,
    ) -> str:
        """A dialogue rendered by the tokenizer's chat template.

        Args:
          messages: dicts with "role" and "content".
          generate: whether to append the header of the next reply.
          enable_thinking: an option of some templates.

        Raises:
          jinja2.TemplateError: if the template rejects the messages.
          InputError: if there is no template.
        """
        return _render(self.tokenizer, messages, generate, enable_thinking)


def load_tokenizer(folder: str | Path, chat_template: str | None = None) -> Tokens:
    """The tokenizer of a local folder; nothing is downloaded.

    Args:
      folder: with a tokenizer.
      chat_template: in place of the tokenizer's own; of `read_chat_template`.

    `AutoTokenizer` may choose by the model type of config.json and then replace the
    pre-tokenizer, so that a folder that names no class of its own is read from its
    tokenizer.json as it is.

    Raises:
      InputError: if there is no tokenizer, or neither a byte-level one nor one in the
        manner of sentencepiece.
    """
    folder = Path(folder)
    name = _read(_TokenizerKeys, folder / "tokenizer_config.json").tokenizer_class
    if not folder.is_dir() or (
        name in _PLAIN_CLASSES and not (folder / "tokenizer.json").is_file()
    ):
        raise InputError(
            f"folder is {str(folder)!r}: a folder with tokenizer.json is needed"
        )
    reader = PreTrainedTokenizerFast if name in _PLAIN_CLASSES else AutoTokenizer
    try:
        tokenizer = reader.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # of many kinds, and plain ones where Rust reads
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"folder is {str(folder)!r}: a readable tokenizer is needed ({reason})"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(
            f"folder is {str(folder)!r}: a fast tokenizer is needed, not {name}"
        )
    if chat_template is not None:
        tokenizer.chat_template = read_chat_template(chat_template)
    return _tokens(tokenizer, folder)


def _tokens(tokenizer: PreTrainedTokenizerFast, folder: Path) -> Tokens:
    backend = tokenizer.backend_tokenizer
    own = backend.get_vocab(with_added_tokens=False)
    added = backend.get_added_tokens_decoder()
    template = str(tokenizer.chat_template)

    def is_marker(token: tokenizers.AddedToken) -> bool:
        text = token.content
        is_written = text not in own and text in template and not text.isspace()
        return token.special or is_written

    markers = {token.content: i for i, token in added.items() if is_marker(token)}
    end_of_turn = _end_of_turn(tokenizer, markers)
    stops = _as_list(cast(int | None, tokenizer.eos_token_id))
    for name in ("generation_config.json", "config.json"):
        stops += _as_list(_read(_GenerationKeys, folder / name).eos_token_id)
    if end_of_turn is not None:
        stops += _as_list(markers.get(end_of_turn))
    pad = tokenizer.pad_token_id
    return Tokens(
        tokenizer=tokenizer,
        plain=_reading_as_text(backend, added, markers),
        markers=markers,
        pieces=_pieces(backend, added, folder),
        stop_ids=frozenset(stops),
        end_of_turn=end_of_turn,
        pad_id=min(stops, default=0) if pad is None else cast(int, pad),
    )


def _read(keys: type, path: Path) -> Any:
    """What `keys` has of the object in a file; without the file, its defaults."""
    if not path.is_file():
        return keys()
    record = records.read_object(path)
    with schema.within(f"file is {path}: "):
        return schema.build(keys, record, others=True)


def _as_list(ids: int | Sequence[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _render(tokenizer, messages, generate, enable_thinking) -> str:
    return tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=generate,
        enable_thinking=enable_thinking,
        date_string=_DATE,
    )


def _end_of_turn(tokenizer: PreTrainedTokenizerFast, markers: Mapping[str, int]):
    """The marker right after a reply, or None."""
    if not tokenizer.chat_template:
        return None
    messages = [
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": "answer"},
    ]
    try:
        rendered = _render(tokenizer, messages, False, False)
    except (jinja2.TemplateError, TypeError, ValueError):
        return None  # whoever needs the template is told why by `find_template`
    rest = rendered.rpartition("answer")[2]
    return max(filter(rest.startswith, markers), key=len, default=None)


def _reading_as_text(
    backend: tokenizers.Tokenizer,
    added: Mapping[int, tokenizers.AddedToken],
    markers: Mapping[str, int],
) -> tokenizers.Tokenizer:
    """A tokenizer on the same model that splits markers as if they were text."""
    plain = tokenizers.Tokenizer(backend.model)
    if backend.normalizer is not None:
        plain.normalizer = backend.normalizer
    if backend.pre_tokenizer is not None:
        plain.pre_tokenizer = backend.pre_tokenizer
    for _, token in sorted(added.items()):  # ids follow from the order
        if token.content in markers:
            marker = tokenizers.AddedToken(token.content, special=True)
            plain.add_special_tokens([marker])
        else:
            plain.add_tokens([token])
    plain.encode_special_tokens = True
    return plain


def _pieces(
    backend: tokenizers.Tokenizer,
    added: Mapping[int, tokenizers.AddedToken],
    folder: Path,
) -> tuple[bytes | None, ...]:
    kinds = re.findall(r"(\w+)\(", repr(backend.decoder)) or ["None"]
    is_byte_level = "ByteLevel" in kinds
    if not is_byte_level and not {*kinds} & {"ByteFallback", "Metaspace"}:
        raise InputError(
            f"folder is {str(folder)!r}: a byte-level tokenizer or one in the manner "
            f"of sentencepiece is needed, not one with the decoder {kinds[0]}"
        )
    read = _read_byte_level if is_byte_level else _read_sentencepiece
    vocab = backend.get_vocab(with_added_tokens=True)
    pieces: list[bytes | None] = [None] * (max(vocab.values()) + 1)
    for token, i in vocab.items():
        if i not in added:
            pieces[i] = read(token)
        elif not added[i].special:
            pieces[i] = str.encode(token) if is_byte_level else read(token)
    return tuple(pieces)


def byte_characters() -> list[str]:
    """The character that byte-level tokenizers write for each byte: itself where it
    can be seen, else the next one from U+0100 on."""
    seen = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(b if b in seen else 256 + hidden.index(b)) for b in range(256)]


_BYTE = {character: byte for byte, character in enumerate(byte_characters())}


def _read_byte_level(token: str) -> bytes:
    try:
        return bytes(_BYTE[character] for character in token)
    except KeyError:
        return token.encode()


def _read_sentencepiece(token: str) -> bytes:
    if re.fullmatch("<0x[0-9A-F]{2}>", token):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()
