"""Rows of metrics: sinks, and JSON lines files."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aajax import records
from aajax.errors import InputError
from aajax.files import append_text, to_json, write_text

_log = logging.getLogger(__name__)

# What gets rows of metrics: lists over settings of lists over seeds, or of a language
# model's single adapter numbers, by name, beside `update` and `seconds`.
Sink = Callable[[Mapping[str, Any]], None]


def send(rows: Iterable[Mapping[str, Any]], sinks: Iterable[Sink]) -> None:
    """Passes every row to every sink."""
    sinks = tuple(sinks)
    for row in rows:
        for sink in sinks:
            sink(row)


def append_rows(path: Path, rows: Iterable[dict]) -> None:
    """Appends rows to a file, which is created if it does not exist.

    NaN and infinities are stored as null.
    """
    append_text(path, _lines(rows))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the rows of a file, as `append_rows` stores them."""
    write_text(path, _lines(rows))


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(to_json(row) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict]:
    """All rows; an incomplete last line, from an interrupted write, is left out."""
    return records.read_rows(path) if path.exists() else []


def drop_rows_after(path: Path, num_updates: int, every: int = 1) -> list[dict]:
    """Removes rows of updates beyond `num_updates`; returns those that remain.

    A line is logged if the last ones up to there are missing.

    Args:
      path: of the file.
      num_updates: made so far.
      every: updates between two rows, at most.

    Raises:
      InputError: for a file that holds no such rows.
    """
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        seconds = row.get("seconds", 0.0)
        if type(row.get("update")) is not int or type(seconds) not in (int, float):
            raise InputError(
                f"file is {path}: update and seconds of line {number} are "
                f"{row.get('update')!r} and {seconds!r}: numbers are needed"
            )
    rows = [row for row in rows if row["update"] <= num_updates]
    last = rows[-1]["update"] if rows else 0
    if num_updates - last >= every:
        _log.warning(
            "file is %s: rows of updates %d to %d are missing, and stay so",
            *(path, last + 1, num_updates),
        )
    write_rows(path, rows)
    return rows
