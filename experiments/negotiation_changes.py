"""What makes Advantage Alignment cooperate in the Negotiation Game: one change a row.

Trains the preset `negotiation`, with fewer and shorter games, and again with one thing
changed at a time, and prints the rows. A run that is already in its folder is not
trained again.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np

import aajax
from aajax import cli
from aajax.schema import Choice, Items
from aajax.training import Final

CHANGES: dict[str, dict] = {
    "none": {},
    "no alignment term": {"beta": 0.0},
    "no exploration": {"exploration": 0.0},
    "no entropy bonus": {"entropy_bonus": 0.0, "final": Final()},
    "an entropy bonus that stays": {"final": Final()},
    "tanh-normal proposals": {"proposals": "normal"},
    "six values per proposal": {"num_bins": 6},
    "the paper's observation": {"options": ("observation=raw",)},
    "the paper's, a GRU": {"options": ("observation=raw",), "policy": "gru"},
    "mean past": {"past": "mean"},
    "a critic": {"baseline": "critic"},
    "all games compared": {"group_size": 1},
}
Changes = Annotated[tuple[str, ...], Choice(tuple(CHANGES)), Items(1, distinct=True)]


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, over how many seeds, and where runs are kept."""

    changes: Changes = tuple(CHANGES)
    seeds: int = 3
    out: Path = Path("runs/experiments/negotiation-changes")


def main(config: Config) -> None:
    """Prints the table: means over seeds, least and most."""
    print("| change | with itself | against always-defect |\n|---|---|---|")
    for name in config.changes:
        label = name.replace(" ", "-")
        run = aajax.train(
            "negotiation",
            name=label,
            out=config.out / label,
            resume=True,
            progress=True,
            seeds=config.seeds,
            **{"num_games": 128, "num_steps": 16, **CHANGES[name]},
        )
        summary = run.raise_for_divergence().summary
        defectors = summary["league"]["always_defect"]
        cells = name, spread(summary["mean_reward"]), spread(defectors)
        print(f"| {' | '.join(cells)} |", flush=True)


def spread(numbers: list[float]) -> str:
    return f"{np.mean(numbers):.3f} ({np.min(numbers):.3f} to {np.max(numbers):.3f})"


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
