"""What a dataclass declares of its fields, checked and read in one place.

A field's annotation says which values it accepts:

    share: Annotated[float, Range(0, 1)] = 0.5
    kind: Literal["short", "long"] = "short"
    sizes: Annotated[tuple[int, ...], Range(1), Items(1)] = (64, 64)

Numbers must be finite and of the annotated type; in a tuple, a `Range` is of each. A
dataclass takes part with `__post_init__ = check`. What no single field can say, it says
in a method `check_relations(self)` that raises `InputError`.
"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union

from aajax import references
from aajax.errors import InputError

_PLAIN = bool, int, float, str
# Of numbers without another bound: the largest of int32 and float32.
MOST, MOST_FLOAT = 2**31 - 1, (2 - 2**-23) * 2.0**127


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
      low, high: bounds; infinite for none.
      above: whether `low` itself is excluded.
      infinite: whether a float may be infinite.
      words: what is accepted, in place of words made of the bounds.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    infinite: bool = False
    words: str | None = None

    def has(self, x: float) -> bool:
        return (self.low < x if self.above else self.low <= x) and x <= self.high

    def describe(self, whole: bool) -> str:
        if self.words is not None:
            return self.words
        number = "a whole number" if whole else "a number"
        if self.high < math.inf:
            bracket = "(" if self.above else "["
            return f"{number} in {bracket}{_plain(self.low)}, {_plain(self.high)}]"
        if self.low == -math.inf:
            return number if whole or self.infinite else "a finite number"
        if self.above:
            return f"{number} above {_plain(self.low)}"
        return f"{number} of at least {_plain(self.low)}"


@dataclasses.dataclass(frozen=True)
class Items:
    """How many entries a tuple has, and whether each is there once."""

    least: int = 0
    distinct: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """Texts that are accepted.

    Attributes:
      names: each of them.
      others: what is accepted besides, in words; None for nothing.
    """

    names: tuple[str, ...]
    others: str | None = None

    def describe(self) -> str:
        known = f"one of {', '.join(self.names)}"
        return known if self.others is None else f"{known}, or {self.others}"


@dataclasses.dataclass(frozen=True)
class Formerly:
    """The name that a field had before, under which files and flags may know it."""

    name: str


@dataclasses.dataclass(frozen=True)
class Refers:
    """Texts that refer to an object alone: see `references`.

    Attributes:
      kind: of the object, in words, with its article.
    """

    kind: str


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
Seed = Annotated[int, Range(0, 2**32 - 1, words="a whole number in [0, 2^32)")]


class Option(NamedTuple):
    """A field that holds a value, and not further fields.

    Attributes:
      name: its own and its parts' names, joined by dots.
      annotation: what it accepts.
      default: `dataclasses.MISSING` where it must be given.
    """

    name: str
    annotation: Any
    default: Any


_deferred: ContextVar[bool] = ContextVar("deferred", default=False)


def check(config: Any) -> None:
    """Checks a dataclass against its declarations, and then its relations.

    Raises:
      InputError: in one line that names the field, its value and what is accepted.
    """
    if not _deferred.get():
        check_all(config)


def check_all(config: Any, prefix: str = "", flat: bool = False) -> None:
    """As `check`, parts included, whose fields are named with those they are part of.

    Args:
      config: a dataclass.
      prefix: of all names.
      flat: whether parts that are annotated with an empty name, as the command line
        has it, add nothing to the names of their fields.
    """
    for field in dataclasses.fields(config):
        annotation, value = hints(type(config))[field.name], getattr(config, field.name)
        _check_value(prefix + field.name, annotation, value)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            inner = "" if flat and _is_flat(config, field.name) else f"{field.name}."
            check_all(value, prefix + inner, flat)
    relations = getattr(config, "check_relations", None)
    if relations is not None:
        with within(prefix):
            relations()


def check_value(name: str, annotation: Any, value: Any) -> None:
    """Checks an argument of a function against what its annotation accepts.

    Raises:
      InputError: in one line that names the argument, its value and what is accepted.
    """
    _check_value(name, annotation, value)


def check_names(values: Mapping[str, Any], known: Collection[str], whose: str) -> None:
    """Raises InputError for the first argument that is none of the known options.

    Args:
      values: by the names that were given.
      known: names of all options.
      whose: they are, in words.
    """
    for name, value in values.items():
        if name not in known:
            only = f", only {', '.join(known)}" if known else ""
            raise InputError(
                f"{name} is {shown(value)}: {whose} has no such option{only}"
            )


def check_arguments(function: Callable, values: Mapping[str, Any]) -> None:
    """Checks numbers and texts among arguments against a function's annotations.

    Arrays, and arguments without an annotation of a number or a text, are not checked.

    Raises:
      InputError: as `check_value`.
    """
    for name, own in _named(function).items():
        value = values.get(name)
        if value is own.default or type(value) not in _PLAIN:
            continue
        if own.annotation is own.empty or isinstance(own.annotation, str):
            continue
        if any(kind in _PLAIN for kind, _ in alternatives(own.annotation)):
            check_value(name, own.annotation, value)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Leaves dataclasses unchecked while they are put together from parts."""
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


