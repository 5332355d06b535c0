"""Who takes the seats of a game that is shown, and what environment they play in."""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from aajax import references, schema
from aajax.api.games import Seat, learned
from aajax.commands.views import shown_to
from aajax.envs import EnvSpec
from aajax.envs.base import Environment
from aajax.envs.view import View
from aajax.errors import InputError
from aajax.policies.base import Policy
from aajax.types import Array, PRNGKey, PyTree

PERSON = "human"


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


@schema.called({"player": "seat"})
def sit_down(
    console: Console,
    spec: EnvSpec,
    env: Environment,
    words: View,
    entries: Sequence[str],
    runs: Sequence[Seat | None],
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
            player = _automaton(entry, seat, *learned(run, env, seat))
        elif entry in names or references.is_reference(entry):
            player = _automaton(entry, seat, *spec.player(env, entry))
        else:
            known = f"one of {', '.join(names)}, {PERSON}" if names else PERSON
            raise InputError(
                f"seat is {entry!r}: {known}, {references.FORMS} of a function env -> "
                "Policy or the folder of a run is needed"
            )
        table.append(player)
    return table


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
