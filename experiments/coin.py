"""The Coin Game on a torus of 3 × 3 and larger: whose coins are taken.

Trains Advantage Alignment, LOQA, PPO and PPO for the sum of rewards over 10 seeds and
prints the README's rows. A run that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np

import aajax
from aajax import cli
from aajax.schema import Choice, Items
from aajax.training import PRESETS

NAMES = {
    "coin": "AA",
    "coin-loqa": "LOQA",
    "coin-ppo": "PPO",
    "coin-sum": "PPO, sum",
}
Presets = Annotated[tuple[str, ...], Choice(tuple(NAMES)), Items(1, distinct=True)]


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, over how many seeds, and where it is kept."""

    presets: Presets = tuple(NAMES)
    size: int = 3  # rows and columns of the torus
    seeds: int = 10
    first_seed: int = 200  # settings were chosen on 100 and 101
    out: Path = Path("runs/experiments")


def row(summary: dict, name: str, size: int) -> str:
    """One algorithm: means and standard deviations over seeds."""

    def cell(numbers: list[float]) -> str:
        return f"{np.mean(numbers):.2f} ± {np.std(numbers, ddof=1):.2f}"

    measures, against = summary["measures"], summary["league"]
    opponents = "always_cooperate", "always_defect", "tit_for_tat"
    cells = [
        f"{name}, {size} × {size}",
        cell(summary["mean_reward"]),
        cell(measures["own of the coins taken"]),
        cell(measures["coins per step and agent"]),
        *(cell(against[who]) for who in opponents),
        f"{summary['wall_seconds']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def options_of(preset: str, size: int) -> tuple[str, ...]:
    """Of the game on another torus."""
    return (*PRESETS[preset][1].options, f"height={size}", f"width={size}")


def main(config: Config) -> None:
    """Prints the table."""
    heads = [
        *("algorithm", "reward with itself", "own of the coins", "coins per step"),
        *("against AC", "against AD", "against tit-for-tat", "time"),
    ]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for preset in config.presets:
        name, size = preset, {}
        if config.size != 3:
            name = f"{preset}-{config.size}"
            size = {"options": options_of(preset, config.size)}
        run = aajax.train(
            preset,
            name=name,
            out=config.out / name,
            resume=True,
            progress=True,
            seeds=config.seeds,
            first_seed=config.first_seed,
            **size,
        ).raise_for_divergence()
        print(row(run.summary, NAMES[preset], config.size), flush=True)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
