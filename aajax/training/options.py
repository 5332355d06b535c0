"""Options of a game: words on the command line as arguments of its constructor."""

import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union

import jax
import numpy as np

from aajax import records, schema
from aajax.errors import InputError


def read_options(
    label: str, words: Sequence[str], game: str, accepted: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments that name=value words stand for.

    A value is read by its option's type: true or false for a bool, numbers separated by
    commas for a tuple, nested JSON lists for a tensor.

    Args:
      label: what messages call the words.
      words: name=value each.
      game: whose options they are.
      accepted: annotations by name, as of `schema.parameters`.

    Raises:
      InputError: for a word of another form, a name that there is not or that is there
        twice, or a value of another type.
    """
    options: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"{label} has {word!r}: name=value is needed")
        if name not in accepted:
            names = f"only {', '.join(accepted)}" if accepted else "and no other"
            raise InputError(
                f"{label} has {word}: game {game!r} has no such option, {names}"
            )
        if name in options:
            raise InputError(f"{label} has {name} twice: once is needed")
        options[name] = _read(f"{label} has {word}", accepted[name], text)
    return options


def read_tensor(where: str, text: str) -> np.ndarray:
    """f32[...] from nested JSON lists of numbers, or a .json or .npy file of them.

    Args:
      where: what messages begin with.
      text: the lists, or the file's name.

    Raises:
      InputError: for anything else, numbers that are no float32 among it.
    """
    needed = "nested lists of numbers, or a .json or .npy file of them, are needed"
    try:
        content = _content(text)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        names_file = text.endswith((".npy", ".json"))
        is_either = names_file or text.lstrip().startswith("[")
        raise InputError(f"{where}: {needed}{f' ({reason})' * is_either}") from error
    try:
        numbers = np.asarray(content)
    except ValueError:
        raise InputError(f"{where}: {needed}, equally long ones") from None
    if not isinstance(content, list | np.ndarray) or not _is_numeric(numbers, content):
        raise InputError(f"{where}: {needed}")
    with np.errstate(over="ignore"):
        found = numbers.astype(np.float32)
    if not np.all(np.isfinite(found)):
        raise InputError(f"{where}: finite numbers of float32 are needed")
    return found


def _is_numeric(numbers: np.ndarray, content: list | np.ndarray) -> bool:
    """Whether all are numbers: beside numbers NumPy takes true for 1."""
    if numbers.dtype.kind not in "iuf":
        return False
    kept = content if isinstance(content, np.ndarray) else np.asarray(content, object)
    return not any(isinstance(x, bool) for x in kept.flat)


def _content(text: str) -> Any:
    if text.endswith(".npy"):
        return np.load(text, allow_pickle=False)
    if text.endswith(".json"):
        return records.read_json(text)
    return records.parse(text, "the text")


def _read(label: str, annotation: Any, text: str) -> Any:
    kinds = [kind for kind, _ in schema.alternatives(annotation)]
    if Sequence in kinds:
        return read_tensor(label, text)
    # A word stands for a number where an array of them would do too.
    kinds = [kind for kind in kinds if kind is not jax.Array]
    marked = [
        Annotated[kind, *marks] if marks else kind
        for kind, marks in schema.alternatives(annotation)
        if kind in kinds
    ]
    plain = Union[tuple(marked)]  # noqa: UP007
    try:
        return schema.read_text(plain, text)
    except ValueError as error:
        raise InputError(f"{label}: {_needed(kinds) or f'{error} is needed'}") from None


def _needed(kinds: Sequence[Any]) -> str:
    """What is needed where one of them is a tuple; else empty."""
    for kind in kinds:
        if typing.get_origin(kind) is tuple:
            each = typing.get_args(kind)
            count = "" if each[-1] is Ellipsis else f"{len(each)} "
            return f"{count}values with commas between them are needed"
    return ""
