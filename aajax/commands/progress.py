"""What commands print: help, and where work is kept."""

import os
from collections.abc import Mapping

from rich.table import Table

from aajax.commands.spelling import Console


def table_console() -> Console:
    """For tables: as wide as the terminal or COLUMNS say, else 120 columns."""
    console = Console(markup=False, emoji=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Console(width=120, markup=False, emoji=False)


def print_help(prog: str, commands: Mapping[str, str]) -> None:
    """Prints what each command is about."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"usage: {prog} COMMAND ...\n")
    console.print(names_table(commands))
    console.print(f"\n{prog} COMMAND --help tells more.")


def names_table(abouts: Mapping[str, str]) -> Table:
    """Names and, beside them, what each is about."""
    table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
    table.add_column(no_wrap=True, min_width=10)
    table.add_column()
    for name, about in abouts.items():
        table.add_row(name, about)
    return table


def tell_path(console: Console, line: str) -> None:
    """Prints a line with a path in it as it is: whole, and with its brackets."""
    console.print(line, soft_wrap=True, markup=False, emoji=False)
