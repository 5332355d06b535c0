"""Figures of a training run, from its files."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from aajax.errors import InputError  # noqa: E402
from aajax.files import write_bytes  # noqa: E402
from aajax.report.results import over_seeds, read_metrics, read_summary  # noqa: E402
from aajax.report.tables import (  # noqa: E402
    known,
    number,
    played,
    run_title,
    setting_label,
)

MAX_SETTINGS = 8  # beyond it a legend cannot be read
MEASURED = {  # of play, where metrics have them: a panel each
    "apples": "apples per agent",
    "sustainability": "mean step at which an apple is eaten",
    "zaps": "zaps per agent",
}


def training_figure(folder: Path, path: Path) -> None:
    """Draws learning curves, and how the trained policies answer each outcome.

    Args:
      folder: of a run, with metrics.jsonl and summary.json.
      path: of the PNG.

    Raises:
      InputError: if they are no such files.
    """
    rows, summary = read_metrics(folder), read_summary(folder)
    if len(summary["settings"][0]["hyperparameters"]) > 1:
        _sweep_heat_map(summary, path)
        return
    settings = summary["settings"][:MAX_SETTINGS]
    measured = {name: text for name, text in MEASURED.items() if name in rows[0]}
    figure, (left, right, *below) = _panels(len(measured))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.8, len(settings)))
    update = [row["update"] for row in rows]
    curves = dict(zip(("reward", *measured), (left, *below), strict=True))
    for i, (setting, colour) in enumerate(zip(settings, colours, strict=True)):
        label = setting_label(setting["hyperparameters"]) or run_title(summary)
        for name, axes in curves.items():
            numbers = over_seeds(folder, rows, name, i)
            axes.plot(update, numbers, color=colour, alpha=0.25, linewidth=0.8)
            mean = _means(numbers)
            axes.plot(update, mean, color=colour, linewidth=2, label=label)
        _bars(right, setting, i, len(settings), colour)
    for name, axes in zip(measured, below, strict=True):
        axes.set(xlabel="update", ylabel=measured[name])
    left.set(
        xlabel="update",
        ylabel="reward per step and agent",
        title="Training, exploration included: seeds and their mean",
    )
    if len(settings) > 1:
        left.legend(fontsize="small", frameon=False)
    right.set(title="After training, without exploration: mean and seeds")
    if "p_cooperate" in settings[0]:
        right.set(
            ylim=(-0.02, 1.02),
            xlabel="last outcome, own action first",
            ylabel=next(iter(settings[0]["measures"])).replace("start", "outcome"),
        )
    else:
        right.set(xlabel="co-player", ylabel="reward per step")
    for axes in (left, right, *below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(run_title(summary))
    save_figure(figure, path)


def compared_figure(runs: dict[str, Path], path: Path) -> None:
    """Draws what runs measured in play while they learned, a panel for each measure.

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
            mean = _means(numbers)
            axes.plot(update, mean, color=f"C{i}", linewidth=2, label=label)
        axes.set(xlabel="update", ylabel=text, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize="small", frameon=False)
    save_figure(figure, path)


def _means(rows: np.ndarray) -> np.ndarray:
    """Of each row, over those numbers that there are; NaN where there is none."""
    return np.array([x.mean() if x.size else np.nan for x in map(known, rows)])


def _panels(num_below: int) -> tuple[Figure, list[Axes]]:
    """Two panels side by side, and so many in a row below them."""
    size = 11, 7.5 if num_below else 4
    figure = plt.figure(figsize=size, layout="constrained")
    if not num_below:
        return figure, list(figure.subplots(1, 2))
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, 3.5))
    above, below = parts
    return figure, [*above.subplots(1, 2), *np.atleast_1d(below.subplots(1, num_below))]


