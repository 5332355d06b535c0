"""Figures and tables of language models' training runs, from their files."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

OTHERS = "_against_others"
PANELS = {  # names in metrics.jsonl → what an axis says
    "reward": "points per round",
    "cooperation": "share of rounds that cooperate",
    "proposal_where_higher": "asked of what is worth more",
    "proposal_where_lower": "asked of what is worth less",
    "honest_messages": "share of true messages",
    "entropy": "nats per token",
}
SMOOTHED = 10  # iterations


def lm_figure(folder: Path, path: Path) -> None:
    """Draws what a run measured while it learned.

    Args:
      folder: of a run, with metrics.jsonl.
      path: of the PNG.
    """
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    shown = [name for name in PANELS if any(row.get(name) is not None for row in rows)]
    figure, panels = plt.subplots(
        1, len(shown), figsize=(4 * len(shown), 3.4), layout="constrained"
    )
    update = np.array([row["update"] for row in rows])
    for name, axes in zip(shown, np.atleast_1d(panels), strict=True):
        series = {name: "with itself", name + OTHERS: "with others"}
        for (key, label), colour in zip(series.items(), ("C0", "C1"), strict=True):
            numbers = np.array([row.get(key) for row in rows], float)
            if np.isnan(numbers).all():
                continue
            axes.plot(update, numbers, color=colour, alpha=0.25, linewidth=0.8)
            smooth = _smoothed(numbers)
            axes.plot(update, smooth, color=colour, linewidth=2, label=label)
        axes.set(xlabel="iteration", title=name.replace("_", " "), ylabel=PANELS[name])
        axes.spines[["top", "right"]].set_visible(False)
        if name == shown[0] and len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


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
