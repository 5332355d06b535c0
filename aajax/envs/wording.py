"""Prompt templates of text games: a folder of text files per game and wording.

A template is plain text with placeholders such as `{other}`; literal braces are
doubled. Each game has the wordings "full", for instruction-tuned models, "brief", which
says the same in few tokens, and "short", for small models that learn the game by
training. A folder of files with the same names is a wording of one's own.
"""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, SupportsFloat

from aajax.errors import InputError

WORDINGS = ("full", "brief", "short")


class Placeholders(NamedTuple):
    """The placeholders of a template.

    Attributes:
      needed: groups of names; at least one of each group must occur.
      allowed: further names that may occur.
    """

    needed: tuple[tuple[str, ...], ...] = ()
    allowed: tuple[str, ...] = ()


class Wording(NamedTuple):
    """The templates of a game, by file name without the suffix."""

    templates: Mapping[str, str]

    def write(self, name: str, **values: object) -> str:
        """Fills in a template's placeholders; unused values are ignored."""
        return self.templates[name].format_map(values)


def load_wording(
    name_or_folder: str | Path, own: Path, needed: Mapping[str, Placeholders]
) -> Wording:
    """Reads and checks the templates of a game.

    Args:
      name_or_folder: one of WORDINGS that the game has, or a folder that holds its
        `.txt` files.
      own: the folder that holds the game's wordings, a folder each.
      needed: the placeholders of each file, by its name without the suffix.

    Raises:
      InputError: if the folder does not exist, a file is missing, unknown or not text,
        or a placeholder is missing or unknown.
    """
    there = {n: Path(own) / n for n in WORDINGS if (Path(own) / n).is_dir()}
    folder = there.get(str(name_or_folder), Path(name_or_folder))
    if not str(name_or_folder) or not folder.is_dir():
        names = ", ".join(there)
        raise InputError(
            f"wording is {str(name_or_folder)!r}: {names} or a folder is needed"
        )
    files = {file.stem: file for file in sorted(folder.glob("*.txt"))}
    for name, file in files.items():
        if name not in needed:
            names = ", ".join(f"{name}.txt" for name in needed)
            raise InputError(f"wording has a file {file}: only {names} are needed")
    templates = {}
    for name, placeholders in needed.items():
        if name not in files:
            raise InputError(
                f"wording is {str(name_or_folder)!r}: a file {folder / name}.txt is "
                "needed"
            )
        templates[name] = _read(files[name], placeholders)
    return Wording(templates)


def joined(*parts: str) -> str:
    """Joins the non-empty parts with newlines."""
    return "\n".join(part for part in parts if part)


def number(points: SupportsFloat) -> str:
    """Formats points with at most one decimal."""
    return f"{round(float(points), 1) + 0.0:.1f}".removesuffix(".0")


def _read(file: Path, placeholders: Placeholders) -> str:
    try:
        template = file.read_text(encoding="utf-8").removesuffix("\n")
        pieces = list(string.Formatter().parse(template))
    except UnicodeDecodeError:
        raise InputError(f"wording has a file {file}: UTF-8 is needed") from None
    except ValueError as error:
        raise InputError(
            f"wording has a file {file}: braces around placeholders alone are needed, "
            f"others twice ({error})"
        ) from None
    known = {name for group in placeholders.needed for name in group}
    known.update(placeholders.allowed)
    found = set()
    for _, name, form, conversion in pieces:
        if name is None:
            continue
        if name not in known or form or conversion:
            names = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
            shown = name + (f"!{conversion}" if conversion else "")
            shown += f":{form}" if form else ""
            raise InputError(
                f"placeholder is {{{shown}}} in {file}: one of {names} is needed"
            )
        found.add(name)
    for group in placeholders.needed:
        if not found.intersection(group):
            names = " or ".join(f"{{{name}}}" for name in group)
            raise InputError(f"wording has a file {file}: {names} is needed in it")
    return template
