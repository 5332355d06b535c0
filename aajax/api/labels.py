"""Short names for folders that tell them apart."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from aajax.errors import InputError


def folder_labels(
    folders: Sequence[Path], argument: str, taken: Collection[str] = ()
) -> list[str]:
    """As much of the end of each path as no other has: ipd, or a/ipd and b/ipd.

    Args:
      folders: that are there.
      argument: what gave them, for the error.
      taken: names of others.

    Raises:
      InputError: if two are one folder, by whatever paths.
    """
    check_distinct(folders, argument)
    parts = [folder.resolve().parts for folder in folders]
    found = []
    for own in parts:
        others = [other for other in parts if other is not own]
        length = 1
        while length < len(own) and (
            _end(own, length) in taken
            or any(_end(own, length) == _end(other, length) for other in others)
        ):
            length += 1
        found.append(_end(own, length))
    return found


def check_distinct(
    folders: Sequence[Path], argument: str, given: Sequence[object] | None = None
) -> None:
    """Raises InputError if two are one folder, by whatever paths.

    Args:
      folders: to be compared.
      argument: what gave them.
      given: how, if not as these folders.
    """
    given = [str(name) for name in given or folders]
    for i, one in enumerate(folders):
        for j, other in enumerate(folders[:i]):
            if _are_one(one, other):
                raise InputError(
                    f"{argument} has {given[j]!r} and {given[i]!r}: they are one, and "
                    "each is needed once"
                )


def _are_one(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


def _end(parts: Sequence[str], length: int) -> str:
    """The last so many parts of a path."""
    return Path(*parts[-length:]).as_posix()
