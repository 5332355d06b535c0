"""Reads and checks the files of a run's folder, for figures."""

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from aajax import records, schema
from aajax.errors import InputError
from aajax.schema import Formerly, Items, check

_log = logging.getLogger(__name__)

MEASURED = {  # of play, where metrics have them: a panel each
    "apples": "apples per agent",
    "sustainability": "mean step at which an apple is eaten",
    "zaps": "zaps per agent",
}
Numbers = tuple[float | None, ...]  # over seeds; None of those that diverged


@dataclasses.dataclass(frozen=True)
class Setting:
    """The keys of one setting of a sweep in summary.json that figures need."""

    hyperparameters: Annotated[dict[str, float | str], Formerly("knobs")]
    mean_reward: Numbers
    measures: dict[str, Numbers]
    league: dict[str, Numbers]
    p_cooperate: dict[str, Numbers] | None = None
    against: dict[str, dict[str, Numbers]] | None = None

    __post_init__ = check

    def check_relations(self):
        names = "measures", "league", "p_cooperate"
        groups = {name: getattr(self, name) or {} for name in names}
        for who, measures in (self.against or {}).items():
            groups[f"against.{who}"] = measures
        for group, measures in groups.items():
            for name, numbers in measures.items():
                if len(numbers) != len(self.mean_reward):
                    raise InputError(
                        f"{group}.{name} is {schema.shown(numbers)}: a number for each "
                        f"of the {len(self.mean_reward)} seeds is needed"
                    )


@dataclasses.dataclass(frozen=True)
class Measured:
    """The keys of summary.json of one adapter of a language model that tables need."""

    preset: str
    seed: int
    measures: dict[str, dict[str, float | None]]
    training: dict[str, float | None]

    __post_init__ = check


@dataclasses.dataclass(frozen=True)
class Summary:
    """The keys of summary.json that figures need."""

    preset: str
    settings: Annotated[tuple[Setting, ...], Items(1)]

    __post_init__ = check


def read_measured(folder: Path) -> dict[str, Any]:
    """The summary of a run of one adapter; errors are those of `read_summary`."""
    path = folder / "summary.json"
    record = records.read_object(path, nan_is_null=True)
    with schema.within(f"file is {path}: "):
        schema.build(Measured, record, others=True)
    return record


def read_summary(folder: Path, lanes: tuple[int, int] | None = None) -> dict[str, Any]:
    """The summary of a run of small policies, or of a population.

    Args:
      folder: of the run.
      lanes: how many settings and seeds it has, if they are at hand.

    Raises:
      InputError: if it is none.
      OSError: if it cannot be read.
    """
    path = folder / "summary.json"
    record = records.read_object(path, nan_is_null=True)
    with schema.within(f"file is {path}: "):
        found = schema.build(Summary, record, others=True)
        sizes = [len(setting.mean_reward) for setting in found.settings]
        if lanes is not None and sizes != [lanes[1]] * lanes[0]:
            raise InputError(
                f"settings has {sizes} seeds: {lanes[0]} settings with {lanes[1]} "
                "seeds each are needed, as in config.json"
            )
    for setting in record["settings"]:
        if "knobs" in setting:  # as earlier versions call them
            setting["hyperparameters"] = setting.pop("knobs")
    return record


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All rows of a run's metrics, one at least.

    Raises:
      InputError: if there is none, one that does not say of which update it is, or one
        that is not of a later update than the one before.
      OSError: if the file cannot be read.
    """
    path = folder / "metrics.jsonl"
    rows = records.read_rows(path)
    if not rows:
        raise InputError(f"file is {path}: at least one row of metrics is needed")
    for number, row in enumerate(rows, start=1):
        if type(row.get("update")) is not int:
            raise InputError(
                f"file is {path}: update of line {number} is "
                f"{schema.shown(row.get('update'))}: a whole number is needed"
            )
    for number, (before, row) in enumerate(itertools.pairwise(rows), start=2):
        if row["update"] <= before["update"]:
            raise InputError(
                f"file is {path}: update of line {number} is {row['update']}: more "
                f"than the {before['update']} of the line before is needed"
            )
    return rows


def tell_missing(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Logs which rows of a run's metrics are missing.

    They are missing between others, or at the end of a finished run. One that was
    extended may have fewer rows from there.

    Args:
      folder: of the run.
      rows: those that are there; see `read_metrics`.
    """
    updates = [row["update"] for row in rows]
    gaps = np.diff([0, *updates])
    beside = np.maximum(gaps[:-2], gaps[2:])
    missing = [
        (updates[i] + 1, updates[i + 1] - 1)
        for i in np.flatnonzero(gaps[1:-1] >= 2 * beside)
    ]
    if (folder / "summary.json").exists() and (folder / "config.json").exists():
        config = records.read_object(folder / "config.json")
        length = config.get("num_updates", config.get("num_iterations"))
        if isinstance(length, int) and length - updates[-1] >= max(gaps):
            missing.append((updates[-1] + 1, length))
    for first, last in missing:
        _log.warning(
            "file is %s: rows of updates %d to %d are missing",
            *(folder / "metrics.jsonl", first, last),
        )


def over_seeds(
    folder: Path, rows: Sequence[dict[str, Any]], name: str, setting: int
) -> np.ndarray:
    """A metric of one setting, f64[rows, seeds], NaN where a seed has diverged.

    Raises:
      InputError: if rows do not have it.
    """
    try:
        found = np.asarray([row[name][setting] for row in rows], float)
        if found.ndim == 2:
            return found
    except (KeyError, IndexError, TypeError, ValueError):
        pass
    raise InputError(
        f"file is {folder / 'metrics.jsonl'}: {name} of every row is needed as a list "
        f"over settings, of which number {setting} is a list over as many seeds"
    )


def over_rows(folder: Path, rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """A metric that is one number, f64[rows], NaN in rows that do not have it.

    Raises:
      InputError: if it is something else.
    """
    numbers = [row.get(name) for row in rows]
    for number, x in enumerate(numbers, start=1):
        if x is not None and (isinstance(x, bool) or not isinstance(x, int | float)):
            raise InputError(
                f"file is {folder / 'metrics.jsonl'}: {name} of line {number} is "
                f"{schema.shown(x)}: a number, or null, is needed"
            )
    return np.array(numbers, float)
