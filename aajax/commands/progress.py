"""What commands print: help, how far long work is, and where it is kept."""

import os
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(console: Console, unit: str, hidden: bool = False) -> Progress:
    """A bar that goes away when all is done.

    Args:
      console: where it is drawn.
      unit: what is counted, in the plural.
      hidden: whether to draw nothing.
    """
    columns = (
        TextColumn("{task.description:32}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}"),
        TimeElapsedColumn(),
    )
    # Where it cannot be drawn anew, rich would leave an empty line of it.
    hidden = hidden or not console.is_interactive
    return Progress(*columns, console=console, transient=True, disable=hidden)


def table_console() -> Console:
    """For tables: as wide as the terminal or COLUMNS say, else 120 columns."""
    console = Console(markup=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(width=120, markup=False)


def print_help(prog: str, commands: Mapping[str, str]) -> None:
    """Prints what each command is about."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"usage: {prog} COMMAND ...\n")
    for name, about in commands.items():
        console.print(f"  {name:12}{about}")
    console.print(f"\n{prog} COMMAND --help tells more.")


def tell_path(console: Console, line: str) -> None:
    """Prints a line with a path in it as it is: whole, and with its brackets."""
    console.print(line, soft_wrap=True, markup=False)
