"""Games in words with a pocket model: naive learners, and Advantage Alignment.

Trains every preset over 5 seeds, one after another, and prints the rows of the README's
table. A run that is already in its folder is not trained again, so that presets may be
trained by several processes and the table be printed by one more.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
from cells import Seeds

import aajax
from aajax import cli
from aajax.schema import Items

PRESETS = (
    *("lm-ipd", "lm-ipd-naive"),
    *("lm-split-aa-no-buffer", "lm-split-naive"),
    *("lm-trust-and-split-aa-no-buffer", "lm-trust-and-split-naive"),
)
# "shuffled": with itself, each reading messages of other matches.
OPPOSITE = "base", "itself", "shuffled", "always_cooperate", "always_defect"


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, and where it is kept."""

    presets: Annotated[tuple[str, ...], Items(1, distinct=True)] = PRESETS
    seeds: Seeds = (100, 101, 102, 103, 104)
    out: Path = Path("runs/experiments")


def row(preset: str, summaries: list[dict]) -> str:
    """One row of the README's table: means and standard deviations over seeds."""

    def cell(numbers: list[float]) -> str:
        spread = np.std(numbers, ddof=1) if len(numbers) > 1 else 0.0
        return f"{np.mean(numbers):.2f} ± {spread:.2f}"

    found = [summary["measures"] for summary in summaries]
    cells = [
        f"`aajax train {preset}`",
        *(
            cell([each[who]["reward"] for each in found]) if who in found[0] else ""
            for who in OPPOSITE
        ),
        behaviour(found),
        f"{np.mean([summary['wall_seconds'] for summary in summaries]):.0f} s",
    ]
    return " | ".join(["", *cells, ""]).strip()


def behaviour(found: list[dict]) -> str:
    """What it does with itself, in a few numbers."""
    itself = [each["itself"] for each in found]
    names = {
        "cooperation_after_cd": "P(C│CD)",
        "cooperation_after_dc": "P(C│DC)",
        "proposal_where_higher": "asks where higher",
        "proposal_where_lower": "where lower",
        "honest_messages": "honest",
    }
    parts = []
    for name, label in names.items():
        numbers = [x[name] for x in itself if x.get(name) is not None]
        if numbers:
            parts.append(f"{label} {np.mean(numbers):.2f}")
    return ", ".join(parts)


def main(config: Config) -> None:
    """Prints the table."""
    heads = ["command", *(f"reward, {who.replace('_', '-')}" for who in OPPOSITE)]
    heads += ["with itself", "time of a seed"]
    rows = []
    for preset in config.presets:
        summaries = [
            aajax.train(
                preset,
                name=f"{preset}-seed-{seed}",
                out=config.out / f"{preset}-seed-{seed}",
                resume=True,
                progress=True,
                seed=seed,
            ).summary
            for seed in config.seeds
        ]
        rows.append(row(preset, summaries))
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]))


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
