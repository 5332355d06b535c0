"""Figures and tables of language models' training runs, from their files."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from aajax.errors import InputError  # noqa: E402
from aajax.report.curves import save_figure  # noqa: E402
from aajax.report.results import over_rows, read_metrics  # noqa: E402
from aajax.report.tables import OTHERS  # noqa: E402

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


def lm_figure(folder: Path, path: Path, title: str | None = None) -> None:
    """Draws the measures of a run over its iterations.

    A measure may be missing in some or all iterations, such as those of self-play when
    every match was against another player.

    Args:
      folder: of a run, with metrics.jsonl.
      path: of the PNG.
      title: above all panels, if any.

    Raises:
      InputError: if there is nothing to draw.
    """
    rows = read_metrics(folder)
    known = {name for row in rows for name, x in row.items() if x is not None}
    shown = [name for name in PANELS if known & {name, name + OTHERS}]
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
            numbers = over_rows(folder, rows, key)
            if np.isnan(numbers).all():
                continue
            axes.plot(update, numbers, color=colour, alpha=0.25, linewidth=0.8)
            smooth = _smoothed(numbers)
            # Of a point without a neighbour a line shows nothing.
            marker = "o" if np.isfinite(smooth).sum() == 1 else None
            axes.plot(
                update, smooth, color=colour, linewidth=2, label=label, marker=marker
            )
        axes.set(xlabel="iteration", title=name.replace("_", " "), ylabel=PANELS[name])
        axes.spines[["top", "right"]].set_visible(False)
        labels = axes.get_legend_handles_labels()[1]
        if name == shown[0] and labels != ["with itself"]:
            axes.legend(fontsize="small", frameon=False)
    if title is not None:
        figure.suptitle(title)
    save_figure(figure, path)


def _smoothed(numbers: np.ndarray) -> np.ndarray:
    """Means of up to SMOOTHED numbers before each, itself included."""
    return np.array(
        [
            np.nanmean(window) if not np.isnan(window).all() else np.nan
            for window in (
                numbers[max(0, i + 1 - SMOOTHED) : i + 1] for i in range(len(numbers))
            )
        ]
    )
