"""Tables for the terminal, from summaries."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table

OTHERS = "_against_others"  # ends names of measures: past selves, guests


def setting_label(hyperparameters: dict[str, float | str]) -> str:
    """The hyper-parameters of one setting of a sweep: beta=1, past=mean."""
    return ", ".join(f"{name}={number(x)}" for name, x in hyperparameters.items())


def number(x: float | str) -> str:
    """A float32 with as many digits as tell it from all others, or a name."""
    if isinstance(x, str):
        return x
    short = f"{x:g}"
    return short if np.float32(short) == np.float32(x) else str(np.float32(x))


def known(numbers: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Those that are numbers, f64[...]; of seeds that diverged there are none."""
    found = np.asarray(numbers, float)
    return found[np.isfinite(found)]


def summary_table(summary: dict) -> Table:
    """One row per quantity with its spread over seeds; of a sweep, one per setting."""
    settings = summary["settings"]
    if len(settings) == 1:
        return _seeds_table(summary, settings[0])
    return _settings_table(summary, settings)


def measures_table(summary: dict) -> Table:
    """What a language model did after training: one row per measure, one column for
    each who sat opposite, and one for past selves and guests late in training."""
    measures = dict(summary["measures"])
    against = {
        name.removesuffix(OTHERS): x
        for name, x in summary["training"].items()
        if name.endswith(OTHERS)
    }
    if against:
        measures["others, in training"] = against
    result = Table(title=f"{summary['preset']}, seed {summary['seed']}, after training")
    result.add_column("")
    for name in measures:
        result.add_column(name.replace("_", " "), justify="right")
    rows = dict.fromkeys(name for each in measures.values() for name in each)
    for row in rows:
        numbers = [each.get(row) for each in measures.values()]
        if any(x is not None for x in numbers):
            cells = ["" if x is None else f"{x:.3f}" for x in numbers]
            result.add_row(row.replace("_", " "), *cells)
    return result


def league_table(table: dict) -> Table:
    """One row per line-up: who sits where, and what each seat earns."""
    num_agents = len(table["line_ups"][0]["players"])
    per, over = table.get("per", "step"), table.get("over", "seeds")
    result = Table(title=f"Reward per {per}, with 95 % intervals over {over}")
    for seat in range(num_agents):
        result.add_column(f"seat {seat}")
    for seat in range(num_agents):
        result.add_column(f"reward {seat}", justify="right")
    for line_up in table["line_ups"]:
        rewards = zip(line_up["reward"], line_up["interval"], strict=True)
        cells = [
            ("-" if reward is None else f"{reward:.3f}")
            + ("" if interval is None else f" ± {interval:.3f}")
            for reward, interval in rewards
        ]
        result.add_row(*line_up["players"], *cells)
    return result


def _quantities(setting: dict) -> dict[str, list[float]]:
    """Every quantity of a setting, name -> one number per seed."""
    return {
        "reward with itself": setting["mean_reward"],
        **setting["measures"],
        **{f"reward against {k}": x for k, x in setting["league"].items()},
    }


def _seeds_table(summary: dict, setting: dict) -> Table:
    num_seeds = len(summary["seeds"])
    lost = len(summary.get("diverged", ()))
    seeds = f"{num_seeds - lost} of {num_seeds}" if lost else str(num_seeds)
    result = Table(title=f"{summary['preset']}: {seeds} seeds, after training")
    result.add_column("")
    for name in ("mean", "sd", "min", "max"):
        result.add_column(name, justify="right")
    for name, numbers in _quantities(setting).items():
        there = known(numbers)
        if not there.size:
            result.add_row(name, *"----")
            continue
        spread = there.std(ddof=1) if there.size > 1 else 0.0
        cells = there.mean(), spread, there.min(), there.max()
        result.add_row(name, *(f"{cell:.3f}" for cell in cells))
    return result


def _settings_table(summary: dict, settings: list[dict]) -> Table:
    num_seeds = len(summary["seeds"])
    result = Table(
        title=f"{summary['preset']}: means over {num_seeds} seeds"
        + " but those that diverged" * ("diverged" in summary),
        box=box.SIMPLE_HEAD,
    )
    for name in (*settings[0]["hyperparameters"], *_quantities(settings[0])):
        result.add_column(name.replace("_", " "), justify="right")
    for setting in settings:
        hyperparameters = [number(x) for x in setting["hyperparameters"].values()]
        there = [known(x) for x in _quantities(setting).values()]
        means = [f"{x.mean():.2f}" if x.size else "-" for x in there]
        result.add_row(*hyperparameters, *means)
    return result