@contextlib.contextmanager
def within(prefix: str) -> Iterator[None]:
    """Puts a prefix before the message of an `InputError`."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error.__cause__


@contextlib.contextmanager
def called(names: Mapping[str, str]) -> Iterator[None]:
    """Calls the argument that an `InputError` names as it is called here.

    With {"folder": "model"} "folder is 'a': ..." becomes "model is 'a': ...", and with
    {"seat is": "seats has"} "seat is 'a': ..." becomes "seats has 'a': ...".
    """
    try:
        yield
    except InputError as error:
        line = str(error)
        there = next((name for name in names if line.startswith(f"{name} ")), None)
        if there is None:
            raise
        line = names[there] + line.removeprefix(there)
        raise InputError(line) from error.__cause__


def build(cls: type, record: Any, prefix: str = "", others: bool = False) -> Any:
    """A dataclass from an object of a JSON file; what it lacks has its default.

    Lists become tuples, strings become paths where they are wanted, and numbers without
    a fraction become ints or floats.

    Args:
      cls: the dataclass.
      record: the object.
      prefix: of names in messages.
      others: whether keys that are no fields are left out, rather than refused.

    Raises:
      InputError: in one line that names the key, its value and what is accepted.
    """
    with deferred():
        config = _build(cls, record, prefix, others)
    check_all(config, prefix)
    return config


def replaced(config: Any, changes: Mapping[str, Any]) -> Any:
    """A dataclass with other values of some of its options.

    Values are converted as those of a JSON file, arrays as lists.

    Args:
      config: a dataclass.
      changes: by the names that the command line knows, such as beta or
        network.blocks, or by those of fields. The value of a field that is a dataclass
        may be a mapping of what changes in it; that of a tuple of name=value words, a
        mapping of names to values.

    Raises:
      InputError: for a name that is none, a name that is given twice, or a value that
        is not accepted.
    """
    given: dict[tuple[str, ...], Any] = {}
    for path, value in _expanded(config, changes):
        if path in given:
            raise InputError(f"{'.'.join(path)} is given twice: once is needed")
        given[path] = value
    with deferred():
        for path in sorted(given, key=len):  # parts as a whole, then what is in them
            config = _put(config, path, given[path], ".".join(path))
    check_all(config, flat=True)
    return config


def read_text(annotation: Any, text: str) -> Any:
    """The value that a word on the command line stands for.

    Entries of a tuple are separated by commas, in brackets or not.

    Raises:
      ValueError: if it stands for none that the annotation accepts; what it accepts is
        the message.
    """
    accepting = alternatives(annotation)
    value = None
    for member, marks in accepting:
        with contextlib.suppress(ValueError):
            value = _read_member(member, text)
            _check_value(text, Annotated[member, *marks, None], value)
            return value
    raise ValueError(_describe_bound(accepting, value) or describe(annotation))


def describe(annotation: Any) -> str:
    """What an annotation accepts: a whole number, one of a, b."""
    accepting = alternatives(annotation)
    words = [_describe_member(*each) for each in accepting if _is_typed(each[0])]
    return ", or ".join(dict.fromkeys(words))


def _is_typed(member: Any) -> bool:
    """Whether somebody types it: not None, nor an array of JAX or NumPy."""
    # By name, since JAX takes a second to import.
    package = getattr(member, "__module__", "").split(".")[0]
    return member is not NoneType and package not in ("jax", "jaxlib", "numpy")


def options(cls: type, default: Any = None, flat: bool = True) -> list[Option]:
    """All options of a dataclass in order, those of its parts under their whole names.

    Args:
      cls: the dataclass.
      default: an instance, whose values are the defaults.
      flat: as of `check_all`.
    """
    found = []
    for field in dataclasses.fields(cls):
        annotation = hints(cls)[field.name]
        value = field.default if default is None else getattr(default, field.name)
        bare, _ = split(annotation)
        if isinstance(bare, type) and dataclasses.is_dataclass(bare):
            inner = None if value is dataclasses.MISSING else value
            name = "" if flat and _is_flat(cls, field.name) else f"{field.name}."
            found += [
                option._replace(name=name + option.name)
                for option in options(bare, inner, flat)
            ]
        else:
            found.append(Option(field.name, annotation, value))
    return found


def parameters(function: Callable) -> dict[str, Any]:
    """Arguments of a function that have names of their own, with their annotations.

    What has no annotation is of the type of its default, or a text.
    """
    return {name: _annotation(own) for name, own in _named(function).items()}


def required(function: Callable) -> list[str]:
    """Those of `parameters` that have no default."""
    empty = inspect.Parameter.empty
    return [name for name, own in _named(function).items() if own.default is empty]


def _named(function: Callable) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # of what is imported for type checkers alone
        signature = inspect.signature(function)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in named
    }


def _annotation(parameter: inspect.Parameter) -> Any:
    empty = inspect.Parameter.empty
    if parameter.annotation is empty or isinstance(parameter.annotation, str):
        default = parameter.default
        if isinstance(default, tuple):
            return tuple[type(default[0]) if default else str, ...]
        return str if default is empty or default is None else type(default)
    return parameter.annotation


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """Annotations by field, with what they were annotated with."""
    return typing.get_type_hints(cls, include_extras=True)


def split(annotation: Any) -> tuple[Any, tuple]:
    """The type itself, and what it was annotated with."""
    marks: tuple = ()
    while typing.get_origin(annotation) is Annotated:
        annotation, *more = typing.get_args(annotation)
        marks += tuple(more)
    return annotation, marks


def alternatives(annotation: Any) -> list[tuple[Any, tuple]]:
    """The types of a union, each with what it was annotated with, or a type alone."""
    bare, marks = split(annotation)
    if typing.get_origin(bare) not in (Union, UnionType):
        return [(bare, marks)]
    each = [split(member) for member in typing.get_args(bare)]
    return [(member, own + marks) for member, own in each]


def shown(value: Any) -> str:
    """A value in a message: one line, not a long one."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _plain(x: float) -> str:
    return str(x) if isinstance(x, int) else f"{x:g}"


