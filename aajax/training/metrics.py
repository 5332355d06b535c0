"""Rows of numbers, one JSON object per line."""

import json
from collections.abc import Iterable
from pathlib import Path

from aajax.files import append_text, to_json, write_text


def append_rows(path: Path, rows: Iterable[dict]) -> None:
    """Adds rows at the end of the file, creating it if need be.

    What is NaN or infinite is null in the file.
    """
    append_text(path, "".join(to_json(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict]:
    """All rows; a last line that was cut short in writing is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def drop_rows_after(path: Path, num_updates: int) -> list[dict]:
    """Forgets rows of updates beyond `num_updates`; returns those that remain."""
    rows = [row for row in read_rows(path) if row["update"] <= num_updates]
    write_text(path, "".join(to_json(row) + "\n" for row in rows))
    return rows
