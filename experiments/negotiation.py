"""The Negotiation Game: who gives, to whom, and who gains by taking.

Trains Advantage Alignment, PPO and PPO for the sum of rewards over 10 seeds, plays them
and the scripted players all against all, and prints the README's two tables. A run
that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path

import numpy as np
from rich.console import Console

import aajax
from aajax import cli
from aajax.report.tables import league_table
from aajax.schema import Count, Seed
from aajax.training import PRESETS

PLAYERS = {
    "always_cooperate": "AC",
    "always_defect": "AD",
    "negotiation": "AA",
    "negotiation-ppo": "PPO",
    "negotiation-sum": "PPO, sum",
}
# What the row player earns, then the column player: the league that is stored with the
# published code (10 seeds of 800 iterations of 16384 games).
PUBLISHED = """
.491/.509 .248/.553 .373/.417 .259/.519 .391/.317
.565/.242 .304/.296 .323/.285 .303/.297 .426/.207
.418/.371 .284/.324 .314/.314 .289/.320 .342/.247
.521/.258 .297/.303 .320/.289 .300/.300 .413/.210
.314/.392 .207/.427 .247/.342 .211/.412 .262/.262
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """Where runs are kept, and how many games each pair of seeds plays."""

    out: Path = Path("runs/experiments")
    first_seed: Seed = 100  # settings were chosen on others
    num_games: Count = 512


def main(config: Config) -> None:
    """Prints what each algorithm earns, and the league beside the published one."""
    presets = [name for name in PLAYERS if name in PRESETS]
    runs = [
        aajax.train(
            name,
            out=config.out / name,
            resume=True,
            progress=True,
            first_seed=config.first_seed,
        ).raise_for_divergence()
        for name in presets
    ]
    rows = [row(run.summary, PLAYERS[run.preset]) for run in runs]
    heads = [
        *("algorithm", "with itself", "seeds ≥ .40", "efficiency"),
        *("against AC", "against AD", "against tit-for-tat", "time"),
    ]
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows, ""]))
    table = aajax.league(
        [*runs, "always_cooperate", "always_defect"],
        num_games=config.num_games,
        out=config.out / "negotiation-league",
    )
    Console(stderr=True, markup=False, emoji=False).print(league_table(table))
    print("\n".join(league_rows(table)))


def row(summary: dict, name: str) -> str:
    """One algorithm: means and standard deviations over seeds."""

    def cell(numbers: list[float]) -> str:
        return f"{np.mean(numbers):.3f} ± {np.std(numbers, ddof=1):.3f}"

    reward, against = summary["mean_reward"], summary["league"]
    cells = [
        name,
        cell(reward),
        f"{np.sum(np.asarray(reward) >= 0.4)}/{len(reward)}",
        cell(summary["measures"]["efficiency"]),
        *(cell(against[who]) for who in ("always_cooperate", "always_defect")),
        cell(against["tit_for_tat"]),
        f"{summary['wall_seconds']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def league_rows(table: dict) -> list[str]:
    """Ours, with 95 % intervals of the row player, and the published in brackets."""
    names = list(PLAYERS.values())
    rewards = {tuple(one["players"]): one for one in table["line_ups"]}
    lines = [f"| row against column | {' | '.join(names)} |", "|---" * 6 + "|"]
    published = [line.split() for line in PUBLISHED.split("\n") if line]
    for i, one in enumerate(PLAYERS):
        cells = []
        for j, other in enumerate(PLAYERS):
            line_up = rewards[one, other]
            own, others = (f"{x:.3f}".lstrip("0") for x in line_up["reward"])
            interval = line_up["interval"][0]
            spread = "" if interval is None else f" ± {interval:.3f}"
            cells.append(f"{own}{spread} / {others} ({published[i][j]})")
        lines.append(f"| {names[i]} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
