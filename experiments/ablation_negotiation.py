"""Ablation of the Negotiation Game: β × past × baseline, as one vmapped program.

Prints the table of all settings and draws a heat map. A run that is already in its
folder is not trained again. Games are fewer and shorter than the preset's.
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
        beta=(0.0, 2.0, 4.0),
        past=("discounted", "mean", "clipped"),
        baseline=("group", "critic"),
    )
    seeds: int = 2
    out: Path = Path("runs/experiments")


if __name__ == "__main__":
    chosen = tyro.cli(Config, description=__doc__)
    run = dataclasses.replace(
        PRESETS["negotiation"][1],
        sweep=chosen.sweep,
        seeds=chosen.seeds,
        num_games=128,
        num_steps=16,
    )
    ablation("ablation-negotiation", run, chosen.out)
