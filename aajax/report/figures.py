"""Parts of figures, and how they are written."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.image import AxesImage  # noqa: E402
from scipy.special import stdtrit  # noqa: E402

from aajax.errors import InputError  # noqa: E402
from aajax.files import write_bytes  # noqa: E402
from aajax.report.tables import known  # noqa: E402


def means(rows: np.ndarray) -> np.ndarray:
    """Of each row, over those numbers that there are; NaN where there is none."""
    return np.array([x.mean() if x.size else np.nan for x in map(known, rows)])


def intervals(rows: np.ndarray) -> np.ndarray:
    """Half-widths of 95 % intervals of the same, by Student's t; NaN of one number."""

    def half(numbers: np.ndarray) -> float:
        if numbers.size < 2:
            return np.nan
        error = numbers.std(ddof=1) / np.sqrt(numbers.size)
        return float(stdtrit(numbers.size - 1, 0.975) * error)

    return np.array([half(numbers) for numbers in map(known, rows)])


def draw_band(
    axes: Axes, update: Sequence[int], numbers: np.ndarray, colour: Any, label: str
) -> None:
    """The mean of each row's numbers, with its 95 % interval."""
    mean, half = means(numbers), intervals(numbers)
    axes.plot(update, mean, color=colour, linewidth=1.5, label=label)
    axes.fill_between(update, mean - half, mean + half, color=colour, alpha=0.2, lw=0)


def heat_map(axes: Axes, numbers: np.ndarray, text: np.ndarray) -> AxesImage:
    """Cells in colours, each with a text in it."""
    image = axes.imshow(numbers, cmap="viridis", aspect="auto")
    there = known(numbers)
    middle = (there.min() + there.max()) / 2 if there.size else 0.0
    for (row, column), label in np.ndenumerate(text):
        colour = "white" if numbers[row, column] < middle else "black"
        axes.text(
            column, row, label, ha="center", va="center", color=colour, fontsize=8
        )
    return image


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure at once, as a PNG if its name has no ending, and closes it.

    Raises:
      InputError: if the name's ending is of nothing that can be drawn.
      OSError: if the file cannot be written.
    """
    kind = path.suffix[1:].lower() or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise InputError(
            f"out is {str(path)!r}: a name in .png, or in another one of "
            f"{', '.join(known)}, is needed"
        )
    content = io.BytesIO()
    figure.savefig(content, dpi=150, format=kind)
    plt.close(figure)
    write_bytes(path, content.getvalue())