def _is_flat(owner: Any, name: str) -> bool:
    cls = owner if isinstance(owner, type) else type(owner)
    _, marks = split(hints(cls)[name])
    return any(getattr(mark, "name", None) == "" for mark in marks)


def _range(marks: tuple) -> Range:
    return next((mark for mark in marks if isinstance(mark, Range)), Range())


def _choice(marks: tuple) -> Choice | None:
    return next((mark for mark in marks if isinstance(mark, Choice)), None)


def _refers(marks: tuple) -> Refers | None:
    return next((mark for mark in marks if isinstance(mark, Refers)), None)


def _items(marks: tuple) -> Items:
    return next((mark for mark in marks if isinstance(mark, Items)), Items())


def _check_value(label: str, annotation: Any, value: Any, verb: str = "is") -> None:
    accepting = alternatives(annotation)
    for member, marks in accepting:
        if _is_tuple(member) and isinstance(value, tuple):
            _check_entries(label, member, value, marks)
            return
        if typing.get_origin(member) is dict and isinstance(value, dict):
            for key, entry in value.items():
                _check_value(f"{label}.{key}", typing.get_args(member)[1], entry)
            return
        if _is_member(member, value, marks):
            return
    accepted = _describe_bound(accepting, value) or describe(annotation)
    raise InputError(f"{label} {verb} {shown(value)}: {accepted} is needed")


def _check_entries(label: str, kind: Any, value: tuple, marks: tuple) -> None:
    each, items = _entries(kind, len(value)), _items(marks)
    if len(value) != len(each) or len(value) < items.least:
        count = f"{len(each)}" if len(value) != len(each) else f"at least {items.least}"
        values = "value is" if count.endswith(" 1") else "values are"
        raise InputError(f"{label} is {shown(value)}: {count} {values} needed")
    for i, (annotation, entry) in enumerate(zip(each, value, strict=True)):
        if dataclasses.is_dataclass(entry):
            check_all(entry, f"{label}.{i}.")
            continue
        marked = Annotated[annotation, *marks] if marks else annotation
        _check_value(label, marked, entry, verb="has")
    # Of two paths to one file a run would keep the same one.
    same = [references.absolute(entry) for entry in value]
    repeated = [entry for i, entry in enumerate(value) if same[i] in same[:i]]
    if items.distinct and repeated:
        raise InputError(f"{label} has {shown(repeated[0])} twice: once is needed")


def _entries(kind: Any, count: int) -> tuple:
    """Annotations of the entries of a tuple that has so many."""
    each = typing.get_args(kind)
    return each[:1] * count if each[-1] is Ellipsis else each


