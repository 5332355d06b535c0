"""The prisoner's dilemma league: LOLA, LOQA, Advantage Alignment, PPO and scripts.

Trains 10 seeds of each, plays all against all for 50 steps, prints the README's table
and draws the heat map. A run that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path

from rich.console import Console

import aajax
from aajax import cli
from aajax.report.tables import league_table

RUNS: dict[str, tuple[str, dict]] = {  # name → preset, and what differs from it
    **{name: (name, {}) for name in ("ipd", "ipd-lola", "ipd-lola-exact", "ipd-loqa")},
    "ipd-naive-ppo": ("ipd-ppo", {"algorithm": "naive", "whiten": True}),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Where runs are kept, and how they meet."""

    first_seed: int = 100  # settings were chosen on others
    out: Path = Path("runs/experiments")
    num_games: int = 64  # of every pair of seeds
    num_steps: int = 50


def main(config: Config) -> None:
    """Prints what the row player earns, with 95 % intervals over its seeds."""
    runs = [
        aajax.train(
            preset,
            name=name,
            out=config.out / name,
            resume=True,
            progress=True,
            first_seed=config.first_seed,
            **changes,
        ).raise_for_divergence()
        for name, (preset, changes) in RUNS.items()
    ]
    table = aajax.league(
        [*runs, *runs[0].player_names],
        num_games=config.num_games,
        num_steps=config.num_steps,
        out=config.out / "ipd-league",
    )
    Console(stderr=True, markup=False, emoji=False).print(league_table(table))
    players = table["players"]
    rewards = {tuple(one["players"]): one for one in table["line_ups"]}
    print(f"| | {' | '.join(players)} |\n" + "|---" * (1 + len(players)) + "|")
    for own in players:
        cells = []
        for other in players:
            line_up = rewards[own, other]
            interval = line_up["interval"][0]
            spread = "" if interval is None else f" ± {interval:.2f}"
            cells.append(f"{line_up['reward'][0]:.2f}{spread}")
        print(f"| {own} | {' | '.join(cells)} |")


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
