"""Public goods of three, five and seven: who cooperates, and who answers a defector.

Trains the presets over 10 seeds and prints the rows of the README's table: rewards with
itself, and of the copies and of one always-defect that has taken one's seat among them.
A run that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
from cells import mean

import aajax
from aajax import cli
from aajax.api.evaluation import scripted_group
from aajax.envs import find_spec
from aajax.schema import Choice, Count, Items, Seed
from aajax.tournament import Group, play_line_ups

SIZES = 3, 5, 7
PRESETS = tuple(
    f"public-goods-{size}{kind}" for kind in ("", "-pairs") for size in SIZES
)
Presets = Annotated[tuple[str, ...], Choice(PRESETS), Items(1, distinct=True)]


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, and where it is kept."""

    presets: Presets = PRESETS
    seeds: Count = 10
    first_seed: Seed = 100  # settings were chosen on others
    num_games: Count = 1024  # to measure with
    out: Path = Path("runs/experiments")


def main(config: Config) -> None:
    """Prints the table."""
    heads = [
        *("command", "with itself (.6 at best)", "seeds ≥ .55", "beside one defector"),
        *("what the defector earns", "seeds ≤ .35", "against defectors alone", "time"),
    ]
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]))
    for preset in config.presets:
        run = aajax.train(
            preset,
            out=config.out / preset,
            resume=True,
            progress=True,
            seeds=config.seeds,
            first_seed=config.first_seed,
        )
        print(row(run.raise_for_divergence(), config.num_games), flush=True)


def row(run: aajax.SmallRun, num_games: int) -> str:
    """Means over seeds, with 95 % intervals."""
    itself, _ = rewards(run, 0, num_games)
    beside, defector = rewards(run, 1, num_games)
    alone, _ = rewards(run, run.env.num_agents - 1, num_games)
    count = len(run.seeds)
    cells = [
        f"`aajax train {run.summary['preset']}`",
        mean(itself, 3),
        f"{np.sum(itself >= 0.55)}/{count}",
        mean(beside, 3),
        mean(defector, 3),
        f"{np.sum(defector <= 0.35)}/{count}",
        mean(alone, 3),
        f"{run.summary['wall_seconds']:.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


def rewards(
    run: aajax.SmallRun, num_defectors: int, num_games: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reward per step of a copy and of a defector, f64[seeds], the defectors in the
    last seats; without any, both are of a copy."""
    env, count = run.env, len(run.seeds)
    params = jax.tree.map(lambda x: x[0], run.params)
    copies = Group(tuple(map(str, run.seeds)), run.policies, params)
    defectors = scripted_group(find_spec(run.config.game), env, ("always_defect",))
    num_copies = env.num_agents - num_defectors
    seats = [copies] * num_copies + [defectors] * num_defectors
    members = np.zeros((count, env.num_agents), int)
    members[:, :num_copies] = np.arange(count)[:, None]
    steps = run.config.steps_per_episode
    reward = play_line_ups(jax.random.key(1), env, seats, members, num_games, steps)
    reward = np.asarray(reward, float)
    return reward[:, :num_copies].mean(1), reward[:, -1]


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