def _is_tuple(member: Any) -> bool:
    return typing.get_origin(member) is tuple


def _is_member(member: Any, value: Any, marks: tuple) -> bool:
    if member is Any:
        return True
    if typing.get_origin(member) is Literal:
        return any(
            type(value) is type(choice) and value == choice
            for choice in typing.get_args(member)
        )
    if _refers(marks) is not None:
        return references.is_reference(value)
    if member is bool:
        return isinstance(value, bool)
    if member in (int, float):
        kind = numbers.Integral if member is int else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        bounds = _range(marks)
        if member is int:
            whole = int(typing.cast(int, value))
            return bounds.has(whole) and (bounds.high < math.inf or abs(whole) <= MOST)
        try:
            number = float(value)
        except OverflowError:
            return False
        return bounds.has(number) and (bounds.infinite or abs(number) <= MOST_FLOAT)
    choice = _choice(marks)
    if member is str and choice is not None and choice.others is None:
        return value in choice.names
    if member is Path:
        return isinstance(value, str | os.PathLike)
    kind = typing.get_origin(member) or member
    return isinstance(kind, type) and isinstance(value, kind)


def _describe_bound(accepting: list[tuple[Any, tuple]], value: Any) -> str:
    """What a number of the right kind is to be that is out of bounds; else empty."""
    for kind, marks in accepting:
        bounds = _range(marks)
        if type(value) is not kind or bounds.high < math.inf:
            continue
        if kind is int:
            least = f"at least {_plain(bounds.low)}"
            return f"at most {MOST}" if value > MOST else least
        if kind is float and MOST_FLOAT < abs(value) < math.inf:
            return f"a number of float32, of at most {MOST_FLOAT:.3g},"
    return ""


def _describe_member(member: Any, marks: tuple) -> str:
    if typing.get_origin(member) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(member)))}"
    refers = _refers(marks)
    if refers is not None:
        return f"{references.FORMS} of {refers.kind}"
    if member in (int, float):
        return _range(marks).describe(whole=member is int)
    choice = _choice(marks)
    if member is str and choice is not None:
        return choice.describe()
    if _is_tuple(member):
        return "a tuple (in JSON, a list)"
    if dataclasses.is_dataclass(member):
        return "an object"
    names = {bool: "true or false", str: "a text", Path: "a path", dict: "an object"}
    kind = typing.get_origin(member) or member
    return names.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _build(cls: type, record: Any, prefix: str, others: bool) -> Any:
    if not isinstance(record, Mapping):
        label = prefix.removesuffix(".") or "content"
        raise InputError(f"{label} is {shown(record)}: an object is needed")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    record = _renamed(cls, record, prefix)
    unknown = [name for name in record if name not in fields]
    if unknown and not others:
        raise InputError(
            f"{prefix}{unknown[0]} is {shown(record[unknown[0]])}: there is no such "
            f"key, only {', '.join(fields)}"
        )
    values = {}
    for name, field in fields.items():
        annotation = hints(cls)[name]
        if name in record:
            label = prefix + name
            values[name] = _converted(annotation, record[name], label, others)
            _check_value(label, annotation, values[name])
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(
                f"{prefix}{name} is missing: {describe(annotation)} is needed"
            )
    return cls(**values)


