"""`aajax league RUN ...`: trained runs and scripted players, all against all."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import jax
import tyro
from rich.console import Console

from aajax.commands.evaluate import scripted_group, trained_params
from aajax.league import Group, LineUp, round_robin
from aajax.policies.scripted import players
from aajax.report.tables import league_table, setting_label
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.metrics import write_text
from aajax.training.run import knob_values, load


@dataclasses.dataclass(frozen=True)
class Options:
    """Plays all line-ups of trained runs and scripted players."""

    runs: tyro.conf.Positional[tuple[Path, ...]]  # folders of runs, all of one game
    out: Path = Path("runs/league")  # folder for league.json and league.png
    scripted: tuple[str, ...] | None = None  # who else takes part; all if not given
    num_games: int = 256  # games of every line-up


def main(arguments: list[str]) -> None:
    """Plays; raises ValueError for runs that cannot meet."""
    options = tyro.cli(Options, args=arguments, prog="aajax league")
    if not options.runs:
        raise ValueError("runs is empty: at least one folder of a run is needed")
    if options.num_games < 1:
        raise ValueError(f"num_games is {options.num_games}: at least 1 is needed")
    loaded = [load(folder) for folder in options.runs]
    config = loaded[0][1]
    env = make_env(config)
    groups = []
    for folder, (_, other, state) in zip(options.runs, loaded, strict=True):
        for name in ("game", "world", "payoff", "num_steps"):
            if getattr(other, name) != getattr(config, name):
                raise ValueError(
                    f"runs is {[str(run) for run in options.runs]}: runs of one game "
                    f"are needed, and {name} of {folder} is {getattr(other, name)!r}"
                )
        params = trained_params(state, env.num_agents)
        groups.append(_trained_group(folder.name, other, params, env))
    scripted = options.scripted
    if scripted is None:
        scripted = players(env).names
    if scripted:
        groups.append(scripted_group(env, scripted))
    key = jax.random.key(0)
    line_ups = round_robin(key, env, groups, options.num_games, config.num_steps)
    _report(line_ups, config, env.num_agents, options.out)


def _trained_group(name: str, config: RunConfig, params, env) -> Group:
    """All seeds of all settings of a run; seeds of one setting share a name."""
    knobs = knob_values(config)
    num_settings = len(next(iter(knobs.values())))
    names = []
    for k in range(num_settings):
        setting = {"knobs": {knob: float(x[k]) for knob, x in knobs.items()}}
        label = f"{name}, {setting_label(setting)}" if num_settings > 1 else name
        names += [label] * config.seeds
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), params)
    return Group(tuple(names), make_policy(config, env), flat)


def _report(
    line_ups: list[LineUp], config: RunConfig, num_agents: int, out: Path
) -> None:
    players = list(dict.fromkeys(line_up.players[0] for line_up in line_ups))
    table = {
        "game": config.game,
        "num_steps": config.num_steps,
        "players": players,
        "line_ups": [line_up._asdict() for line_up in line_ups],
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "league.json", json.dumps(table, indent=1) + "\n")
    console = Console()
    console.print(league_table(table))
    if num_agents == 2 and importlib.util.find_spec("matplotlib"):
        from aajax.report.curves import league_figure

        league_figure(table, out / "league.png")
    console.print(f"everything is in {out}/")
