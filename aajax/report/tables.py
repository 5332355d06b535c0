"""Tables for the terminal, from summaries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from aajax.report.widths import FirstToFit, WideTable

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


def counted(number: int, noun: str) -> str:
    """1 seed, 2 seeds."""
    return f"{number} {noun}" + "s" * (number != 1)


def known(numbers: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Those that are numbers, f64[...]; of seeds that diverged there are none."""
    found = np.asarray(numbers, float)
    return found[np.isfinite(found)]


def played(record: dict) -> str:
    """The game of a run's summary or of a league, and whose payoffs if somebody's own.

    Args:
      record: with `game`, and `payoff` where it has its own.
    """
    payoff = record.get("payoff")
    if payoff is None:
        return record["game"]
    is_file = Path(payoff).suffix in (".json", ".npy")
    return f"payoff {Path(payoff).name}" if is_file else "own payoffs"


def run_title(summary: dict) -> str:
    """What a run is called: its preset, and the game if it is not the preset's own."""
    preset, game = summary["preset"], played(summary | {"game": summary.get("game")})
    own = preset.removeprefix("lm-")
    if game is None or own == game or own.startswith(f"{game}-"):
        return preset
    return f"{game} (settings of {preset})"


def summary_table(summary: dict) -> Table | WideTable:
    """One row per quantity with its spread over seeds; of a sweep, one per setting."""
    settings = summary["settings"]
    if len(settings) == 1:
        return _seeds_table(summary, settings[0])
    return _settings_table(summary, settings)


def measures_table(summary: dict) -> WideTable:
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
    rows = []
    for row in dict.fromkeys(name for each in measures.values() for name in each):
        numbers = [each.get(row) for each in measures.values()]
        if any(x is not None for x in numbers):
            cells = ["" if x is None else f"{x:.3f}" for x in numbers]
            rows.append([row.replace("_", " "), *cells])
    title = f"{run_title(summary)}, seed {summary['seed']}, after training"
    return WideTable(title, [""], [_spaced(name) for name in measures], rows)


def league_table(table: dict) -> FirstToFit:
    """What each seat of each line-up earns.

    One row per line-up, or where that is too wide one per seat.
    """
    seats = _seats_of(table)
    per, over = table.get("per", "step"), table.get("over", "seeds")
    title = f"{played(table)}: reward per {per}, with 95 % intervals over {over}"
    wide, narrow = Table(), Table()
    for heading, _ in seats:
        wide.add_column(heading, no_wrap=True)
    for _, short in seats:
        wide.add_column(f"reward {short}", justify="right", no_wrap=True)
    narrow.add_column("seat")
    narrow.add_column("player", overflow="fold")
    narrow.add_column("reward", justify="right", no_wrap=True)
    for line_up in table["line_ups"]:
        rewards = zip(line_up["reward"], line_up["interval"], strict=True)
        cells = [with_interval(*each) for each in rewards]
        wide.add_row(*line_up["players"], *cells)
        rows = zip(seats, line_up["players"], cells, strict=True)
        for (_, short), player, cell in rows:
            narrow.add_row(short, player, cell)
        narrow.add_section()
    return FirstToFit(title, (wide, narrow))


def _seats_of(table: dict) -> list[tuple[str, str]]:
    """Headings of a line-up's entries, and the same in short."""
    entries = len(table["line_ups"][0]["players"])
    if table.get("num_seats", entries) == entries:
        return [(f"seat {seat}", str(seat)) for seat in range(entries)]
    return [("one seat", "of one"), ("all other seats", "of others")]


def with_interval(number: float | None, interval: float | None) -> str:
    """A mean and the half-width of its interval, as far as there are any."""
    spread = "" if interval is None else f" ± {interval:.3f}"
    return ("-" if number is None else f"{number:.3f}") + spread


def quantities(setting: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Every quantity of a setting in a summary, name → one number per seed."""
    return {
        "reward with itself": setting["mean_reward"],
        **setting["measures"],
        **{f"reward against {who}": x for who, x in setting["league"].items()},
    }


def _seeds_table(summary: dict, setting: dict) -> Table:
    num_seeds = len(summary["seeds"])
    lost = len(summary.get("diverged", ()))
    seeds = f"{num_seeds - lost} of " * bool(lost) + counted(num_seeds, "seed")
    result = Table(title=f"{run_title(summary)}: {seeds}, after training")
    result.add_column("", overflow="fold")
    for name in ("mean", "sd", "min", "max"):
        result.add_column(name, justify="right", no_wrap=True)
    for name, numbers in quantities(setting).items():
        there = known(numbers)
        if not there.size:
            result.add_row(name, *"----")
            continue
        spread = f"{there.std(ddof=1):.3f}" if there.size > 1 else "-"
        mean, low, high = (f"{x:.3f}" for x in (there.mean(), there.min(), there.max()))
        result.add_row(name, mean, spread, low, high)
    return result


def _settings_table(summary: dict, settings: list[dict]) -> WideTable:
    num_seeds = len(summary["seeds"])
    rows = []
    for setting in settings:
        varied = [number(x) for x in setting["hyperparameters"].values()]
        there = [known(x) for x in quantities(setting).values()]
        means = [f"{x.mean():.2f}" if x.size else "-" for x in there]
        rows.append([*varied, *means])
    return WideTable(
        f"{run_title(summary)}: means over {counted(num_seeds, 'seed')}"
        + " but those that diverged" * ("diverged" in summary),
        [_spaced(name) for name in settings[0]["hyperparameters"]],
        [
            _spaced(name.removeprefix("reward ") if " against " in name else name)
            for name in quantities(settings[0])
        ],
        rows,
        numeric=True,
    )


def _spaced(name: str) -> str:
    """A heading, which is broken at its spaces."""
    return name.replace(" | ", "|").replace("_", " ")
