"""Words of a command line as a dataclass; what cannot be read is told in one line."""

import contextlib
import dataclasses
import difflib
import io
import logging
import os
import re
import tempfile
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tyro

from aajax import schema
from aajax.commands.spelling import fitted
from aajax.errors import InputError
from aajax.files import PARTIAL, check_local
from aajax.schema import Option

T = TypeVar("T")

_log = logging.getLogger(__name__)


_FLAG = re.compile(r"--?(?!(?:inf|infinity|nan)$)[A-Za-z]", re.IGNORECASE)


class _Line(NamedTuple):
    """A command line taken apart.

    Attributes:
      given: options in order, each with the words that it takes.
      unknown: words that look like options, and are none.
      loose: words that no option takes.
    """

    given: list[tuple[Option, list[str]]]
    unknown: list[str]
    loose: list[str]


def parse(
    cls: type[T],
    arguments: Sequence[str],
    prog: str,
    description: str | None = None,
    default: T | None = None,
) -> T:
    """Options from the words of a command line, checked as they declare.

    tyro reads them and writes the help. Its own messages are boxes of many lines; what
    it refuses is found again here, and told in one.

    Args:
      cls: dataclass of the options.
      arguments: the words.
      prog: the command before them.
      description: of the help; the docstring if not given.
      default: values of what the words do not mention.

    Raises:
      InputError: for an option that there is not, several values that are given in
        several places, an option without a value, or one that it does not accept.
      SystemExit: with 0, after help.
    """
    known = schema.options(cls, default)
    arguments = [_present_flag(word, known) for word in arguments]
    defaults: dict[str, Any] = {} if default is None else {"default": default}
    with schema.deferred(), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            options: Any = fitted(
                lambda: tyro.cli(
                    cls, args=arguments, prog=prog, description=description, **defaults
                )
            )
        except SystemExit as stopped:
            if not stopped.code:
                raise
            options = None
    line = _take_apart(known, arguments)
    _refuse_options(line, known, prog)
    if options is None:
        _refuse_values(line, known)
        raise InputError(f"arguments are {list(arguments)}: {_joined(said.getvalue())}")
    schema.check_all(options, flat=True)
    return options


def choose(name: str, arguments: Sequence[str], choices: Mapping[str, Any]) -> Any:
    """What the first word names; raises InputError if there is no such choice."""
    if not arguments or arguments[0] not in choices:
        word = repr(arguments[0]) if arguments else "missing"
        raise InputError(f"{name} is {word}: one of {', '.join(choices)} is needed")
    return choices[arguments[0]]


def check_file(name: str, path: Path) -> None:
    """Raises InputError, before any work is done, if no file can be written there.

    Args:
      name: of the option.
      path: whose folder may not be there yet.
    """
    there = next(place for place in (path, *path.parents) if place.exists())
    if there.is_dir() != (there == path) and os.access(there, os.W_OK):
        # Only trying tells: not every file system takes files, even of who may do all.
        try:
            if not path.exists() or path.is_file():
                folder = there if there.is_dir() else there.resolve().parent
                tempfile.NamedTemporaryFile(dir=folder, prefix=PARTIAL).close()
            return
        except OSError:
            pass
    raise InputError(f"{name} is {str(path)!r}: a file to write to is needed")


def flags(option: Option) -> list[str]:
    """How an option is written on the command line; nothing for one without a flag."""
    if _is_positional(option):
        return []
    name = re.sub(r"_(?=\w)", "-", option.name)
    if option.annotation is not bool:
        return [f"--{name}"]
    part, dot, last = name.rpartition(".")
    return [f"--{name}", f"--{part}{dot}no-{last}"]


def _take_apart(known: Sequence[Option], arguments: Sequence[str]) -> _Line:
    by_flag = {_plain(flag): option for option in known for flag in flags(option)}
    line = _Line([], [], [])
    room = 0
    for word in arguments:
        if not _FLAG.match(word):
            (line.given[-1][1] if room else line.loose).append(word)
            room = max(room - 1, 0)
            continue
        flag, equals, value = word.partition("=")
        option = by_flag.get(_plain(flag))
        room = 0
        if option is None:
            line.unknown.append(flag)
            continue
        line.given.append((option, [value] if equals else []))
        if not equals and option.annotation is not bool:
            room = len(arguments) if _tuple(option) else 1
    loose = line.loose
    for option in filter(_is_positional, known):
        count = len(loose) if _tuple(option) else 1
        if loose:
            line.given.append((option, loose[:count]))
        loose = loose[count:]
    return line._replace(loose=loose)


