"""The iterated prisoner's dilemma: who cooperates, who retaliates, who forgives.

Trains every preset over 10 seeds and prints the rows of the README's table. A run that
is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np

import aajax
from aajax import cli
from aajax.schema import Choice, Items

PRESETS = (
    *("ipd", "ipd-critic", "ipd-gru", "ipd-ppo"),
    *("ipd-naive", "ipd-naive-gru", "ipd-sum"),
    *("ipd-lola", "ipd-lola-exact", "ipd-loqa"),
    *("ipd-pola", "ipd-pola-exact"),
)
Presets = Annotated[tuple[str, ...], Choice(PRESETS), Items(1, distinct=True)]


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, and where it is kept."""

    presets: Presets = PRESETS
    first_seed: int = 100  # settings were chosen on others
    out: Path = Path("runs/experiments")


def row(summary: dict) -> str:
    """One row of the README's table: means and standard deviations over seeds."""

    def cell(numbers: list[float], digits: int = 2) -> str:
        return f"{np.mean(numbers):.{digits}f} ± {np.std(numbers, ddof=1):.{digits}f}"

    answers, league = summary["p_cooperate"], summary["league"]
    cooperating = sum(reward >= -1.15 for reward in summary["mean_reward"])
    cells = [
        f"`aajax train {summary['preset']}`",
        cell(summary["mean_reward"]),
        f"{cooperating}/{len(summary['seeds'])}",
        *(cell(answers[outcome]) for outcome in ("start", "CC", "CD", "DC", "DD")),
        cell(league["always_defect"], 3),
        f"{summary['wall_seconds']:.0f} s",
    ]
    return " | ".join(["", *cells, ""]).strip()


def main(config: Config) -> None:
    """Prints the table."""
    heads = [
        *("command", "reward with itself", "seeds ≥ −1.15", "P(C│start)"),
        *("P(C│CC)", "P(C│CD)", "P(C│DC)", "P(C│DD)"),
        *("against always-defect", "time"),
    ]
    rows = [
        row(
            aajax.train(
                preset,
                out=config.out / preset,
                resume=True,
                progress=True,
                first_seed=config.first_seed,
            )
            .raise_for_divergence()
            .summary
        )
        for preset in config.presets
    ]
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]))


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
