"""Leagues of runs and scripted players: all against all."""

import dataclasses
import importlib.util
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from aajax import references, schema
from aajax.api.evaluation import scripted_groups
from aajax.api.labels import check_distinct, folder_labels
from aajax.api.runs import (
    Run,
    SmallRun,
    check_run,
    load_small,
    tell_unfinished,
    temporary_folder,
)
from aajax.envs import find_spec
from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.files import check_folder, check_local, write_json
from aajax.report.tables import setting_label
from aajax.schema import Count
from aajax.tournament import Group, round_robin
from aajax.training.assemble import make_env, make_policies
from aajax.training.config import RunConfig

_log = logging.getLogger(__name__)

# What `play_league` calls who takes part in a `league`.
_PLAYERS = {"runs": "players", "scripted": "players"} | {
    f"{each} is": "players has" for each in ("run", "player")
}


def league(
    players: Sequence[Run | str | Path],
    *,
    game: str | None = None,
    num_games: int = 256,
    num_steps: int | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Plays all line-ups of players, each with itself too.

        table = aajax.league(["runs/ipd", "runs/ipd-naive", "tit_for_tat"])

    Seeds of a run are one player, over which intervals are; those that diverged are
    left out, and a line about each is logged.

    Args:
      players: runs of one game, or their folders, and names of scripted players, as
        `aajax list GAME` has them, or FILE.py:NAME of a function env → Policy.
      game: needed where there is no run.
      num_games: of every line-up.
      num_steps: of a game; those of the runs if not given.
      out: folder for league.json and league.png; None for none.

    Returns:
      As league.json holds it: `game`, `num_steps`, `players`, and `line_ups` with
      `players`, `reward` per step and the half-width of its 95 % `interval`, a number
      for each seat.

    Raises:
      InputError: for players that cannot meet.
    """
    schema.check_value("num_games", Count, num_games)
    schema.check_value("num_steps", Count | None, num_steps)
    check_local("out", out)
    if out is not None:
        check_folder(f"out is {str(out)!r}", Path(out))
    with schema.called(_PLAYERS):
        runs, names = [], []
        for player in _listed(players):
            if isinstance(player, Run) or (Path(player) / "config.json").exists():
                runs.append(_small(player))
            else:
                names.append(str(player))
        if not runs and game is None:
            raise InputError(
                f"players is {names} and game None: a run among them, or a game, is "
                "needed"
            )
        table = play_league(runs, names, num_games, num_steps, game)
    if out is not None:
        write_league(table, Path(out))
    return table


def _listed(players: Iterable[Run | str | Path]) -> list[Run | str | Path]:
    """Runs, folders and names as a list; raises InputError for anything else."""
    if isinstance(players, str | Path | Run) or not isinstance(players, Iterable):
        given = str(players.folder) if isinstance(players, Run) else players
        raise InputError(f"players is {schema.shown(given)}: a list of them is needed")
    found = list(players)
    with schema.called({"player is": "players has"}):
        for player in found:
            check_run("player", player)
    return found


def _small(player: Run | str | Path) -> SmallRun:
    if isinstance(player, SmallRun):
        return player
    return load_small(player.folder if isinstance(player, Run) else Path(player))


def text_league(
    players: Sequence[Run | str | Path],
    *,
    out: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Plays all ordered pairs of players in a text game, as `aajax league --text` does.

        table = aajax.text_league(["runs/lm-ipd", "tit_for_tat"], num_matches=16)

    Args:
      players: runs of language models, or their folders, PEFT folders, "base",
        model:MODEL, names of scripted players, FILE.py:NAME of one of yours,
        api:URL#MODEL.
      out: folder of the league, in which it goes on; a temporary one if not given.
      progress: whether to show how far it is.
      **options: those of `aajax league --text --help`.

    Returns:
      As league.json holds it; see `tournament.text_league.text_table`.

    Raises:
      InputError: for an unknown option, players that cannot meet, or a folder that
        holds something else.
    """
    check_installed("lm", "transformers")
    from aajax.api import text_leagues

    check_local("out", out)
    names = [
        player.folder if isinstance(player, Run) else player
        for player in _listed(players)
    ]
    asked = {
        "players": [str(name) for name in names],
        "out": temporary_folder() if out is None else out,
    }
    league = schema.replaced(text_leagues.TextLeague(), options | asked)
    with text_leagues.opened(league.out):
        console = Console(stderr=True, markup=False, emoji=False) if progress else None
        table = text_leagues.play(league, console)
        text_leagues.write_text_league(table, league.out)
    return table


def write_league(table: dict[str, Any], out: Path) -> None:
    """Writes league.json and, with matplotlib, league.png."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "league.json", table)
    if importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import league_figure

        league_figure(table, out / "league.png")


def play_league(
    runs: Sequence[SmallRun],
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
    folders = [run.folder for run in runs]
    check_distinct(folders, "runs")
    if not runs and game is None:
        raise InputError(
            "runs is [] and game None: at least one run, or a game, is needed"
        )
    config = runs[0].config if runs else RunConfig(game=str(game), num_steps=50)
    alike = ["options", "payoff"]
    if num_steps is None:
        alike.append("steps_per_episode")
    else:
        config = dataclasses.replace(config, num_steps=num_steps, episode_steps=0)
    env, spec = make_env(config), find_spec(config.game)
    known = spec.player_names(env)
    names = known if scripted is None else tuple(scripted)
    for name in names:
        if name not in known and not references.is_reference(name):
            every = f"one of {', '.join(known)}, or " if known else ""
            none = "" if known else f"; game {config.game!r} has no scripted players"
            raise InputError(
                f"scripted has {name!r}: {every}{references.FORMS} of a function "
                f"env -> Policy is needed{none}"
            )
    if len(set(names)) < len(names):
        raise InputError(f"scripted is {list(names)}: each is needed once")
    if not (runs or names):
        raise InputError("scripted is []: at least one player is needed without runs")
    labels = folder_labels(folders, "runs", taken=names)
    groups = []
    for run, label in zip(runs, labels, strict=True):
        differs = find_spec(run.config.game) is not spec
        for name in ["game"] * differs + alike:
            there = getattr(run.config, name)
            if there != getattr(config, name):
                raise InputError(
                    f"runs is {[str(folder) for folder in folders]}: runs of one game "
                    f"are needed, and {name} of {run.folder} is {there!r}"
                )
        groups.append(_trained_group(run, label, env))
    with schema.called({"player is": "scripted has"}):
        groups += scripted_groups(spec, env, names)
    num_steps = config.steps_per_episode
    line_ups = round_robin(jax.random.key(0), env, groups, num_games, num_steps)
    return {
        "game": config.game,
        "payoff": config.payoff,
        "num_steps": num_steps,
        "players": list(dict.fromkeys(line_up.players[0] for line_up in line_ups)),
        "line_ups": [line_up._asdict() for line_up in line_ups],
    }


def _trained_group(run: SmallRun, name: str, env: Environment) -> Group:
    """All seeds of all settings that are left; seeds of one setting share a name."""
    for found in run.diverged.values():
        _log.warning("%s: %s; it is left out", run.folder, found)
    tell_unfinished(run.folder, run.config, "plays as it is")
    names, left = [], []
    for k, setting in enumerate(run.settings):
        label = f"{name}, {setting_label(setting)}" if len(run.settings) > 1 else name
        seeds = [s for s in range(len(run.seeds)) if (k, s) not in run.diverged]
        names += [label] * len(seeds)
        left += [k * len(run.seeds) + seed for seed in seeds]
    if not left:
        raise InputError(
            f"run is {str(run.folder)!r}: one with a seed that did not diverge is "
            "needed"
        )
    params = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:])[np.array(left)],
        run.params,
    )
    return Group(tuple(names), make_policies(run.config, env), params)
