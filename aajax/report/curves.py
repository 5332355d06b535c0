"""Figures of a training run, from its files."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from aajax.errors import InputError  # noqa: E402
from aajax.report.figures import heat_map, means, save_figure  # noqa: E402
from aajax.report.results import (  # noqa: E402
    MEASURED,
    over_seeds,
    read_metrics,
    read_summary,
)
from aajax.report.sweeps import sweep_figure  # noqa: E402
from aajax.report.tables import (  # noqa: E402
    played,
    run_title,
)


def training_figure(folder: Path, path: Path) -> None:
    """Draws learning curves, and the trained policies' response to each outcome.

    Args:
      folder: of a run, with metrics.jsonl and summary.json.
      path: of the PNG.

    Raises:
      InputError: if a file is missing or of another kind.
    """
    rows, summary = read_metrics(folder), read_summary(folder)
    if len(summary["settings"]) > 1:
        sweep_figure(folder, rows, summary, path)
        return
    setting = summary["settings"][0]
    measured = {name: text for name, text in MEASURED.items() if name in rows[0]}
    figure, (left, right, *below) = _panels(len(measured))
    colour = plt.get_cmap("viridis")(0.0)
    update = [row["update"] for row in rows]
    curves = dict(zip(("reward", *measured), (left, *below), strict=True))
    for name, axes in curves.items():
        numbers = over_seeds(folder, rows, name, 0)
        axes.plot(update, numbers, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(update, means(numbers), color=colour, linewidth=2)
    _bars(right, setting, colour)
    for name, axes in zip(measured, below, strict=True):
        axes.set(xlabel="update", ylabel=measured[name])
    left.set(
        xlabel="update",
        ylabel="reward per step and agent",
        title="Training, exploration included: seeds and their mean",
    )
    right.set(title="After training, without exploration: mean and seeds")
    if "p_cooperate" in setting:
        right.set(
            ylim=(-0.02, 1.02),
            xlabel="last outcome, own action first",
            ylabel=next(iter(setting["measures"])).replace("start", "outcome"),
        )
    else:
        right.set(xlabel="co-player", ylabel="reward per step")
    for axes in (left, right, *below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(run_title(summary))
    save_figure(figure, path)


def compared_figure(runs: dict[str, Path], path: Path) -> None:
    """Draws the runs' training measures, a panel for each measure.

    Args:
      runs: label → folder of a run, with metrics.jsonl; of its settings, the first.
      path: of the PNG.

    Raises:
      InputError: if a run measured nothing but rewards.
    """
    rows = {}
    for label, folder in runs.items():
        rows[label] = read_metrics(folder)
        if not MEASURED.keys() <= rows[label][0].keys():
            names = ", ".join(MEASURED)
            raise InputError(f"run is {str(folder)!r}: one that has {names} is needed")
    figure, panels = plt.subplots(
        1, len(MEASURED), figsize=(4 * len(MEASURED), 3.4), layout="constrained"
    )
    for (name, text), axes in zip(MEASURED.items(), panels, strict=True):
        for i, (label, own) in enumerate(rows.items()):
            update = [row["update"] for row in own]
            numbers = over_seeds(runs[label], own, name, 0)
            axes.plot(update, numbers, color=f"C{i}", alpha=0.25, linewidth=0.8)
            mean = means(numbers)
            axes.plot(update, mean, color=f"C{i}", linewidth=2, label=label)
        axes.set(xlabel="update", ylabel=text, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize="small", frameon=False)
    save_figure(figure, path)


def _panels(num_below: int) -> tuple[Figure, list[Axes]]:
    """Two panels side by side, and so many in a row below them."""
    size = 11, 7.5 if num_below else 4
    figure = plt.figure(figsize=size, layout="constrained")
    if not num_below:
        return figure, list(figure.subplots(1, 2))
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, 3.5))
    above, below = parts
    return figure, [*above.subplots(1, 2), *np.atleast_1d(below.subplots(1, num_below))]


def league_figure(table: dict, path: Path) -> None:
    """Draws the heat map of a league: the reward of the row player, in the first seat.

    In all other seats are copies of the column player.

    Args:
      table: as league.json holds it.
      path: of the PNG.
    """
    players = table["players"]
    reward = np.full((len(players), len(players)), np.nan)
    text = np.full(reward.shape, "", object)
    num_seats = len(table["line_ups"][0]["players"])
    for line_up in table["line_ups"]:
        one, *others = line_up["players"]
        if len(set(others)) > 1 or line_up["reward"][0] is None:
            continue
        row, column = players.index(one), players.index(others[0])
        reward[row, column] = line_up["reward"][0]
        interval = line_up["interval"][0]
        spread = "" if interval is None else f"\n±{interval:.2f}"
        text[row, column] = f"{round(float(reward[row, column]), 2) + 0.0:.2f}{spread}"
    size = 2.2 + 0.75 * len(players)
    figure, axes = plt.subplots(figsize=(size + 1, size), layout="constrained")
    image = heat_map(axes, reward, text)
    names = [name.replace("_", " ") for name in players]
    axes.set_xticks(range(len(players)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(players)), names)
    per = table.get("per", "step")
    title = f"{played(table)}: reward per {per}\nof the row player, 95 % interval"
    against = "against" if num_seats == 2 else f"against {num_seats - 1} copies of"
    axes.set(xlabel=against, title=title)
    figure.colorbar(image, shrink=0.8)
    save_figure(figure, path)


def _bars(axes: Axes, setting: dict, colour) -> None:
    answers = setting.get("p_cooperate")
    if answers is None:
        answers = {"itself": setting["mean_reward"], **setting["league"]}
    width = 0.8
    x = np.arange(len(answers))
    seeds = np.asarray(list(answers.values()), float)  # [outcomes, seeds]
    axes.bar(x, means(seeds), width, color=colour, alpha=0.55)
    jitter = np.linspace(-0.3, 0.3, seeds.shape[1]) * width
    axes.scatter(x[:, None] + jitter, seeds, s=9, color="black", linewidths=0, zorder=3)
    names = [name.replace("_", "\n") for name in answers]
    axes.set_xticks(range(len(answers)), names)