def _expanded(
    config: Any, changes: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names of fields that lead to what changes, with the new values."""
    for name, value in changes.items():
        path = _path(type(config), prefix, name, value)
        present = functools.reduce(getattr, path, config)
        if dataclasses.is_dataclass(present) and isinstance(value, Mapping):
            inner = _expanded(present, value, f"{prefix}{name}.")
            yield from (((*path, *rest), x) for rest, x in inner)
        else:
            yield path, value


def _path(cls: type, prefix: str, name: str, value: Any) -> tuple[str, ...]:
    """Names of fields that lead to an option; raises InputError if there is none."""
    paths = _paths(cls)
    if name in paths:
        return paths[name]
    known = [option.name for option in options(cls)]
    ends = [option for option in known if option.rpartition(".")[2] == name]
    likely = ends or difflib.get_close_matches(str(name), known, n=3)
    likely = [prefix + option for option in likely]
    advice = f"; is {' or '.join(likely)} meant?" if likely else ""
    every = "" if likely else f", only {', '.join(known)}"
    raise InputError(
        f"{prefix}{name} is {shown(value)}: there is no option of that name{every}"
        f"{advice}"
    )


@functools.cache
def _paths(cls: type) -> dict[str, tuple[str, ...]]:
    """Names that lead to fields of a dataclass and of its parts, flat ones too."""
    found: dict[str, tuple[str, ...]] = {}
    for field in dataclasses.fields(cls):
        annotation = hints(cls)[field.name]
        names = [field.name, former_name(annotation)]
        found |= {name: (field.name,) for name in names if name is not None}
        bare, _ = split(annotation)
        if dataclasses.is_dataclass(bare):
            prefixes = [f"{field.name}.", *[""] * _is_flat(cls, field.name)]
            for name, path in _paths(bare).items():
                for prefix in prefixes:
                    found.setdefault(prefix + name, (field.name, *path))
    return found


def _put(config: Any, path: Sequence[str], value: Any, label: str) -> Any:
    """The config with another value at the end of a path."""
    name, *rest = path
    present = getattr(config, name)
    if rest:
        value = _put(present, rest, value, label)
    elif isinstance(present, tuple) and isinstance(value, Mapping):
        value = tuple(f"{key}={_word(x)}" for key, x in value.items())
    elif not dataclasses.is_dataclass(value):
        value = _converted(hints(type(config))[name], _listed(value), label, False)
    return dataclasses.replace(config, **{name: value})


def _listed(value: Any) -> Any:
    """Arrays and tuples as lists, as JSON has them; all else as it is."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_listed(x) for x in value]
    return value


def _word(value: Any) -> str:
    """A value as the command line has it: true, 3, 1,2."""
    value = _listed(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        is_nested = any(isinstance(x, list) for x in value)
        return str(value) if is_nested else ",".join(map(_word, value))
    return str(value)


def former_name(annotation: Any) -> str | None:
    """What a field was called before; None if it was never called otherwise."""
    _, marks = split(annotation)
    return next((mark.name for mark in marks if isinstance(mark, Formerly)), None)


def by_present_names(cls: type, record: Any) -> Any:
    """A record of a dataclass, parts included, without former names of fields.

    What is no record of it stays as it is, for `build` to refuse.

    Raises:
      InputError: if a field is there by both of its names.
    """
    if not isinstance(record, Mapping):
        return record
    record = _renamed(cls, record, "")
    for name, annotation in hints(cls).items():
        bare, _ = split(annotation)
        if not isinstance(bare, type) or name not in record:
            continue
        if dataclasses.is_dataclass(bare):
            record[name] = by_present_names(bare, record[name])
    return record


def _renamed(cls: type, record: Mapping, prefix: str) -> dict[str, Any]:
    """The record, with fields that it has by former names under their present ones."""
    record = dict(record)
    for name, annotation in hints(cls).items():
        former = former_name(annotation)
        if former in record and former is not None:
            if name in record:
                raise InputError(
                    f"{prefix}{former} is {shown(record[former])}: it is called "
                    f"{name} now, which is there too"
                )
            record[name] = record.pop(former)
    return record


def _converted(annotation: Any, value: Any, label: str, others: bool) -> Any:
    """A value as JSON has it, as its field does; what does not fit stays as it is."""
    accepting = [member for member, _ in alternatives(annotation)]
    if value is None and NoneType in accepting:
        return None
    for member in accepting:
        if isinstance(member, type) and dataclasses.is_dataclass(member):
            return _build(member, value, f"{label}.", others)
        if _is_tuple(member) and isinstance(value, list):
            pairs = zip(_entries(member, len(value)), value, strict=False)
            entries = [
                _converted(inner, x, f"{label}.{i}", others)
                for i, (inner, x) in enumerate(pairs)
            ]
            return (*entries, *value[len(entries) :])
        if typing.get_origin(member) is dict and isinstance(value, dict):
            inner = typing.get_args(member)[1]
            return {
                key: _converted(inner, x, f"{label}.{key}", others)
                for key, x in value.items()
            }
    if isinstance(value, float) and int in accepting and value.is_integer():
        return int(value)
    if type(value) is int and float in accepting and abs(value) < 2**53:
        return float(value)
    if Path in accepting and isinstance(value, str):
        return Path(value)
    return value


def _read_member(member: Any, text: str) -> Any:
    if member is NoneType:
        if text.lower() != "none":
            raise ValueError(text)
        return None
    if member is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if typing.get_origin(member) is Literal:
        choices = {str(choice): choice for choice in typing.get_args(member)}
        if text not in choices:
            raise ValueError(text)
        return choices[text]
    if member in (int, float, str, Path):
        return member(text)
    if _is_tuple(member):
        inner = text.strip().removeprefix("(").removeprefix("[")
        inner = inner.removesuffix(")").removesuffix("]").strip().removesuffix(",")
        words = [word.strip() for word in inner.split(",")] if inner else []
        each = _entries(member, len(words))
        if len(words) == len(each):
            return tuple(map(read_text, each, words))
    raise ValueError(text)
