"""What makes Advantage Alignment cooperate in the Negotiation Game: one change a row.

Trains the preset `negotiation`, with fewer and shorter games, and again with one thing
changed at a time, and prints the rows. A run that is already in its folder is not
trained again.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro

from aajax.commands.train import trained
from aajax.training import PRESETS, Final

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


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, over how many seeds, and where runs are kept."""

    changes: tuple[str, ...] = tuple(CHANGES)
    seeds: int = 3
    out: Path = Path("runs/experiments/negotiation-changes")


def main(config: Config) -> None:
    """Prints the table: means over seeds, least and most."""
    preset = dataclasses.replace(
        PRESETS["negotiation"][1], seeds=config.seeds, num_games=128, num_steps=16
    )
    print("| change | with itself | against always-defect |\n|---|---|---|")
    for name in config.changes:
        change = dict(CHANGES[name])
        hyperparameters = {
            k: change.pop(k)
            for k in tuple(change)
            if hasattr(preset.hyperparameters, k)
        }
        run = dataclasses.replace(
            preset,
            hyperparameters=dataclasses.replace(
                preset.hyperparameters, **hyperparameters
            ),
            **change,
        )
        summary = trained(name.replace(" ", "-"), run, config.out)
        defectors = summary["league"]["always_defect"]
        cells = name, spread(summary["mean_reward"]), spread(defectors)
        print(f"| {' | '.join(cells)} |", flush=True)


def spread(numbers: list[float]) -> str:
    return f"{np.mean(numbers):.3f} ({np.min(numbers):.3f} to {np.max(numbers):.3f})"


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
