"""Numbers as the tables of experiments have them."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from aajax.schema import Items, Seed
from aajax.tournament.intervals import mean_over_seeds

Seeds = Annotated[tuple[Seed, ...], Items(1, distinct=True)]


def text(number: float, digits: int = 2) -> str:
    """With a minus sign, and without one of zero."""
    found = f"{number:.{digits}f}"
    return found.replace("-", "−") if float(found) else f"{0:.{digits}f}"


def mean(numbers: Sequence[float | None] | np.ndarray, digits: int = 2) -> str:
    """With the half-width of its 95 % interval (Student's t over seeds)."""
    value, half = mean_over_seeds(np.asarray(numbers, float), [0])
    if half is None:
        return text(value, digits)
    return f"{text(value, digits)} ± {text(half, digits)}"


def show(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, after an empty line."""
    print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
