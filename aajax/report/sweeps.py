"""The figure of a sweep: learning curves of every setting, and heat maps of all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure, SubFigure  # noqa: E402

from aajax.report.figures import draw_band, heat_map, means, save_figure  # noqa: E402
from aajax.report.results import MEASURED, over_seeds  # noqa: E402
from aajax.report.tables import number, run_title  # noqa: E402

ROW = 4  # panels of curves beside one another
Settings = Sequence[Mapping[str, Any]]


def sweep_figure(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    summary: dict[str, Any],
    path: Path,
    unit: str = "update",
    per: str = "step",
) -> None:
    """Draws a sweep: rewards while training above, and after it below.

    Curves are means over seeds with 95 % intervals, a panel for each combination of all
    hyper-parameters but the first, whose values have colours. Those with one value are
    in the title alone. The heat maps have the
    values of the first in rows; of a sweep of one, what was measured is in columns.

    Args:
      folder: of the run.
      rows: of its metrics.
      summary: of the run.
      path: of the PNG.
      unit: what rows are of: an update, or an iteration.
      per: what rewards are of: a step, or a round.
    """
    settings = summary["settings"]
    (first, *others), fixed = _names(settings)
    columns = list(dict.fromkeys(_column(setting, others) for setting in settings))
    tables = _tables(settings, first, others, columns)
    measured = [] if others else [name for name in MEASURED if name in rows[0]]
    panels = [(name, column) for name in ("reward", *measured) for column in columns]
    lines = -(-len(panels) // ROW)
    wide = sum(map(_width, tables))
    width = max(3.2 * min(len(panels), ROW), wide, 6.0)
    values = list(dict.fromkeys(x["hyperparameters"][first] for x in settings))
    heights = 2.6 * lines + 0.3, 1.6 + 0.45 * len(values)
    figure = plt.figure(figsize=(width, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = parts
    _draw_curves(above, folder, rows, settings, panels, (unit, f"reward per {per}"))
    ratios = list(map(_width, tables))
    axes = below.subplots(1, len(tables), squeeze=False, width_ratios=ratios)[0]
    for one, (title, names, table) in zip(axes, tables, strict=True):
        text = np.vectorize(_text)(table)
        heat_map(one, table, text)
        one.set_xticks(range(len(names)), names, fontsize="small")
        one.set_yticks(range(len(values)), [number(value) for value in values])
        one.set(ylabel=first, title=title, xlabel=", ".join(others))
    title = [run_title(summary)]
    if fixed:
        title.append(_title(_column(settings[0], fixed), fixed))
    figure.suptitle("\n".join(title))
    save_figure(figure, path)


def _names(settings: Settings) -> tuple[list[str], list[str]]:
    """Names of hyper-parameters that differ among settings, and of the others.

    Where none differs all of them are in the first list.
    """
    names = list(settings[0]["hyperparameters"])
    varied = [
        name
        for name in names
        if len({number(x["hyperparameters"][name]) for x in settings}) > 1
    ]
    if not varied:
        return names, []
    return varied, [name for name in names if name not in varied]


def _width(table: tuple[str, list[str], np.ndarray]) -> float:
    """Inches of a heat map, so that its title has room."""
    title, _, numbers = table
    return max(1.6 + 0.75 * numbers.shape[1], 0.8 + 0.1 * len(title))


def _draw_curves(
    figure: Figure | SubFigure,
    folder: Path,
    rows: Sequence[dict[str, Any]],
    settings: Settings,
    panels: Sequence[tuple[str, str]],
    labels: tuple[str, str],
) -> None:
    """What was measured while training: a panel for each metric and column."""
    unit, reward = labels
    (first, *others), _ = _names(settings)
    values = list(dict.fromkeys(x["hyperparameters"][first] for x in settings))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(values)))
    width, update = min(len(panels), ROW), [row["update"] for row in rows]
    grid = figure.subplots(
        -(-len(panels) // ROW), width, sharex=True, sharey=bool(others), squeeze=False
    )
    for i, axes in enumerate(grid.flat):
        axes.set_visible(i < len(panels))
        axes.spines[["top", "right"]].set_visible(False)
    for i, (axes, (name, column)) in enumerate(zip(grid.flat, panels, strict=False)):
        for k, setting in enumerate(settings):
            if _column(setting, others) == column:
                value = setting["hyperparameters"][first]
                colour = colours[values.index(value)]
                numbers = over_seeds(folder, rows, name, k)
                draw_band(axes, update, numbers, colour, number(value))
        if others:
            axes.set_title(_title(column, others), fontsize="small")
        if i % width == 0 or not others:
            axes.set_ylabel(MEASURED.get(name, reward))
        if i >= len(panels) - width:
            axes.set_xlabel(unit)
            axes.tick_params(labelbottom=True)
    grid.flat[0].legend(title=first, fontsize="x-small", frameon=False)
    figure.suptitle("Training: means over seeds, 95 % intervals", fontsize="medium")


def _tables(
    settings: Settings, first: str, others: Sequence[str], columns: Sequence[str]
) -> list[tuple[str, list[str], np.ndarray]]:
    """Titles, names of columns, and means over seeds f64[values of first, columns]."""
    values = list(dict.fromkeys(x["hyperparameters"][first] for x in settings))
    if not others:
        return _tables_of_one(settings)
    read: dict[str, Callable[[Mapping[str, Any]], Sequence[float | None]]] = {
        "Reward with itself": lambda setting: setting["mean_reward"]
    }
    if "always_defect" in settings[0]["league"]:
        read["Reward against always-defect"] = lambda x: x["league"]["always_defect"]
    tables = []
    for title, numbers in read.items():
        table = np.full((len(values), len(columns)), np.nan)
        for setting in settings:
            row = values.index(setting["hyperparameters"][first])
            column = columns.index(_column(setting, others))
            table[row, column] = _mean(numbers(setting))
        tables.append((title, list(columns), table))
    return tables


def _tables_of_one(settings: Settings) -> list[tuple[str, list[str], np.ndarray]]:
    """Of a sweep of one hyper-parameter: rewards by co-player, answers by outcome."""
    names = ["itself", *settings[0]["league"]]
    rewards = [
        [_mean(setting["mean_reward"]), *map(_mean, setting["league"].values())]
        for setting in settings
    ]
    labels = [name.replace("_", "\n") for name in names]
    tables = [("Reward against", labels, np.array(rewards))]
    if settings[0].get("p_cooperate"):
        outcomes = list(settings[0]["p_cooperate"])
        answers = [
            [*map(_mean, setting["p_cooperate"].values())] for setting in settings
        ]
        tables.append(("P(cooperate) after", outcomes, np.array(answers)))
    return tables


def _text(number: float) -> str:
    """Two digits, and no zero with a sign."""
    return f"{round(number, 2) + 0.0:.2f}" if np.isfinite(number) else "-"


def _mean(numbers: Sequence[float | None]) -> float:
    return float(means(np.asarray([numbers], float))[0])


def _column(setting: Mapping[str, Any], names: Sequence[str]) -> str:
    return "\n".join(number(setting["hyperparameters"][name]) for name in names)


def _title(column: str, names: Sequence[str]) -> str:
    parts = zip(names, column.split("\n"), strict=True)
    return ", ".join(f"{name} {value}" for name, value in parts)
