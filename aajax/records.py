"""JSON files that come from outside: read whole or row by row, or refused by name."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aajax.errors import InputError
from aajax.schema import shown


def read_json(path: str | os.PathLike, nan_is_null: bool = False) -> Any:
    """What a JSON file holds.

    Args:
      path: of the file.
      nan_is_null: whether NaN and infinite numbers, which are no strict JSON, are read
        as None, and not as themselves.

    Raises:
      InputError: for a file that is no JSON, names a key twice, or is no UTF-8.
      OSError: if it cannot be read.
    """
    path = Path(path)
    return parse(_decode(path, path.read_bytes()), f"file is {path}", nan_is_null)


def read_object(path: str | os.PathLike, nan_is_null: bool = False) -> dict[str, Any]:
    """The object in a JSON file; errors are those of `read_json`, and for another."""
    content = read_json(path, nan_is_null)
    if not isinstance(content, dict):
        raise InputError(f"file is {path}: an object is needed, not {shown(content)}")
    return content


def read_rows(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Objects, one on each line; a last line that was cut short is left out.

    What is NaN or infinite is read as None.

    Raises:
      InputError: for another line that is no object, or a file that is no UTF-8.
      OSError: if it cannot be read.
    """
    path = Path(path)
    content = path.read_bytes()
    # A cut may be in the middle of a character.
    content = content[: content.rfind(b"\n") + 1]
    rows = []
    for number, line in enumerate(_decode(path, content).split("\n")[:-1], start=1):
        where = f"file is {path}: line {number}"
        row = parse(line, where, nan_is_null=True)
        if not isinstance(row, dict):
            raise InputError(f"{where} is {shown(row)}: an object is needed")
        rows.append(row)
    return rows


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"file is {path}: UTF-8 text is needed, and byte {error.start} is none"
        ) from error


def parse(text: str, where: str, nan_is_null: bool = False) -> Any:
    """What a text holds; raises InputError that begins with `where` if no JSON."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_distinct(where),
            parse_constant=(lambda _: None) if nan_is_null else None,
        )
    except InputError:
        raise
    except json.JSONDecodeError as error:
        column = f"column {error.colno}"
        place = f"line {error.lineno}, {column}" if "\n" in text else column
        raise InputError(
            f"{where}: JSON is needed, and at {place} it is none ({error.msg})"
        ) from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, lists in thousands of lists.
        raise InputError(f"{where}: JSON is needed ({error})") from error


def _distinct(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise InputError(f"{where}: {twice!r} is there twice, once is needed")
        return found

    return read
