"""Every claim of the leaderboard: trained, measured, and held against the table.

Trains what is not in its folder yet (a run that was stopped goes on), on seeds that no
setting was chosen on, and prints of each claim what README.md says and what was found:
the mean ± the half-width of its 95 % interval (Student's t over seeds), and the
interquartile mean with its 95 % bootstrap interval. `--list` says what would be trained
and how long it takes, and trains nothing; `--write` changes the table.
"""

import dataclasses
import re
import subprocess
import time
from pathlib import Path
from typing import Annotated

from cells import mean, text
from claims import RUNS, TABLE, Numbers, Read
from rich.console import Console

import aajax
from aajax import cli
from aajax.errors import InputError
from aajax.report.statistics import interquartile_mean
from aajax.schema import Items

HERE = Path(__file__).parent
BOARD = HERE / "README.md"
QUICK_MINUTES = 7  # what --quick leaves out takes longer
# Columns of the table after a claim's name.
COLUMNS = "command", "ours", "middle", "published", "seeds", "rule", "commit"


@dataclasses.dataclass(frozen=True)
class Config:
    """What is trained, and where it is kept."""

    quick: bool = False  # what takes minutes; the default
    full: bool = False  # all, which takes hours
    only: Annotated[
        tuple[str, ...], Items(distinct=True)
    ] = ()  # these runs, such as ipd and coin
    list: bool = False  # train nothing, and say what would be
    write: bool = False  # what was found into the table
    out: Path = Path("runs/experiments")


def chosen(config: Config) -> list[str]:
    """Names of the runs that are asked for."""
    if config.quick + config.full + bool(config.only) > 1:
        raise InputError("quick, full and only are given together: one is needed")
    unknown = [name for name in config.only if name not in RUNS]
    if unknown:
        raise InputError(
            f"only has {unknown[0]!r}: some of {', '.join(RUNS)} are needed"
        )
    if config.only:
        return list(config.only)
    if config.full:
        return list(RUNS)
    return [name for name, run in RUNS.items() if run.minutes <= QUICK_MINUTES]


def commit() -> str:
    """Of the tree that this file is in, with a star if it was changed since."""

    def git(*words: str) -> str:
        found = subprocess.run(
            ["git", "-C", HERE, *words], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../aajax")
        return git("rev-parse", "--short=7", "HEAD") + ("*" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def trained(name: str, out: Path) -> tuple[aajax.Run, str]:
    """The finished run, and the commit at which it was begun."""
    note = out / f"{name}.commit"
    if not (out / name / "config.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(commit())
    run = RUNS[name].run(out / name)
    return run, note.read_text() if note.exists() else "unknown"


def middle(numbers: Numbers, digits: int) -> str:
    """The interquartile mean, with its 95 % bootstrap interval."""
    value, low, high = (text(x, digits) for x in interquartile_mean([numbers]))
    return value if low == high == value else f"{value} [{low}, {high}]"


def measured(run: aajax.Run, read: Read, digits: int) -> dict[str, str]:
    """What the table says of a claim, by column."""
    numbers = read(run)
    return {
        "ours": ", ".join(mean(x, digits) for x in numbers),
        "middle": ", ".join(middle(x, digits) for x in numbers),
        "seeds": f"{run.seeds[0]}–{run.seeds[-1]}",
        "rule": "held out",
    }


class Board:
    """The table of claims in README.md."""

    def __init__(self) -> None:
        self.text = BOARD.read_text(encoding="utf-8")

    def _line(self, name: str) -> str:
        found = re.findall(rf"(?m)^\| {re.escape(name)} \|.*$", self.text)
        if len(found) != 1:
            raise InputError(
                f"{BOARD} has {len(found)} rows called {name!r}: one is needed"
            )
        return found[0]

    def row(self, name: str) -> dict[str, str]:
        """Cells of a claim, by column."""
        cells = self._line(name).strip("|").split("|")[1:]
        return dict(zip(COLUMNS, (cell.strip() for cell in cells), strict=True))

    def change(self, name: str, cells: dict[str, str]) -> None:
        """Other cells of a claim."""
        whole = self.row(name) | cells
        line = f"| {' | '.join([name, *(whole[x] for x in COLUMNS)])} |"
        self.text = self.text.replace(self._line(name), re.sub(" +", " ", line))


def main(config: Config) -> None:
    """Trains, measures, and says what would change."""
    names, board = chosen(config), Board()
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    if config.list:
        for name in names:
            there = (config.out / name / "summary.json").exists()
            state = "is there" if there else f"{RUNS[name].minutes:g} min"
            console.print(f"{name}: {state}")
        minutes = sum(
            RUNS[name].minutes
            for name in names
            if not (config.out / name / "summary.json").exists()
        )
        console.print(f"{minutes:.0f} minutes of training on two cores")
        return
    began, changed, count = time.monotonic(), 0, 0
    for name in names:
        run, at = trained(name, config.out)
        for claim, read, digits in TABLE[name]:
            old = board.row(claim)
            new = measured(run, read, digits) | {"commit": f"`{at}`"}
            same = all(old[x] == new[x] for x in ("ours", "middle", "seeds"))
            changed, count = changed + (not same), count + 1
            console.print(f"{claim}: {new['ours']}, interquartile mean {new['middle']}")
            if not same:
                console.print(f"    the table has {old['ours']}, seeds {old['seeds']}")
                board.change(claim, new)
                if config.write:
                    BOARD.write_text(board.text, encoding="utf-8")
    minutes = (time.monotonic() - began) / 60
    done = "changed" if config.write else "would change, with --write"
    console.print(f"{count} claims in {minutes:.0f} minutes: {changed} {done}")


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
