"""One game between runs and scripted players."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from aajax import references, schema
from aajax.api.evaluation import trained_params
from aajax.api.runs import Run, SmallRun, tell_unfinished
from aajax.envs import EnvSpec, find_spec
from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.files import check_local
from aajax.policies.base import Policy
from aajax.policies.seating import seated
from aajax.rollout import play_episodes
from aajax.schema import Count, Seed
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.run import load
from aajax.training.self_play import TrainState
from aajax.types import Episodes, PyTree


class Seat(NamedTuple):
    """A run that takes a seat, and which of its seeds does."""

    entry: str
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    config: RunConfig
    state: TrainState


@schema.called({"seat is": "seats has", "player is": "seats has"})
def play(
    seats: Iterable[Any],
    *,
    game: str | None = None,
    options: Mapping[str, Any] | Sequence[str] = (),
    num_steps: int | None = None,
    num_games: int = 1,
    seed: int = 0,
) -> Episodes:
    """Plays games from their start, without exploration.

        episodes = aajax.play([run, "tit_for_tat"])
        episodes.trajectory.action  # i32[T, B, N]
        episodes.trajectory.reward  # f32[T, B, N]

    Args:
      seats: who takes each: a run, its folder or FOLDER:2 for its third seed, counted
        through the settings of a sweep, (run, 2) likewise, the name of a scripted
        player, FILE.py:NAME of a function env → Policy, or a pair of a `Policy` and
        its parameters.
      game: that is played; that of the runs if not given.
      options: of the game, where there is no run.
      num_steps: of a game, at most; those of the runs, or 16, if not given.
      num_games: B.
      seed: of chance.

    Returns:
      The trajectory [T, B, N, ...], the environment's states [T + 1, B, ...], and which
      steps are inside of games.

    Raises:
      InputError: for players that there are not, or that cannot meet.
    """
    schema.check_value("num_games", Count, num_games)
    schema.check_value("num_steps", Count | None, num_steps)
    schema.check_value("seed", Seed, seed)
    if isinstance(seats, str | Path | Run) or not isinstance(seats, Iterable):
        given = str(seats.folder) if isinstance(seats, Run) else seats
        raise InputError(
            f"seats is {schema.shown(given)}: a list of players, one per seat, "
            "is needed"
        )
    seats = list(seats)
    runs = [_find_seat(entry) for entry in seats]
    there = [run for run in runs if run is not None]
    if game is None:
        if not there:
            raise InputError("game is None: a game is needed without runs")
        game = there[0].config.game
    words = schema.replaced(RunConfig(), {"options": options}).options
    env, spec = find_env(game, words, num_steps, there), find_spec(game)
    if len(seats) != env.num_agents:
        raise InputError(
            f"seats has {len(seats)} entries: {env.num_agents} players, one per seat, "
            "are needed"
        )
    chosen = [
        _player(entry, run, spec, env, seat)
        for seat, (entry, run) in enumerate(zip(seats, runs, strict=True))
    ]
    table = seated([policy for policy, _ in chosen], [[i] for i in range(len(chosen))])
    params = tuple(own for _, own in chosen)
    steps = num_steps or (there[0].config if there else RunConfig()).steps_per_episode

    def games(key: jax.Array, params: PyTree) -> Episodes:
        return play_episodes(key, env, table, params, num_games, steps)

    return jax.jit(games)(jax.random.key(seed), params)


def _find_seat(entry: Any) -> Seat | None:
    """The run that takes a seat, if one does."""
    index = 0
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], int):
        entry, index = entry
    if isinstance(entry, SmallRun):
        count = len(entry.settings) * len(entry.seeds)
        if not 0 <= index < count:
            raise InputError(
                f"seat is ({str(entry.folder)!r}, {index}): one of the seeds 0 to "
                f"{count - 1} is needed"
            )
        tell_unfinished(entry.folder, entry.config, "plays as it is")
        return Seat(str(entry.folder), index, entry.config, entry.state)
    if isinstance(entry, Run):
        raise InputError(
            f"seats has {str(entry.folder)!r}: one of small policies is needed; "
            "language models meet in aajax league --text"
        )
    if isinstance(entry, str | Path):
        return find_run(f"{entry}:{index}" if index else str(entry))
    return None


def _player(
    entry: Any, run: Seat | None, spec: EnvSpec, env: Environment, seat: int
) -> tuple[Policy, PyTree]:
    """How somebody acts in a seat, and with which parameters."""
    if run is not None:
        return learned(run, env, seat)
    if isinstance(entry, tuple) and isinstance(entry[0], Policy):
        policy, params = entry
        return policy, params
    names = spec.player_names(env)
    if entry not in names and not references.is_reference(entry):
        known = f"one of {', '.join(names)}, " if names else ""
        raise InputError(
            f"seat is {schema.shown(entry)}: {known}a run, its folder, "
            f"{references.FORMS} of a function env -> Policy, or a pair of a policy "
            "and parameters is needed"
        )
    return spec.player(env, str(entry))


def find_run(entry: str) -> Seat | None:
    """The run that an entry of `seat` names, FOLDER or FOLDER:INDEX, if it does."""
    check_local("run", entry)
    folder, index = entry, "0"
    if not (Path(folder) / "config.json").exists():
        folder, _, index = entry.rpartition(":")
        if not folder or not (Path(folder) / "config.json").exists():
            return None
    _, config, state = load(Path(folder))
    num_settings, num_seeds = jax.tree.leaves(state.learners[0].params)[0].shape[:2]
    members = num_settings * num_seeds
    if not index.isdecimal() or int(index) >= members:
        raise InputError(
            f"seat is {entry!r}: after the colon, one of the seeds 0 to {members - 1} "
            "is needed"
        )
    tell_unfinished(Path(folder), config, "plays as it is")
    return Seat(entry, int(index), config, state)


def find_env(
    game: str, options: tuple[str, ...], steps: int | None, runs: Sequence[Seat]
) -> Environment:
    """The one environment of all runs, or where there are none that of the options.

    Args:
      game: its name.
      options: of it, name=value each; they may be left out where there are runs.
      steps: of an episode; None: as the first run has it, or the options.
      runs: that take seats.

    Raises:
      InputError: if they differ, or there is no such environment.
    """
    plain = RunConfig(game=game, options=options)
    num_steps = steps or (runs[0].config if runs else plain).steps_per_episode

    def build(config: RunConfig) -> Environment:
        steps = {"num_steps": num_steps, "episode_steps": 0}
        return make_env(dataclasses.replace(config, **steps))

    asked = build(plain)
    if not runs:
        return asked
    env = build(runs[0].config)
    for run in runs:
        if find_spec(run.config.game) is not find_spec(game):
            raise InputError(
                f"seat is {run.entry!r}: a run of game {game!r} is needed, and "
                f"it is one of {run.config.game!r}"
            )
        if not _are_equal(build(run.config), env):
            raise InputError(
                f"seat is {run.entry!r}: the environment of {runs[0].entry!r} is "
                f"needed, which is {_env_words(runs[0])} and not {_env_words(run)}"
            )
    if options and not _are_equal(asked, env):
        raise InputError(
            f"options is {list(options)}: none is needed with {runs[0].entry!r} in "
            f"a seat, which brings {_env_words(runs[0])}"
        )
    return env


def _are_equal(one: Environment, other: Environment) -> bool:
    same = jax.tree.structure(one) == jax.tree.structure(other)
    return same and all(
        map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other))
    )


def _env_words(run: Seat) -> str:
    payoff = [f"payoff={run.config.payoff}"] if run.config.payoff else []
    return " ".join([*run.config.options, *payoff]) or "without options"


def learned(run: Seat, env: Environment, seat: int) -> tuple[Policy, PyTree]:
    """How one seed acts in one seat, and its parameters."""
    params = trained_params(run.state, env.num_agents)[seat]
    own = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[run.index], params)
    return make_policy(run.config, env, seat=seat), own