def _sweep_heat_map(summary: dict, path: Path) -> None:
    """The first setting against all others: reward with itself, and defectors."""
    settings = summary["settings"]
    first, *others = settings[0]["hyperparameters"]
    rows = list(
        dict.fromkeys(setting["hyperparameters"][first] for setting in settings)
    )
    columns = list(dict.fromkeys(_column(setting, others) for setting in settings))
    panels: dict[str, Callable[[dict], list]] = {
        "with itself": lambda setting: setting["mean_reward"]
    }
    if "always_defect" in settings[0]["league"]:
        panels["against always-defect"] = lambda s: s["league"]["always_defect"]
    size = 1.6 + 0.75 * len(columns), 2.2 + 0.55 * len(rows)
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(len(panels) * size[0], size[1]),
        layout="constrained",
        squeeze=False,
    )
    for one, (title, read) in zip(axes[0], panels.items(), strict=True):
        means = np.full((len(rows), len(columns)), np.nan)
        for setting in settings:
            place = (
                rows.index(setting["hyperparameters"][first]),
                _column(setting, others),
            )
            mean = _means(np.asarray([read(setting)], float))
            means[place[0], columns.index(place[1])] = mean[0]
        text = np.vectorize(lambda x: f"{x:.2f}" if np.isfinite(x) else "-")(means)
        _heat_map(one, means, text)
        one.set_xticks(range(len(columns)), columns, fontsize="small")
        one.set_yticks(range(len(rows)), [number(row) for row in rows])
        one.set(ylabel=first, title=f"Reward {title}", xlabel=", ".join(others))
    figure.suptitle(run_title(summary))
    save_figure(figure, path)


def _column(setting: dict, names: list[str]) -> str:
    return "\n".join(number(setting["hyperparameters"][name]) for name in names)


def _heat_map(axes, numbers: np.ndarray, text: np.ndarray):
    image = axes.imshow(numbers, cmap="viridis", aspect="auto")
    there = known(numbers)
    middle = (there.min() + there.max()) / 2 if there.size else 0.0
    for (row, column), label in np.ndenumerate(text):
        colour = "white" if numbers[row, column] < middle else "black"
        axes.text(
            column, row, label, ha="center", va="center", color=colour, fontsize=8
        )
    return image


def league_figure(table: dict, path: Path) -> None:
    """Draws the heat map of a two-player league: the row player's reward.

    Args:
      table: as league.json holds it.
      path: of the PNG.

    Raises:
      InputError: if line-ups are not pairs.
    """
    players = table["players"]
    if any(len(line_up["players"]) != 2 for line_up in table["line_ups"]):
        raise InputError("a heat map shows two-player leagues only")
    reward = np.full((len(players), len(players)), np.nan)
    text = np.full(reward.shape, "", object)
    for line_up in table["line_ups"]:
        row, column = (players.index(name) for name in line_up["players"])
        if line_up["reward"][0] is None:
            continue
        reward[row, column] = line_up["reward"][0]
        interval = line_up["interval"][0]
        spread = "" if interval is None else f"\n±{interval:.2f}"
        text[row, column] = f"{round(float(reward[row, column]), 2) + 0.0:.2f}{spread}"
    size = 2.2 + 0.75 * len(players)
    figure, axes = plt.subplots(figsize=(size + 1, size), layout="constrained")
    image = _heat_map(axes, reward, text)
    names = [name.replace("_", " ") for name in players]
    axes.set_xticks(range(len(players)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(players)), names)
    per = table.get("per", "step")
    title = f"{played(table)}: reward per {per} of the row player, 95 % interval"
    axes.set(xlabel="against", title=title)
    figure.colorbar(image, shrink=0.8)
    save_figure(figure, path)


def _bars(axes, setting: dict, i: int, num_settings: int, colour) -> None:
    answers = setting.get("p_cooperate")
    if answers is None:
        answers = {"itself": setting["mean_reward"], **setting["league"]}
    width = 0.8 / num_settings
    x = np.arange(len(answers)) + (i - (num_settings - 1) / 2) * width
    seeds = np.asarray(list(answers.values()), float)  # [outcomes, seeds]
    axes.bar(x, _means(seeds), width, color=colour, alpha=0.55)
    jitter = np.linspace(-0.3, 0.3, seeds.shape[1]) * width
    axes.scatter(x[:, None] + jitter, seeds, s=9, color="black", linewidths=0, zorder=3)
    names = [name.replace("_", "\n") for name in answers]
    axes.set_xticks(range(len(answers)), names)


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
