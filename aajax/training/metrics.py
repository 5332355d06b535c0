"""Rows of numbers, one JSON object per line."""

import json
import os
from collections.abc import Iterable
from pathlib import Path


def append_rows(path: Path, rows: Iterable[dict]) -> None:
    """Adds rows at the end of the file, creating it if need be."""
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict]:
    """All rows; a last line that was cut short in writing is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def drop_rows_after(path: Path, num_updates: int) -> list[dict]:
    """Forgets rows of updates beyond `num_updates`; returns those that remain."""
    rows = [row for row in read_rows(path) if row["update"] <= num_updates]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def write_text(path: Path, text: str) -> None:
    """Writes a whole file at once: the old one stays until the new one is complete."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
