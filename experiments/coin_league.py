"""The coin game's league: Advantage Alignment, LOQA, PPO and scripts, all against all.

Trains 10 seeds of each on the paper's board of 3 × 3, plays 50 steps, and prints what
the row and the column player earn per step beside the published league. A run that is
already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path

from coin import NAMES
from rich.console import Console

import aajax
from aajax import cli
from aajax.report.tables import league_table

PLAYERS = {
    **NAMES,
    "always_cooperate": "AC",
    "always_defect": "AD",
    "tit_for_tat": "TFT",
    "random": "random",
}
# Row / column, of the league that is stored with LOQA's public code.
PUBLISHED = {
    ("AA", "AA"): ".288/.288",
    ("AA", "LOQA"): ".292/.281",
    ("AA", "AC"): ".349/.313",
    ("AA", "AD"): "−.084/.155",
    ("AA", "random"): ".261/−.179",
    ("LOQA", "LOQA"): ".291/.304",
    ("LOQA", "AC"): ".352/.318",
    ("LOQA", "AD"): "−.054/.123",
    ("LOQA", "random"): ".264/−.154",
    ("AD", "AC"): ".631/−.269",
    ("AD", "AD"): "−.001/−.001",
    ("AD", "random"): ".526/−.534",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Where runs are kept, and how they meet."""

    seeds: int = 10
    first_seed: int = 200  # settings were chosen on 100 and 101
    num_games: int = 64  # of every pair of seeds
    out: Path = Path("runs/experiments")


def short(number: float) -> str:
    """Of two digits, without the zero before the point."""
    text = f"{number:.2f}".replace("0.", ".", 1).replace("-", "−")
    return ".00" if text == "−.00" else text


def main(config: Config) -> None:
    """Prints the table."""
    runs = [
        aajax.train(
            preset,
            out=config.out / preset,
            resume=True,
            progress=True,
            seeds=config.seeds,
            first_seed=config.first_seed,
        ).raise_for_divergence()
        for preset in NAMES
    ]
    scripted = [name for name in PLAYERS if name not in NAMES]
    table = aajax.league(
        [*runs, *scripted], num_games=config.num_games, out=config.out / "coin-league"
    )
    Console(stderr=True, markup=False, emoji=False).print(league_table(table))
    found = {tuple(one["players"]): one for one in table["line_ups"]}
    names = list(PLAYERS.values())
    print(f"| row / column | {' | '.join(names)} |\n" + "|---" * (1 + len(names)) + "|")
    for row in PLAYERS:
        cells = []
        for column in PLAYERS:
            line_up = found[row, column]
            own, other = map(short, line_up["reward"])
            interval = line_up["interval"][0]
            spread = "" if interval is None else f" ± {short(interval)}"
            published = PUBLISHED.get((PLAYERS[row], PLAYERS[column]))
            beside = f" ({published})" if published else ""
            cells.append(f"{own}{spread} / {other}{beside}")
        print(f"| {PLAYERS[row]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
