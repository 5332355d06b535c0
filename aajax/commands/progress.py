"""What commands print: help, and where work is kept."""

import os
from collections.abc import Mapping

from rich.console import Console


def table_console() -> Console:
    """For tables: as wide as the terminal or COLUMNS say, else 120 columns."""
    console = Console(markup=False, emoji=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(width=120, markup=False, emoji=False)


def print_help(prog: str, commands: Mapping[str, str]) -> None:
    """Prints what each command is about."""
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    console.print(f"usage: {prog} COMMAND ...\n")
    for name, about in commands.items():
        console.print(f"  {name:12}{about}")
    console.print(f"\n{prog} COMMAND --help tells more.")


def tell_path(console: Console, line: str) -> None:
    """Prints a line with a path in it as it is: whole, and with its brackets."""
    console.print(line, soft_wrap=True, markup=False, emoji=False)
