"""What commands print: help, and where work is kept."""

from collections.abc import Mapping

from rich.console import Console


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
