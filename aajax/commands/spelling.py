"""Output on terminals and in files whose encoding has not all characters."""

import codecs
import contextlib
import io
import re
import sys
import unicodedata
from collections.abc import Iterator

NAME = "aajax.spelled"  # of the error handler

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
