"""Describes a regular expression to people, and completes what they type to match it.

Supported are characters, classes, groups, alternatives and repeats; any other pattern
is shown as it is.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aajax.envs.text import trimmed

_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_CLASSES = {
    ".": "a character", r"\d": "a digit", r"\w": "a letter, digit or _",
    r"\s": "white space", r"\D": "no digit", r"\W": "no letter, digit or _",
    r"\S": "no white space",
}  # fmt: skip
_BLANK = re.compile(r"(?: |\\[sntr]|[\n\t\r])*")
_ANY = re.compile(r"\\s\\S|\\S\\s|\\d\\D|\\D\\d|\\w\\W|\\W\\w")
_GROUP = re.compile(r"\((?:\?(?:P?<\w+>|[a-z]*:))?(?!\?)")
_FLAGS = re.compile(r"\(\?[a-z]+\)")
_CLASS = re.compile(r"\[(\^?)(\]?(?:\\.|[^\]\\])*)\]", re.DOTALL)
_COUNT = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})\??")


class Text(NamedTuple):
    """Characters as they are."""

    text: str


class Kind(NamedTuple):
    """One character of a kind, in words; whether it can only be white space."""

    words: str
    blank: bool


class Repeat(NamedTuple):
    """A repeated part; `most` is None if there is no upper bound."""

    part: "Part"
    least: int
    most: int | None


class Series(NamedTuple):
    """Parts one after the other."""

    parts: tuple["Part", ...]


class Choice(NamedTuple):
    """One of several parts."""

    parts: tuple["Part", ...]


Part = Text | Kind | Repeat | Series | Choice


class _NotReadError(Exception):
    """The pattern has something that is not read here."""


def in_words(pattern: str) -> str:
    """Describes what a pattern matches, without optional white space."""
    try:
        return _words(_read(pattern))
    except _NotReadError:
        return f"a text that matches the regular expression {pattern}"


def complete(pattern: str, text: str, accepts: Callable[[str], bool]) -> str | None:
    """The answer that `text` abbreviates, or None if that is not clear.

    It is the text itself; or trimmed; or with the characters added with which every
    answer begins or ends (tags); or the one fixed answer with the same letters and
    digits, ignoring case.

    Args:
      pattern: of the answer.
      text: that was typed.
      accepts: whether an answer matches the pattern.
    """
    if accepts(text):
        return text
    text = trimmed(text)
    if not text:
        return None
    if accepts(text):
        return text
    candidates = []
    try:
        form = _read(pattern)
    except _NotReadError:
        form = Choice(())
    branches = form.parts if isinstance(form, Choice) else (form,)
    for branch in branches:
        if isinstance(branch, Series) and branch.parts:
            start, end = (
                part.text if isinstance(part, Text) else ""
                for part in (branch.parts[0], branch.parts[-1])
            )
            candidates += [start + text, text + end, start + text + end]
        elif isinstance(branch, Text) and _bare(branch.text) == _bare(text) != "":
            candidates.append(branch.text)
    meant = set(filter(accepts, candidates))
    return meant.pop() if len(meant) == 1 else None


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _words(part: Part) -> str:
    match part:
        case Text(text):
            return f'"{text}"'
        case Kind(words, _):
            return words
        case Repeat(inner, least, most):
            return f"{_times(least, most)} {_grouped(inner)}"
        case Series(parts):
            return ", then ".join(map(_grouped, _shown(parts))) or "nothing"
        case Choice(parts):
            return " or ".join(map(_grouped, parts))


def _grouped(part: Part) -> str:
    words = _words(part)
    single = not isinstance(part, Series | Choice) or (
        isinstance(part, Series) and len(_shown(part.parts)) < 2
    )
    return words if single else f"({words})"


def _shown(parts: Iterable[Part]) -> list[Part]:
    """Without optional white space, optional characters in brackets: `hat(s)`."""
    shown: list[Part] = []
    for part in parts:
        if _is_optional_blank(part):
            continue
        match part:
            case Repeat(Text(end), 0, 1) if shown and isinstance(shown[-1], Text):
                part = Text(f"{shown[-1].text}({end})")
                shown.pop()
        shown.append(part)
    return shown


def _times(least: int, most: int | None) -> str:
    if (least, most) == (0, 1):
        return "perhaps"
    if most is None and least < 2:
        return "one or more times" if least else "any number of times"
    if most is None:
        return f"at least {least} times"
    if least == most:
        return f"{least} times"
    return f"{least} to {most} times" if least else f"up to {most} times"


def _is_optional_blank(part: Part) -> bool:
    if not isinstance(part, Repeat) or part.least > 0:
        return False
    inner = part.part
    if isinstance(inner, Text):
        return inner.text.isspace()
    return isinstance(inner, Kind) and inner.blank


def _read(pattern: str) -> Part:
    part, end = _read_choice(pattern, 0)
    if end < len(pattern):
        raise _NotReadError
    return part


def _read_choice(pattern: str, at: int) -> tuple[Part, int]:
    branch, at = _read_sequence(pattern, at)
    branches = [branch]
    while pattern[at : at + 1] == "|":
        branch, at = _read_sequence(pattern, at + 1)
        branches.append(branch)
    return (branch if len(branches) == 1 else Choice(tuple(branches))), at


def _read_sequence(pattern: str, at: int) -> tuple[Part, int]:
    parts: list[Part] = []
    while at < len(pattern) and pattern[at] not in "|)":
        if flags := _FLAGS.match(pattern, at):
            at = flags.end()
            continue
        part, at = _read_atom(pattern, at)
        if count := _COUNT.match(pattern, at):
            part, at = _repeated(part, count), count.end()
        inner = part.parts if isinstance(part, Series) else (part,)
        for piece in inner:
            if isinstance(piece, Text) and parts and isinstance(parts[-1], Text):
                piece = Text(parts[-1].text + piece.text)
                parts.pop()
            parts.append(piece)
    return (parts[0] if len(parts) == 1 else Series(tuple(parts))), at


def _repeated(part: Part, count: re.Match) -> Repeat:
    sign, least, comma, most = count.groups()
    if sign:
        return Repeat(part, int(sign == "+"), 1 if sign == "?" else None)
    bound = int(least) if not comma else int(most) if most else None
    return Repeat(part, int(least), bound)


def _read_atom(pattern: str, at: int) -> tuple[Part, int]:
    if group := _GROUP.match(pattern, at):
        part, at = _read_choice(pattern, group.end())
        if pattern[at : at + 1] != ")":
            raise _NotReadError
        return part, at + 1
    if kind := _CLASS.match(pattern, at):
        return _kind(*kind.groups()), kind.end()
    character = pattern[at]
    if character == "\\":
        character = pattern[at : at + 2]
    after = at + len(character)
    if character in _CLASSES:
        return Kind(_CLASSES[character], character == r"\s"), after
    if len(character) == 2:
        escaped = _ESCAPED.get(character[1], character[1])
        if escaped.isalnum():
            raise _NotReadError
        return Text(escaped), after
    if character in "()[]{}*+?^$\\":
        raise _NotReadError
    return Text(character), after


def _kind(negated: str, content: str) -> Kind:
    if _ANY.fullmatch(content):
        return Kind("a character", False)
    if content == "0-9" and not negated:
        return Kind("a digit", False)
    words = f"a character {'other than' if negated else 'of'} {content}"
    return Kind(words, not negated and _BLANK.fullmatch(content) is not None)
