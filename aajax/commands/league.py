"""`aajax league RUN ...`: trained runs and scripted players, all against all."""

import dataclasses
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from rich.console import Console

from aajax import files
from aajax.commands.arguments import check_installed, parse
from aajax.commands.evaluate import scripted_group, trained_params
from aajax.commands.labels import check_distinct, folder_labels
from aajax.commands.progress import tell_path
from aajax.envs import find_spec
from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.league import Group, round_robin
from aajax.report.tables import league_table, setting_label
from aajax.schema import Count, Items
from aajax.training.assemble import make_env, make_policies
from aajax.training.config import RunConfig
from aajax.training.run import diverged, hyperparameter_settings, load
from aajax.training.self_play import TrainState

_log = logging.getLogger(__name__)

Names = Annotated[
    tuple[str, ...], Items(distinct=True), tyro.conf.arg(metavar="PLAYER ...")
]
Runs = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN ...")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Plays trained runs and scripted players against one another, in all line-ups.

    For text games (language models, scripted players, HTTP endpoints, people) see
    `aajax league --text --help`.
    """

    # folders of runs, all of one game
    runs: tyro.conf.Positional[Runs] = ()
    # environment for scripted players alone, without any run
    game: str | None = (
        None  # environment of scripted players alone, where there is no run
    )
    out: Path = Path("runs/league")  # folder for league.json and league.png
    # scripted players that take part; None: all of the game's
    scripted: Names | None = None
    num_games: Count = 256  # games of each line-up
    num_steps: Count | None = None  # time steps per game; None: as in the runs


def main(arguments: list[str]) -> None:
    """Plays; raises InputError for runs that cannot meet."""
    if "--text" in arguments:
        _play_in_words([word for word in arguments if word != "--text"])
        return
    options = parse(Options, arguments, "aajax league")
    if bool(options.runs) == (options.game is not None):
        raise InputError(
            f"runs is {[str(run) for run in options.runs]} and game {options.game}: "
            "either folders of runs or a game is needed"
        )
    rules = options.scripted, options.num_games, options.num_steps
    with files.locked(options.out / files.LOCK, f"out is {str(options.out)!r}"):
        table = play(options.runs, *rules, game=options.game)
        report(table, options.out, Console(markup=False))


def _play_in_words(arguments: list[str]) -> None:
    check_installed("lm", "transformers")
    from aajax.commands import league_text

    league_text.main(arguments)


def play(
    runs: Sequence[Path],
    scripted: Sequence[str] | None = None,
    num_games: int = 256,
    num_steps: int | None = None,
    game: str | None = None,
) -> dict:
    """The table of a league, as league.json holds it; `game` is needed without runs.

    Runs are called by the ends of their paths, as far as they differ. Seeds that
    diverged are left out, and a line about each is logged.

    Raises:
      InputError: for runs that cannot meet.
    """
    check_distinct(runs, "runs")
    loaded = [load(folder) for folder in runs]
    config = loaded[0][1] if loaded else RunConfig(game=game, num_steps=50)
    alike = ["options", "payoff"]
    if num_steps is None:
        alike.append("steps_per_episode")
    else:
        config = dataclasses.replace(config, num_steps=num_steps, episode_steps=0)
    env, spec = make_env(config), find_spec(config.game)
    names = spec.player_names(env) if scripted is None else tuple(scripted)
    if len(set(names)) < len(names):
        raise InputError(f"scripted is {list(names)}: each is needed once")
    if not (runs or names):
        raise InputError("scripted is []: at least one player is needed without runs")
    labels = folder_labels(runs, "runs", taken=names)
    groups = []
    for folder, label, (_, other, state) in zip(runs, labels, loaded, strict=True):
        differs = find_spec(other.game) is not spec
        for name in ["game"] * differs + alike:
            if getattr(other, name) != getattr(config, name):
                raise InputError(
                    f"runs is {[str(run) for run in runs]}: runs of one game are "
                    f"needed, and {name} of {folder} is {getattr(other, name)!r}"
                )
        groups.append(_trained_group(folder, label, other, state, env))
    if names:
        groups.append(scripted_group(spec, env, names))
    num_steps = config.steps_per_episode
    line_ups = round_robin(jax.random.key(0), env, groups, num_games, num_steps)
    return {
        "game": config.game,
        "payoff": config.payoff,
        "num_steps": num_steps,
        "players": list(dict.fromkeys(line_up.players[0] for line_up in line_ups)),
        "line_ups": [line_up._asdict() for line_up in line_ups],
    }


def _trained_group(
    folder: Path, name: str, config: RunConfig, state: TrainState, env: Environment
) -> Group:
    """All seeds of all settings that are left; seeds of one setting share a name."""
    lost = diverged(folder, config, state)
    for found in lost.values():
        _log.warning("%s: %s; it is left out", folder, found)
    settings = hyperparameter_settings(config)
    names, left = [], []
    for k, hyperparameters in enumerate(settings):
        label = (
            f"{name}, {setting_label(hyperparameters)}" if len(settings) > 1 else name
        )
        seeds = [seed for seed in range(config.seeds) if (k, seed) not in lost]
        names += [label] * len(seeds)
        left += [k * config.seeds + seed for seed in seeds]
    if not left:
        raise InputError(
            f"run is {str(folder)!r}: one with a seed that did not diverge is needed"
        )
    params = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:])[np.array(left)],
        trained_params(state, env.num_agents),
    )
    return Group(tuple(names), make_policies(config, env), params)


def report(table: dict, out: Path, console: Console) -> None:
    """Writes league.json and, of pairs, league.png; prints the table."""
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(out / "league.json", table)
    console.print(league_table(table))
    is_of_pairs = len(table["line_ups"][0]["players"]) == 2
    if is_of_pairs and importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import league_figure

        league_figure(table, out / "league.png")
    tell_path(console, f"everything is in {out}/")
