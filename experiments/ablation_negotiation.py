"""Ablation of the Negotiation Game: β × past × baseline, as one vmapped program.

Prints the table of all settings and draws a heat map. A run that is already in its
folder is not trained again. Games are fewer and shorter than the preset's.
"""

import dataclasses
from pathlib import Path

from rich.console import Console

import aajax
from aajax import cli
from aajax.report.tables import summary_table
from aajax.training import Sweep


@dataclasses.dataclass(frozen=True)
class Config:
    """What is tried, over how many seeds, and where it is kept."""

    sweep: Sweep = Sweep(
        beta=(0.0, 2.0, 4.0),
        past=("discounted", "mean", "clipped"),
        baseline=("group", "critic"),
    )
    seeds: int = 2
    out: Path = Path("runs/experiments")


def main(config: Config) -> None:
    """Prints the table."""
    run = aajax.train(
        "negotiation",
        name="ablation-negotiation",
        out=config.out / "ablation-negotiation",
        resume=True,
        progress=True,
        sweep=config.sweep,
        seeds=config.seeds,
        num_games=128,
        num_steps=16,
    )
    run.raise_for_divergence()
    Console(width=160, markup=False, emoji=False).print(summary_table(run.summary))


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
