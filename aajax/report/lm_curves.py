"""Figures and tables of language models' training runs, from their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from aajax.errors import InputError  # noqa: E402
from aajax.report.figures import draw_band, save_figure  # noqa: E402
from aajax.report.results import (  # noqa: E402
    over_rows,
    over_seeds,
    read_metrics,
    read_summary,
)
from aajax.report.sweeps import sweep_figure  # noqa: E402
from aajax.report.tables import OTHERS, known, run_title  # noqa: E402

PANELS = {  # names in metrics.jsonl → what an axis says
    "reward": "points per round",
    "cooperation": "share of rounds that cooperate",
    "contribution": "share of coins that are given",
    "proposal_where_higher": "asked of what is worth more",
    "proposal_where_lower": "asked of what is worth less",
    "honest_messages": "share of true messages",
    "entropy": "nats per token",
}
SMOOTHED = 10  # iterations


def run_figure(folder: Path, path: Path, summary: dict[str, Any]) -> None:
    """Draws a finished run: measures over its iterations, or its sweep.

    Args:
      folder: of a run of a language model, with metrics.jsonl.
      path: of the PNG.
      summary: as in its summary.json.

    Raises:
      InputError: if there is nothing to draw, or a file is of another kind.
    """
    if len(summary.get("settings", ())) > 1:
        rows, checked = read_metrics(folder), read_summary(folder)
        sweep_figure(folder, rows, checked, path, unit="iteration", per="round")
        return
    lm_figure(folder, path, run_title(summary) if "preset" in summary else None)


def lm_figure(folder: Path, path: Path, title: str | None = None) -> None:
    """Draws the measures of a run over its iterations.

    A measure may be missing in some or all iterations, such as those of self-play when
    every match was against another player. Of several seeds the mean is drawn, with its
    95 % interval.

    Args:
      folder: of a run of one setting, with metrics.jsonl.
      path: of the PNG.
      title: above all panels, if any.

    Raises:
      InputError: if there is nothing to draw.
    """
    rows = read_metrics(folder)
    there = {name for row in rows for name, x in row.items() if x is not None}
    shown = [name for name in PANELS if there & {name, name + OTHERS}]
    if not shown:
        raise InputError(
            f"folder is {str(folder)!r}: metrics.jsonl with at least one of "
            f"{', '.join(PANELS)} is needed"
        )
    figure, panels = plt.subplots(
        1, len(shown), figsize=(4 * len(shown), 3.4), layout="constrained"
    )
    update = np.array([row["update"] for row in rows])
    for name, axes in zip(shown, np.atleast_1d(panels), strict=True):
        series = {name: "with itself", name + OTHERS: "with others"}
        for (key, label), colour in zip(series.items(), ("C0", "C1"), strict=True):
            numbers = _series(folder, rows, key)
            if not np.isnan(numbers).all():
                _draw(axes, update, numbers, colour, label)
        axes.set(xlabel="iteration", title=name.replace("_", " "), ylabel=PANELS[name])
        axes.spines[["top", "right"]].set_visible(False)
        labels = axes.get_legend_handles_labels()[1]
        if name == shown[0] and labels != ["with itself"]:
            axes.legend(fontsize="small", frameon=False)
    if title is not None:
        figure.suptitle(title)
    save_figure(figure, path)


def _series(folder: Path, rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """A metric, f64[rows, seeds], NaN where there is no number."""
    found = [row.get(name) for row in rows]
    if not any(isinstance(x, list) for x in found):
        return over_rows(folder, rows, name)[:, None]
    tables = [x for x in found if isinstance(x, list) and x]
    sizes = [len(x[0]) for x in tables if isinstance(x[0], list)]
    missing = [[None] * max(sizes, default=1)]
    filled = [{name: missing if x is None else x} for x in found]
    return over_seeds(folder, filled, name, 0)


def _draw(
    axes: Axes, update: np.ndarray, numbers: np.ndarray, colour: str, label: str
) -> None:
    """Every iteration faintly, and a smooth line; of several seeds their mean."""
    if numbers.shape[1] > 1:
        draw_band(axes, update.tolist(), _smoothed(numbers), colour, label)
        return
    axes.plot(update, numbers[:, 0], color=colour, alpha=0.25, linewidth=0.8)
    smooth = _smoothed(numbers)[:, 0]
    # Of a point without a neighbour a line shows nothing.
    marker = "o" if np.isfinite(smooth).sum() == 1 else None
    axes.plot(update, smooth, color=colour, linewidth=2, label=label, marker=marker)


def _smoothed(numbers: np.ndarray) -> np.ndarray:
    """Means of up to SMOOTHED numbers before each, itself included, by column."""
    found = np.full(numbers.shape, np.nan)
    for i, column in np.ndindex(*numbers.shape):
        window = known(numbers[max(0, i + 1 - SMOOTHED) : i + 1, column])
        if window.size:
            found[i, column] = window.mean()
    return found
