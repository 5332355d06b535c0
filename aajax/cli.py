"""The `aajax` command."""

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from rich.console import Console

from aajax.commands.arguments import parse
from aajax.commands.progress import print_help
from aajax.commands.spelling import spelled_out
from aajax.errors import DivergenceError, InputError

T = TypeVar("T")

COMMANDS = {
    "train": "train a preset, such as ipd, over many seeds at once",
    "league": "play trained runs and scripted players against one another",
    "play": "show one game between any players, people too, step by step",
    "plot": "draw a run's figure again from its files",
    "export": "write a run's or a league's numbers as CSV files",
    "transcript": "make one page of what was said in a run's matches",
    "bench": "measure speed on this machine",
    "lm": "make a pocket language model; tell whether one fits on a mesh",
    "check": "tell whether an environment of your own keeps the contract",
    "list": "name the environments, players, algorithms and presets, or one's options",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
      The exit code: 0, 2 for bad input or a folder that cannot be written, 3 for a
      training run that has diverged, or 130 after an interrupt.
    """
    with spelled_out():
        return _main(sys.argv[1:] if argv is None else argv)


def _main(argv: list[str]) -> int:
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if not argv or argv[0] in ("-h", "--help"):
        print_help("aajax", COMMANDS)
        return 0
    name, *arguments = argv
    if name not in COMMANDS:
        errors.print(f"aajax: command is {name!r}: one of {_names()} is needed")
        return 2
    command = importlib.import_module(f"aajax.commands.{name}")
    return _code(errors, f"aajax {name}", lambda: command.main(arguments))


def script(main: Callable[[T], object], options: type[T], about: str) -> NoReturn:
    """Runs a program of one's own as commands run: with options, errors in one line.

        if __name__ == "__main__":
            cli.script(main, Config, __doc__)

    Args:
      main: called with the options.
      options: a dataclass, whose fields are the options.
      about: what `--help` says of the program.

    Raises:
      SystemExit: always, with the exit code of `main`.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    name = Path(sys.argv[0]).name
    with spelled_out():
        found = _code(
            errors, name, lambda: main(parse(options, sys.argv[1:], name, about))
        )
    raise SystemExit(found)


def _code(errors: Console, prefix: str, action: Callable[[], object]) -> int:
    """The exit code of an action, whose errors are told in one line."""
    try:
        with _told(errors, prefix):
            action()
    except InputError as error:
        errors.print(f"{prefix}: {error}")
        return 2
    except DivergenceError as error:
        errors.print(f"{prefix}: {error}")
        return 3
    except OSError as error:
        errors.print(f"{prefix}: {_reason(error)}")
        return 2
    except KeyboardInterrupt as interrupt:
        errors.print(f"{prefix}: interrupted. {interrupt}")
        return 130
    return 0


@contextlib.contextmanager
def _told(errors: Console, prefix: str) -> Iterator[None]:
    """Prints what the library logs, each in a line."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.print(f"{prefix}: {record.getMessage()}")

    logger, handler = logging.getLogger("aajax"), Lines()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def _names() -> str:
    return ", ".join(COMMANDS)


def _reason(error: OSError) -> str:
    words = (error.strerror or str(error), error.filename)
    return ": ".join(str(word) for word in words if word is not None)
