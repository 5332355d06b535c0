"""Commons Harvest: who leaves apples for the others, and for later.

Trains Advantage Alignment, PPO and PPO for the sum of rewards over 5 seeds, draws what
they did meanwhile, and prints two tables: what agents earn and do among their like,
beside scripted players, and what focal agents earn each beside scripted players in the
last seats, which eat what they see, with and without zapping. The latter stand in for
the background players of Melting Pot's scenarios, which are trained networks that do
the same. A run that is already in its folder is not trained again.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

import aajax
from aajax import cli
from aajax.api.evaluation import measure_of, scripted_group
from aajax.envs import find_spec
from aajax.envs.base import Environment
from aajax.report.curves import compared_figure
from aajax.schema import Count, Natural, Seed
from aajax.tournament import Group, with_itself
from aajax.tournament.match import play_line_ups
from aajax.training import PRESETS
from aajax.training.assemble import make_env

SPEC = find_spec("harvest")
NAMES = {"": "AA", "-ppo": "PPO", "-sum": "PPO, sum"}
BOTS = {
    "greedy": "always greedy, zaps",
    "pacifist": "always greedy",
    "sustainable": "sustainable",
}
BACKGROUND = ("greedy", "pacifist")  # that zap, and that do not
MEASURED = ("apples per agent", "sustainability", "zaps per agent")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is run, over how many seeds, and where it is kept."""

    preset: str = "harvest-small"  # or harvest, on an accelerator
    seeds: Count = 5
    first_seed: Seed = 100  # settings were chosen on others
    background: Natural = 1  # last seats of scripted players; 2 of 7 in Melting Pot
    num_games: Count = 32  # played by each seed, for each row
    out: Path = Path("runs/experiments")


def main(config: Config) -> None:
    """Prints the two tables."""
    runs = {}
    for suffix, name in NAMES.items():
        preset = config.preset + suffix
        run = aajax.train(
            preset,
            out=config.out / preset,
            resume=True,
            progress=True,
            seeds=config.seeds,
            first_seed=config.first_seed,
        )
        runs[name] = group(run.raise_for_divergence())
    folders = {name: config.out / f"{config.preset}{s}" for s, name in NAMES.items()}
    compared_figure(folders, config.out / f"{config.preset}.png")
    run = PRESETS[config.preset][1]
    env = make_env(run)
    bots = {name: scripted_group(SPEC, env, (bot,)) for bot, name in BOTS.items()}
    games = config.num_games, run.steps_per_episode
    heads = ["players", "return", *MEASURED]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for name, members in {**runs, **bots}.items():
        print(row(name, among_themselves(env, members, *games)), flush=True)
    heads = ["focal players", *(f"beside {BOTS[bot]}" for bot in BACKGROUND)]
    print(f"\n| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for name, members in {**runs, **bots}.items():
        returns = [
            focal_return(
                env,
                members,
                scripted_group(SPEC, env, (bot,)),
                config.background,
                *games,
            )
            for bot in BACKGROUND
        ]
        print(row(name, returns), flush=True)


def group(run: aajax.SmallRun) -> Group:
    """All seeds of a run."""
    params = jax.tree.map(lambda x: x[0], run.params)
    return Group(tuple(map(str, run.seeds)), run.policies, params)


def among_themselves(
    env: Environment, members: Group, num_games: int, num_steps: int
) -> list[np.ndarray]:
    """Return per agent, and what is measured of games, each f64[seeds]."""
    measure = measure_of(SPEC, env)
    numbers = with_itself(
        jax.random.key(0), env, members, num_games, num_steps, measure
    )
    returns = num_steps * numbers["reward with itself"]
    return [returns, *(numbers[name] for name in MEASURED)]


def focal_return(
    env: Environment,
    focal: Group,
    background: Group,
    num_background: int,
    num_games: int,
    num_steps: int,
) -> np.ndarray:
    """Return per focal agent, f64[seeds], with others in the last seats."""
    num_focal = env.num_agents - num_background
    seating = [focal] * num_focal + [background] * num_background
    seeds = np.arange(len(focal.names))[:, None]
    members = np.concatenate(
        [np.tile(seeds, num_focal), np.tile(0 * seeds, num_background)], axis=1
    )
    reward = play_line_ups(
        jax.random.key(1), env, seating, members, num_games, num_steps
    )
    return num_steps * np.asarray(reward[:, :num_focal], float).mean(1)


def row(name: str, columns: list[np.ndarray]) -> str:
    """Means and standard deviations over seeds."""

    def cell(numbers: np.ndarray) -> str:
        spread = f" ± {np.std(numbers, ddof=1):.1f}" if len(numbers) > 1 else ""
        return f"{np.mean(numbers):.1f}{spread}"

    return f"| {' | '.join([name, *map(cell, columns)])} |"


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
