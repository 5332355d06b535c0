"""Keeps a key out of what is said of errors.

Servers echo the key that they refuse, as it is or with escapes of JSON, HTML or
addresses. It is hidden in errors alone: what a model answers is never changed.
"""

import html
import re
from collections.abc import Callable

HIDDEN = "[key]"
_SHORT = 8  # characters; of fewer, as local servers want, only whole words are hidden
_LONGEST = 14  # characters that stand for one, at most
_CUT_SPELLING = re.compile(r"|\\{1,8}(?:u0{0,2}|x)[0-9a-fA-F]?|\\{1,8}|%.?|&[^;]{0,9}")


def redactor(key: str) -> Callable[..., str]:
    r"""A function that hides a key: `(text, is_cut=False) -> text`.

    In any spelling: as it is, with `\u0061`, `\x61` or `\/`, with `%61`, `&#97;` or
    `&amp;`. A key of fewer than 8 characters (`x`, `EMPTY`) is hidden only where no
    letter, digit, `_` or `-` stands beside it, or errors could not be read any more.
    What cannot be printed, such as the codes of a terminal, is left out before: it
    could part the key or be part of it. A text that is cut off ends before what may be
    the beginning of the key.

    Args:
      key: printable ASCII; empty for none.
    """
    letters = [re.compile(_spellings(c)) for c in key]
    spelled = "".join(letter.pattern for letter in letters)
    if len(key) < _SHORT:
        spelled = rf"(?<![\w-]){spelled}(?![\w-])"
    pattern = re.compile(spelled)

    def begins(text: str, place: int) -> bool:
        """Whether nothing but the key's beginning is from there on."""
        places = {place}  # at which, read one way or another, the next letter begins
        for letter in letters:
            if any(_CUT_SPELLING.fullmatch(text, start) for start in places):
                return True
            places = {
                end
                for start in places
                for end in range(start + 1, min(start + _LONGEST, len(text)) + 1)
                if letter.fullmatch(text, start, end)
            }
        return False

    def without_rest(text: str) -> str:
        """Without what follows the key in a spelling of its last letter that is cut.

        A sign that begins spellings, such as % or &, is one itself.
        """
        for found in pattern.finditer(text):
            end = found.end()
            for start in range(max(found.start(), end - _LONGEST), end):
                is_last = letters[-1].fullmatch(text, start, end)
                if is_last and _CUT_SPELLING.fullmatch(text, start):
                    return text[:end]
        return text

    def hide(text: str, is_cut: bool = False) -> str:
        text = "".join(c for c in text if c.isprintable() or c.isspace())
        if not key:
            return text
        if is_cut:
            text = without_rest(text)
        text = pattern.sub(HIDDEN, text)
        if is_cut:
            after = text.rfind(HIDDEN) + len(HIDDEN) if HIDDEN in text else 0
            places = range(max(after, len(text) - _LONGEST * len(key)), len(text))
            cuts = (i for i in places if begins(text, i))
            text = text[: next(cuts, len(text))]
        return text

    return hide


def _spellings(c: str) -> str:
    """A regular expression of all that stands for a character, without groups."""
    code, plain = ord(c), re.escape(c)
    ways = [
        # Escapes of escapes have more than one backslash. Longer ones come first.
        rf"\\{{1,8}}(?:(?i:u00|x){_hex(code)}|{plain})",
        f"%{_hex(code)}",
        rf"&\#(?:0{{0,4}}{code}|[xX]0{{0,4}}{_hex(code)});",
        re.escape(html.escape(c)),
        plain,
    ]
    return f"(?:{'|'.join(ways)})"


def _hex(code: int) -> str:
    return f"(?i:{code:02x})"
