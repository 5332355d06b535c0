"""Ablation of the prisoner's dilemma: β × past × baseline, as one vmapped program.

Prints the table of all settings and draws a heat map. A run that is already in its
folder is not trained again.
"""

import dataclasses
from pathlib import Path

import tyro

from aajax.commands.train import ablation
from aajax.training import PRESETS, Sweep


@dataclasses.dataclass(frozen=True)
class Config:
    """What is tried, over how many seeds, and where it is kept."""

    sweep: Sweep = Sweep(
        beta=(0.0, 0.3, 1.0, 3.0),
        past=("discounted", "mean", "clipped"),
        baseline=("group", "critic"),
    )
    seeds: int = 5
    out: Path = Path("runs/experiments")


if __name__ == "__main__":
    chosen = tyro.cli(Config, description=__doc__)
    run = dataclasses.replace(PRESETS["ipd"][1], sweep=chosen.sweep, seeds=chosen.seeds)
    ablation("ablation-ipd", run, chosen.out)
