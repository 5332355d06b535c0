"""Ablation of the Coin Game: β × past × baseline, as one vmapped program.

Prints the table of all settings and draws a heat map. A run that is already in its
folder is not trained again. Games are fewer than the preset's, without past selves.
"""

import dataclasses
from pathlib import Path

import tyro

from aajax.commands.train import ablation
from aajax.training import PRESETS, Opponents, Sweep


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


if __name__ == "__main__":
    chosen = tyro.cli(Config, description=__doc__)
    run = dataclasses.replace(
        PRESETS["coin"][1],
        sweep=chosen.sweep,
        seeds=chosen.seeds,
        num_games=32,
        num_updates=400,
        opponents=Opponents(),
    )
    ablation("ablation-coin", run, chosen.out)
