"""The prisoner's dilemma league: LOLA, LOQA, Advantage Alignment, PPO and scripts.

Trains 10 seeds of each, plays all against all for 50 steps, prints the README's table
and draws the heat map. A run that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path

import tyro
from rich.console import Console

from aajax.commands import league
from aajax.commands.train import trained
from aajax.training import PRESETS, RunConfig

PPO = dataclasses.replace(
    PRESETS["ipd-ppo"][1], algorithm="naive", baseline="critic", whiten=True
)
RUNS: dict[str, RunConfig] = {
    "ipd": PRESETS["ipd"][1],
    "ipd-lola": PRESETS["ipd-lola"][1],
    "ipd-lola-exact": PRESETS["ipd-lola-exact"][1],
    "ipd-loqa": PRESETS["ipd-loqa"][1],
    "ipd-naive-ppo": PPO,
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
    for name, run in RUNS.items():
        run = dataclasses.replace(run, first_seed=config.first_seed)
        trained(name, run, config.out)
    table = league.play(
        [config.out / name for name in RUNS],
        num_games=config.num_games,
        num_steps=config.num_steps,
    )
    league.report(table, config.out / "ipd-league", Console(stderr=True, markup=False))
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
    main(tyro.cli(Config, description=__doc__))
