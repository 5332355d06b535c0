"""Ablations of games in words: a population of a pocket model's adapters a game.

β × discount of the past × baseline × past selves or none, over several seeds, one
population a game; and the strict against the inclusive past. Prints the interquartile
mean over seeds with its 95 % bootstrap interval, of each setting and of each value over
all settings with it, and draws heat maps. A population that is in its folder already is
not trained again, and one that was stopped goes on.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cells import show

import aajax
from aajax import cli
from aajax.report.statistics import interquartile_mean
from aajax.schema import Count, Items, Seed

Game = Literal["ipd", "split", "trust-and-split"]
Read = Callable[[dict[str, Any]], list]  # a setting's record → a number for each seed


@dataclasses.dataclass(frozen=True)
class Config:
    """What is tried, over how many seeds, and where it is kept."""

    games: Annotated[tuple[Game, ...], Items(1, distinct=True)] = (
        *("ipd", "split", "trust-and-split"),
    )
    beta: tuple[float, ...] = (0.0, 1.0, 3.0)
    past_gamma: tuple[float, ...] = (0.5, 0.9)
    baseline: tuple[str, ...] = ("group", "batch")
    past_share: tuple[float, ...] = (0.0, 0.5)
    past: tuple[str, ...] = ()  # such as strict and inclusive; none: the preset's
    first_seed: Seed = 0
    seeds: Count = 5
    num_matches: Count = 32  # of an iteration of a member
    num_iterations: Count = 100
    out: Path = Path("runs/experiments")


def population(config: Config, game: Game) -> aajax.LmRun:
    """The finished run of a game's population."""
    names = "beta", "past_gamma", "baseline", "past_share", "past"
    sweep = {name: getattr(config, name) for name in names if getattr(config, name)}
    run = aajax.train(
        f"lm-{game}",
        name=f"ablation-lm-{game}",
        out=config.out / f"ablation-lm-{game}",
        resume=True,
        progress=True,
        seed=config.first_seed,
        seeds=config.seeds,
        num_matches=config.num_matches,
        num_iterations=config.num_iterations,
        group_size=4,  # matches with the same environment seed, of the group baseline
        save_every=5,
        sweep=sweep,
    )
    assert isinstance(run, aajax.LmRun)
    return run


def tables(game: Game, run: aajax.LmRun) -> None:
    """Prints what each setting is worth, and each value over all that have it."""
    settings = run.summary["settings"]
    columns: dict[str, Read] = {
        "with itself": lambda setting: setting["mean_reward"],
        **{
            f"against {who.replace('_', '-')}": lambda x, who=who: x["league"][who]
            for who in ("always_cooperate", "always_defect")
        },
    }
    names, reads = list(settings[0]["hyperparameters"]), columns.values()
    show(
        [f"{game}: {names[0]}", *names[1:], *columns],
        [
            [
                *(str(x) for x in setting["hyperparameters"].values()),
                *(
                    str(interquartile_mean([read(setting)]))
                    for read in columns.values()
                ),
            ]
            for setting in settings
        ],
    )
    rows = []
    for name in names:
        values = list(dict.fromkeys(x["hyperparameters"][name] for x in settings))
        for value in values if len(values) > 1 else ():
            own = [x for x in settings if x["hyperparameters"][name] == value]
            cells = [str(interquartile_mean(list(map(read, own)))) for read in reads]
            rows.append([f"{name} {value}", *cells])
    show([f"{game}: over all settings with", *columns], rows)


def main(config: Config) -> None:
    """Trains the populations, and prints their tables."""
    for game in config.games:
        run = population(config, game)
        tables(game, run)
        print(f"\n{run.summary['wall_seconds']:.0f} s; figure: {run.folder}/figure.png")


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
