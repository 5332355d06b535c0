"""What `aajax train --help` says, and which preset the words of a command line name."""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from aajax.envs import find_spec
from aajax.errors import InputError
from aajax.training.lm_presets import (
    MODELS,
    POCKET,
    SIZED,
    SIZES,
    SMALL,
    VARIANTS,
    pocket_name,
    size_named,
)
from aajax.training.presets import PRESETS

_log = logging.getLogger(__name__)

SIZE, MODEL = "--size", "--model"
_SHORT = {name: (pocket, size) for (pocket, size), name in SIZED.items()}


def size_of(preset: str) -> str | None:
    """The size of a preset that has one; None of a pocket model's."""
    return _SHORT[preset][1] if preset in _SHORT else None


def named(preset: str, arguments: Sequence[str]) -> str:
    """The name under which `LM_PRESETS` has a preset, its size included.

    lm-ipd with --size qwen2.5-7b is lm-ipd-aa-qwen2.5-7b, which was the way to write
    it, and lm-ipd-aa is lm-ipd. With --model smollm2, and nothing said of its size,
    lm-ipd has the settings of that size, which is told.

    Args:
      preset: as it was given.
      arguments: the words after it.

    Raises:
      InputError: for a size that there is not.
    """
    size = _size(arguments)
    if preset in _SHORT:
        short, own = _SHORT[preset]
        if size not in (None, own):
            raise InputError(f"size is {size!r}: {own!r} is needed with {preset}")
        if size is None:
            _log.warning("%s is now written %s %s %s", preset, short, SIZE, own)
        return preset
    pocket = preset.removesuffix("-aa")
    if pocket.removeprefix("lm-") in POCKET:
        preset = pocket
    if _value(SIZE, arguments) is None:
        size = size_named(preset, _value(MODEL, arguments))
        if size is not None:
            _log.warning(
                "%s %s %s has the settings of %s %s; %s None keeps a pocket model's",
                *(preset, MODEL, size, SIZE, size, SIZE),
            )
    return preset if size is None else SIZED.get((preset, size), preset)


def _size(arguments: Sequence[str]) -> str | None:
    """The last value of --size; None for none.

    Raises:
      InputError: if there is no such size.
    """
    size = _value(SIZE, arguments)
    if size is None or size.lower() == "none":
        return None
    if size not in SIZES:
        raise InputError(f"size is {size!r}: one of {', '.join(SIZES)} is needed")
    return size


def _value(option: str, arguments: Sequence[str]) -> str | None:
    """The last value of an option among words; None for none."""
    found = None
    for word, after in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        value = value if equals else after
        if name == option and value:
            found = value
    return found


def print_presets(console: Console) -> None:
    """Prints all presets, those of each game under a heading."""
    console.print("usage: aajax train PRESET [options]\n")
    console.print("aajax train PRESET --help shows a preset's options and values.")
    for heading, lines in _families():
        console.print(f"\n{heading}:")
        for name, about in lines.items():
            console.print(f"  {name:22}{about}", soft_wrap=True)


def _families() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Headings, and what is below each."""
    families: dict[str, dict[str, str]] = {}
    for name, (about, config) in PRESETS.items():
        families.setdefault(config.game, {})[name] = about
    for game, lines in families.items():
        if find_spec(game).from_payoff:
            game += ", or with --game another matrix game that aajax list names"
        yield game, lines
    yield (
        f"a language model in words; GAME is {', '.join(POCKET)}",
        {
            pocket_name("GAME", variant): about
            for variant, (about, _) in VARIANTS.items()
        },
    )
    yield (
        "its size: a pocket model, which is trained in about a minute, or",
        {f"{SIZE} {size}": f"{model}, on a CPU" for size, (model, _) in SMALL.items()}
        | {
            f"{SIZE} {size}": f"{folder}, whose folder --model names"
            for size, (folder, _) in MODELS.items()
        },
    )
