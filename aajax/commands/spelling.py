"""Output on terminals and in files whose encoding has not all characters."""

import codecs
import contextlib
import io
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, TextIO, TypeVar

import rich.console
from rich.text import Text

NAME = "aajax.spelled"  # of the error handler
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
NARROWEST = 40  # columns for which help is laid out

T = TypeVar("T")

_SPELLED = {
    "±": "+-",
    "×": "x",
    "·": "*",
    "−": "-",
    "–": "-",
    "—": "-",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "∞": "inf",
    "Σ": "sum",
    "√": "sqrt",
    "‖": "||",
    "λ": "lambda",  # "lamda" in Unicode
    "Λ": "Lambda",
    "∇": "grad",
    "•": "*",
    "█": "#",
    "…": "...",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ"
_SIGNS = str.maketrans("⁺⁻₊₋", "+-+-")


def spell(text: str) -> str:
    """A text in ASCII: signs, names of letters, parts of characters, else "?"."""
    text = re.sub(f"[{_POWERS}]+", lambda power: f"^{power[0]}", text)
    return "".join(c if c.isascii() else _spell(c) for c in text)


def _spell(character: str) -> str:
    if character in _SPELLED:
        return _SPELLED[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        sides = {"HORIZONTAL": "-", "VERTICAL": "|"}
        return sides.get(name.split()[-1], "+") if " AND " not in name else "+"
    letter = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", name)
    if letter:
        return letter[2].lower() if letter[1] == "SMALL" else letter[2].capitalize()
    plain = unicodedata.normalize("NFKD", character.translate(_SIGNS))
    return "".join(c for c in plain if c.isascii()) or "?"


def _handle(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    rest = error.object[error.start : error.end]
    byte, text = rest[:1], re.split("[\udc80-\udcff]", rest, maxsplit=1)[0]
    if "\udc80" <= byte <= "\udcff":
        # Of a file's name, as it is on the disk.
        return bytes([ord(byte) - 0xDC00]), error.start + 1
    return spell(text), error.start + len(text)


codecs.register_error(NAME, _handle)


def written(text: str, encoding: str) -> str:
    """A text as a stream of this encoding has it: spelled where it lacks signs."""
    if encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, NAME).decode(encoding, "surrogateescape")


class _Page(io.StringIO):
    """What is written to it for now, by programs that take it for standard output."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()


def fitted(action: Callable[[], T]) -> T:
    """What an action returns, whose page of help fits the terminal with signs spelled.

    Where the encoding of standard output lacks signs, the page is laid out for so much
    less room as its longest line grows by. Lines of its head are broken between words.
    """
    stream = sys.stdout
    width = room = shutil.get_terminal_size().columns
    while True:
        page, found, stopped = _Page(stream), None, None
        with contextlib.redirect_stdout(page), _columns(room):
            try:
                found = action()
            except SystemExit as error:
                stopped = error
        lines = [line.rstrip() for line in page.getvalue().splitlines()]
        # Lines that were too long before are the head's, or of a single word.
        fit = [_STYLE.sub("", line) for line in lines]
        grown = [len(written(x, page.encoding)) for x in fit if len(x) <= room]
        excess = max(grown, default=0) - width
        if excess <= 0 or room - excess < NARROWEST:
            break
        room -= excess
    for line in lines:
        is_head = re.match(r"(?!usage)[\w-]", line)
        whole = written(line, page.encoding)
        pieces = textwrap.wrap(whole, width, break_on_hyphens=False) if is_head else []
        stream.writelines(f"{piece}\n" for piece in pieces or [line])
    if stopped is not None:
        raise stopped
    return found  # pyright: ignore[reportReturnType]


@contextlib.contextmanager
def _columns(number: int) -> Iterator[None]:
    """Has programs take the terminal for one of so many columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


class Console(rich.console.Console):
    """A console that lays texts out as its stream will have them."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(written(text, self.encoding), **options)


@contextlib.contextmanager
def spelled_out() -> Iterator[None]:
    """Standard output and error write what their encoding has not in ASCII."""
    streams = [x for x in (sys.stdout, sys.stderr) if isinstance(x, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            stream.reconfigure(errors=NAME)
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)
