"""Split and Trust-and-Split in words: what a second stage of training brings.

Each member of a finished population goes on from its adapter, with a new optimiser, a
higher rate than the first stage ended with, and a past of the alignment term that is
bounded; to compare with, also with one that is not (`clipped`, `discounted`). All else
is as in `lm-GAME-aa-no-buffer`, of which preset the population has to be. Prints what
the members earn before and after. What was trained already is not trained again, and
what was stopped goes on.

    aajax train lm-split-aa-no-buffer --seed 100 --seeds 5 --out runs/split
    python experiments/second_stage.py runs/split
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from cells import mean, show, text

import aajax
from aajax import cli
from aajax.errors import InputError
from aajax.report.statistics import interquartile_mean
from aajax.schema import Count, Items
from aajax.training.lm_config import LmPast

GAMES = "split", "trust-and-split"
# "shuffled": with itself, each reading messages of other matches.
OPPOSITE = "itself", "shuffled", "always_cooperate", "always_defect"
ASKED = "proposal_where_lower"


@dataclasses.dataclass(frozen=True)
class Config:
    """Which population is trained further, and how."""

    run: tyro.conf.Positional[Path]  # folder of the population
    past: Annotated[tuple[LmPast, ...], Items(1, distinct=True)] = (
        *("clipped", "discounted"),
    )
    num_iterations: Count = 30
    out: Path = Path("runs/second-stage")


def first_stage(folder: Path) -> aajax.LmRun:
    """The population; raises InputError if it is none, or of another game."""
    run = aajax.load(folder)
    if not isinstance(run, aajax.LmRun) or run.config.game not in GAMES:
        raise InputError(
            f"run is {str(folder)!r}: {' or '.join(GAMES)} in words is needed"
        )
    if run.config.algorithm != "advantage_alignment":
        raise InputError(
            f"run is {str(folder)!r}, of {run.config.algorithm}: one of Advantage "
            "Alignment is needed"
        )
    if not run.config.is_population or len(run.settings) > 1:
        raise InputError(
            f"run is {str(folder)!r}: several seeds of one setting are needed"
        )
    return run


def trained_on(config: Config, member: aajax.LmRun, past: str) -> aajax.LmRun:
    """A member after its second stage."""
    run = aajax.train(
        f"lm-{member.config.game}-aa-no-buffer",
        out=config.out / f"{past}-seed-{member.config.seed}",
        resume=True,
        progress=True,
        seed=member.config.seed,
        initial_adapter=member.folder,
        past=past,
        num_iterations=config.num_iterations,
        learning_rate=1e-3,
        final_learning_rate=1e-4,
        kl=0.005,
        final_kl=None,
    )
    assert isinstance(run, aajax.LmRun)
    return run


def row(name: str, runs: list[aajax.LmRun]) -> list[str]:
    """What they earn: of each, and over seeds."""
    found = [run.summary["measures"] for run in runs]
    own = [measures["itself"]["reward"] for measures in found]
    against = [
        mean([measures[who]["reward"] for measures in found], 1)
        if who in found[0]
        else ""
        for who in OPPOSITE
    ]
    value, low, high = (text(x, 1) for x in interquartile_mean([own]))
    asked = mean([measures["itself"][ASKED] for measures in found])
    each = ", ".join(text(x, 1) for x in own)
    return [name, each, f"{value} [{low}, {high}]", *against, asked]


def main(config: Config) -> None:
    """Trains, and prints the table."""
    run = first_stage(config.run)
    first = [run.member(seed=number) for number in range(len(run.seeds))]
    rows = [row("the first stage", first)]
    for past in config.past:
        rows.append(row(past, [trained_on(config, member, past) for member in first]))
    heads = [who.replace("_", "-") for who in OPPOSITE]
    heads[:1] = ["with itself, by seed", "interquartile mean", "with itself"]
    show(["past", *heads, "asks for where it values less"], rows)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
