"""Who takes the seats of a game that is shown, and what environment they play in."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from aajax.commands.evaluate import trained_params
from aajax.commands.views import shown_to
from aajax.envs import EnvSpec, find_spec
from aajax.envs.base import Environment
from aajax.envs.view import View
from aajax.errors import InputError
from aajax.policies.base import Policy
from aajax.training.assemble import make_env, make_policy
from aajax.training.config import RunConfig
from aajax.training.run import load
from aajax.training.self_play import TrainState
from aajax.types import Array, PRNGKey, PyTree

PERSON = "human"


class Run(NamedTuple):
    """A run that takes a seat, and which of its seeds does."""

    entry: str
    index: int
    config: RunConfig
    state: TrainState


class Player(NamedTuple):
    """Who takes a seat.

    Attributes:
      name: for people.
      memory: before the first step.
      act: `(key, state, observation f32[N, O], memory) -> (action, memory)`.
    """

    name: str
    memory: PyTree
    act: Callable[[PRNGKey, PyTree, Array, PyTree], tuple[np.ndarray, PyTree]]


def find_run(entry: str) -> Run | None:
    """The run that an entry of `seat` names, FOLDER or FOLDER:INDEX, if it does."""
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
    return Run(entry, int(index), config, state)


def find_env(
    game: str, options: tuple[str, ...], steps: int | None, runs: Sequence[Run]
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


def _env_words(run: Run) -> str:
    payoff = [f"payoff={run.config.payoff}"] if run.config.payoff else []
    return " ".join([*run.config.options, *payoff]) or "without options"


def sit_down(
    console: Console,
    spec: EnvSpec,
    env: Environment,
    words: View,
    entries: Sequence[str],
    runs: Sequence[Run | None],
) -> list[Player]:
    """Who takes each seat: the run that its entry names, a person, a scripted player.

    Raises:
      InputError: if there is no such player.
    """
    names = spec.player_names(env)
    table = []
    for seat, (entry, run) in enumerate(zip(entries, runs, strict=True)):
        if entry == PERSON:
            player = _person(console, env, words, seat)
        elif run:
            policy = make_policy(run.config, env, seat=seat)
            player = _automaton(entry, seat, policy, _learnt(run, env, seat))
        elif entry in names:
            scripted = spec.players(env)
            params = scripted.params(entry)
            player = _automaton(entry, seat, scripted.policy, params)
        else:
            raise InputError(
                f"seat is {entry!r}: {PERSON}, the folder of a run or, in this game, "
                f"one of {', '.join(names) or 'no scripted players'} is needed"
            )
        table.append(player)
    return table


def _learnt(run: Run, env: Environment, seat: int) -> PyTree:
    """The parameters of one seed for one seat."""
    params = trained_params(run.state, env.num_agents)[seat]
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[run.index], params)


def _automaton(name: str, seat: int, policy: Policy, params: PyTree) -> Player:
    play = jax.jit(policy.act)

    def act(key, state, observation, memory):
        output = play(params, key, observation[None, seat : seat + 1], memory)
        return np.asarray(output.action)[0, 0], output.memory

    return Player(name, policy.initial_memory((1, 1)), act)


def _person(console: Console, env: Environment, words: View, seat: int) -> Player:
    space = env.action_spaces[seat]

    def act(key, state, observation, memory):
        console.print(shown_to(words, seat, state, np.asarray(observation)))
        question = words.question(seat, state)
        if question is None:
            return np.zeros(space.shape, space.dtype), memory
        prompt = f"{words.seats[seat]} {PERSON}, {question}? "
        while True:
            answer = console.input(prompt, markup=False)
            if not sys.stdin.isatty():
                console.print(answer)
            try:
                return words.read(seat, state, answer), memory
            except ValueError as error:
                console.print(str(error))

    return Player(PERSON, (), act)