def _present_flag(word: str, known: Sequence[Option]) -> str:
    """A flag by its present name, where it is a former one; all else as it is."""
    flag, equals, value = word.partition("=")
    for option in known:
        former = schema.former_name(option.annotation)
        if former is not None:
            path, dot, _ = option.name.rpartition(".")
            if _plain(flag) == _plain(f"--{path}{dot}{former}"):
                present = flags(option)[0]
                _log.warning("%s is called %s now", flag, present)
                return present + equals + value
    return word


def _plain(flag: str) -> str:
    """With hyphens for underscores, which are read alike."""
    return flag.replace("_", "-")


def _refuse_options(line: _Line, known: Sequence[Option], prog: str) -> None:
    """Raises InputError for options that are unknown, or given twice or no value."""
    for word in line.unknown:
        every = [flag for option in known for flag in flags(option)]
        likely = difflib.get_close_matches(_plain(word), every, n=1, cutoff=0.75)
        advice = f"is {likely[0]} meant?" if likely else f"{prog} --help names all"
        raise InputError(f"option is {word}: there is none of that name; {advice}")
    names = [option.name for option, _ in line.given]
    for i, (option, words) in enumerate(line.given):
        for word in words:
            check_local(option.name, word)
        # Of single values the last one counts, as everywhere.
        if _tuple(option) and option.name in names[:i]:
            raise InputError(
                f"{option.name} is given twice: once, with all its values, is needed"
            )
        # An empty list says something only where it is not so anyway.
        takes_none = option.annotation is bool or (
            _tuple(option) and option.default != ()
        )
        if not words and not takes_none:
            raise InputError(f"{option.name} has no value: {_needed(option)}")
        kinds = [kind for kind, _ in schema.alternatives(option.annotation)]
        if Path in kinds and "" in words:  # which is read as the present folder
            raise InputError(f"{option.name} is '': {_needed(option)}")


def _refuse_values(line: _Line, known: Sequence[Option]) -> None:
    """Raises InputError for what is not of its option's type, missing, or too much."""
    for option, words in line.given:
        for word in words:
            _refuse_word(option, word)
    names = [option.name for option, _ in line.given]
    for option in known:
        if option.default is dataclasses.MISSING and option.name not in names:
            raise InputError(f"{option.name} is missing: {_needed(option)}")
    for word in line.loose:
        raise InputError(f"arguments have {word!r}: there is no option that takes it")


def _refuse_word(option: Option, word: str) -> None:
    annotation, verb = option.annotation, "is"
    if option.annotation is bool:
        raise InputError(f"{option.name} is {word!r}: it takes no value")
    if _tuple(option):
        _, marks = schema.split(annotation)
        each = typing.get_args(_tuple(option))[0]
        annotation = typing.Annotated[each, *marks] if marks else each
        verb = "has"
    try:
        schema.read_text(annotation, word)
    except ValueError as error:
        raise InputError(f"{option.name} {verb} {word!r}: {error} is needed") from None


def _needed(option: Option) -> str:
    if _tuple(option):
        return "at least one is needed"
    return f"{schema.describe(option.annotation)} is needed"


def _tuple(option: Option) -> Any:
    """The kind of tuple that an option is; None for another."""
    kinds = [kind for kind, _ in schema.alternatives(option.annotation)]
    return next((kind for kind in kinds if typing.get_origin(kind) is tuple), None)


def _is_positional(option: Option) -> bool:
    return tyro.conf.Positional in schema.split(option.annotation)[1]


def _joined(page: str) -> str:
    """A page with its frame taken off, as one line."""
    lines = (line.strip(" |+-│╭╮╰╯─") for line in page.splitlines())
    return " ".join(line for line in lines if line) or "they cannot be read"
