"""Ablation of the Coin Game: β × past × baseline, as one vmapped program.

Prints the table of all settings and draws a heat map. A run that is already in its
folder is not trained again. Games are fewer than the preset's, without past selves.
"""

import dataclasses
from pathlib import Path

from rich.console import Console

import aajax
from aajax import cli
from aajax.report.tables import summary_table
from aajax.training import Opponents, Sweep


@dataclasses.dataclass(frozen=True)
class Config:
    """What is tried, over how many seeds, and where it is kept."""

    sweep: Sweep = Sweep(
        beta=(0.0, 0.75, 1.5),
        past=("discounted", "mean", "clipped", "positive"),
        baseline=("group", "critic"),
    )
    seeds: int = 2
    out: Path = Path("runs/experiments")


def main(config: Config) -> None:
    """Prints the table."""
    run = aajax.train(
        "coin",
        name="ablation-coin",
        out=config.out / "ablation-coin",
        resume=True,
        progress=True,
        sweep=config.sweep,
        seeds=config.seeds,
        num_games=32,
        num_updates=400,
        opponents=Opponents(),
    )
    run.raise_for_divergence()
    Console(width=160, markup=False, emoji=False).print(summary_table(run.summary))


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
