"""The `aajax` command."""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from rich.console import Console

import aajax
from aajax.commands.arguments import parse
from aajax.commands.progress import print_help
from aajax.commands.spelling import spelled_out
from aajax.errors import DivergenceError, InputError
from aajax.interrupts import interruptible

T = TypeVar("T")

COMMANDS = {
    "train": "train a preset, such as ipd, over many seeds at once",
    "league": "play trained runs and scripted players against one another",
    "play": "play one game step by step, with people too",
    "plot": "draw a run's figure again from its files",
    "export": "write a run's or a league's numbers as CSV files",
    "transcript": "show what was said in the matches of a text game",
    "wording": "copy the templates of a text game, to change them",
    "bench": "measure speed on this machine",
    "lm": "train a pocket language model; estimate the memory of a large one",
    "check": "tell whether an environment of your own keeps the contract",
    "list": "name the environments, players, algorithms and presets, or one's options",
}

# Commands that have commands of their own, which messages name too. What begins with
# hyphens may be anywhere behind the command.
SUBCOMMANDS = {
    "bench": ("lm", "lm-iteration", "lm-population"),
    "league": ("--text",),
    "lm": ("dry-run", "import", "pocket"),
    "wording": ("copy",),
}

BROKEN_PIPE = 141  # as shells have it: 128 + SIGPIPE


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
      The exit code: 0, 2 for bad input or a folder that cannot be written, 3 for a
      training run that has diverged, 130 after an interrupt, or 141 where nobody reads
      the output any more, as behind `| head`.
    """
    return _piped(lambda: _main(sys.argv[1:] if argv is None else argv))


def _piped(action: Callable[[], int]) -> int:
    """The exit code of an action, or that of a pipe that nobody reads any more."""
    with spelled_out():
        try:
            try:
                return action()
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            return BROKEN_PIPE
        except SystemExit as stopped:
            # By rich, which has met one.
            if isinstance(stopped.__context__, BrokenPipeError):
                return BROKEN_PIPE
            raise


def _main(argv: list[str]) -> int:
    errors = _errors()
    if not argv or argv[0] in ("-h", "--help"):
        print_help("aajax", COMMANDS)
        print("aajax --version tells which this is.")
        return 0
    if argv[0] == "--version":
        print(f"aajax {aajax.__version__}")
        return 0
    name, *arguments = argv
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        errors.print(f"aajax: command is {name!r}: one of {known} is needed")
        return 2

    def run() -> None:
        """Imports the command and runs it."""
        # Imports take seconds, and some end the process, or go on, if they are
        # interrupted.
        with interruptible() as interrupted:
            command = importlib.import_module(f"aajax.commands.{name}")
        if interrupted():
            raise KeyboardInterrupt
        command.main(arguments)

    return _code(errors, f"aajax {command_name(argv)}", run)


def command_name(argv: Sequence[str]) -> str:
    """The command that words ask for, such as train, lm pocket or league --text."""
    name, *arguments = argv
    found = [
        word
        for place, word in enumerate(arguments)
        if word in SUBCOMMANDS.get(name, ()) and (place == 0 or word.startswith("--"))
    ]
    return " ".join([name, *found[:1]])


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
    errors = _errors()
    name = Path(sys.argv[0]).name

    def run() -> None:
        """Reads the options and runs it."""
        main(parse(options, sys.argv[1:], name, about))

    raise SystemExit(_piped(lambda: _code(errors, name, run)))


def _errors() -> Console:
    """Standard error, for lines as they are."""
    return Console(
        stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def _code(errors: Console, prefix: str, action: Callable[[], object]) -> int:
    """The exit code of an action, whose errors are told in one line."""
    try:
        with _told(errors, prefix):
            action()
    except (InputError, DivergenceError) as error:
        errors.print(f"{prefix}: {error}")
        return 2 if isinstance(error, InputError) else 3
    except BrokenPipeError:
        raise
    except OSError as error:
        errors.print(f"{prefix}: {_reason(error)}")
        return 2
    except KeyboardInterrupt as interrupt:
        errors.print(f"{prefix}: interrupted. {interrupt}".rstrip())
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


def _discard_output() -> None:
    """Nothing that is still to be written, at exit too, meets the broken pipe again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _reason(error: OSError) -> str:
    words = (error.strerror or str(error), error.filename)
    return ": ".join(str(word) for word in words if word is not None)
