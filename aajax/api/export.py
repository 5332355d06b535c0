"""What a run or a league left, as tidy CSV files for other programs."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aajax.api.runs import (
    LmRun,
    Run,
    SmallRun,
    check_run,
    load,
    tell_unfinished,
)
from aajax.errors import InputError
from aajax.files import check_folder, check_local, write_text
from aajax.records import read_object
from aajax.report.tables import quantities
from aajax.training.run import SUMMARY


def export(run: Run | str | Path, out: str | Path | None = None) -> list[Path]:
    """Writes CSV files, each with a line of names, and a record a line.

    Of a run metrics.csv has a record per setting, seed and logged update, and
    summary.csv, once it is finished, one per setting and seed (of a language model, one
    for each of those and per who sat opposite). Of a league league.csv has one per
    line-up and seat, with all measures of a game in words. What there is no number of
    is empty.

    Args:
      run: itself, or its folder, or that of a league.
      out: folder for the files; that of the run or league if not given.

    Returns:
      The files.

    Raises:
      InputError: if there is neither a run nor a league, or `out` cannot be written.
    """
    check_run("run", run)
    folder = run.folder if isinstance(run, Run) else Path(run)
    check_local("out", out)
    if out is not None:
        check_folder(f"out is {str(out)!r}", Path(out))
    out = folder if out is None else Path(out)
    if (folder / "league.json").exists():
        tables = {"league.csv": league_rows(read_object(folder / "league.json"))}
    elif (folder / "config.json").exists():
        found = run if isinstance(run, Run) else load(folder)
        tables = {"metrics.csv": list(found.rows())}
        tell_unfinished(folder, found.config, "has no summary.csv yet")
        if (folder / SUMMARY).exists():
            tables["summary.csv"] = list(summary_rows(found))
    else:
        raise InputError(
            f"run is {str(folder)!r}: a folder with a run or a league is needed"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_text(out / name, _csv(rows))
    return [out / name for name in tables]


def summary_rows(run: Run) -> Iterator[dict[str, Any]]:
    """A record per setting and seed: what trained policies do.

    Of a language model, one for each of those and per who sits opposite.
    """
    summary = run.summary
    if isinstance(run, LmRun) and run.config.is_population:
        yield from _member_rows(run)
    elif isinstance(run, LmRun):
        for opposite, measures in summary["measures"].items():
            yield {"seed": summary["seed"], "opposite": opposite, **measures}
    if isinstance(run, SmallRun):
        for k, setting in enumerate(summary["settings"]):
            for s, seed in enumerate(run.seeds):
                numbers = {name: x[s] for name, x in quantities(setting).items()}
                yield {"setting": k, **run.settings[k], "seed": seed, **numbers}


def _member_rows(run: LmRun) -> Iterator[dict[str, Any]]:
    """A record per setting and seed of a population, and who sat opposite."""
    for k, setting in enumerate(run.summary["settings"]):
        each = {"itself": {"reward": setting["mean_reward"], **setting["measures"]}}
        for who, reward in setting["league"].items():
            each[who] = {"reward": reward, **setting["against"][who]}
        for s, seed in enumerate(run.seeds):
            own = {"setting": k, **run.settings[k], "seed": seed}
            for who, measures in each.items():
                numbers = {name: x[s] for name, x in measures.items()}
                yield {**own, "opposite": who, **numbers}


def league_rows(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A record per line-up and seat: what who sits there earns, and among whom."""
    for number, line_up in enumerate(table["line_ups"]):
        players = line_up["players"]
        for seat, player in enumerate(players):
            yield {
                "line_up": number,
                "seat": seat,
                "player": player,
                **{f"seat_{i}": name for i, name in enumerate(players)},
                "reward": line_up["reward"][seat],
                "interval": line_up["interval"][seat],
                **{
                    name: each["seats"][seat][0]
                    for name, each in line_up.get("measures", {}).items()
                    if name != "reward"
                },
            }


def _csv(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(x) for name, x in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Nothing for what is no number."""
    return "" if value is None or value != value else value
