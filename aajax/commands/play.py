"""`aajax play GAME`: one game between any players, step by step."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.text import Text

from aajax.api.games import find_env, find_run
from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.commands.seats import PERSON, Player, sit_down
from aajax.commands.spelling import Console
from aajax.commands.views import shown
from aajax.envs import EnvSpec, find_spec, names
from aajax.envs.base import Environment
from aajax.envs.view import View, plain_view, seat_colour
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.report.tables import counted
from aajax.schema import Count, Formerly, Range, Seed
from aajax.types import PyTree

Game = Annotated[str, tyro.conf.arg(metavar="GAME")]
Seconds = Annotated[float, Range(0, 3600)]


@dataclasses.dataclass(frozen=True)
class Options:
    """Shows one game between scripted players, trained runs and people.

    A seat is taken by a scripted player's name (`aajax list` has them), FILE.py:NAME
    of one of yours, the folder of a run, or `human`: FOLDER:2 is the third seed of a
    run, FOLDER the first, counted through the settings of a sweep.
    """

    game: tyro.conf.Positional[Game]  # environment to play; `aajax list` names them
    seat: tuple[str, ...] = ()  # player of each seat, in order
    # options of the environment: name=value ...; those of a run come with it
    options: Annotated[tuple[str, ...], Formerly("world")] = ()
    steps: Count | None = None  # time steps; None: as in the run, or 16
    seed: Seed = 0  # random seed of the game
    pause: Seconds = 0.3  # seconds between two steps on a terminal
    # .gif, or .png of up to 10 steps, to write (for games with a board)
    out: Path | None = None


class Step(NamedTuple):
    """The state before, what was done and earned, [N, ...], and the state after."""

    before: PyTree
    action: np.ndarray
    reward: np.ndarray
    after: PyTree


def main(arguments: list[str]) -> None:
    """Plays; raises InputError for bad input, KeyboardInterrupt when left."""
    options = parse(Options, arguments, "aajax play")
    runs = [find_run(entry) for entry in options.seat]
    env = find_env(
        options.game, options.options, options.steps, [run for run in runs if run]
    )
    if len(options.seat) != env.num_agents:
        raise InputError(
            f"seat is {list(options.seat)}: {env.num_agents} players, one per seat, "
            "are needed"
        )
    spec = find_spec(options.game)
    words = (spec.view or plain_view)(env)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    table = sit_down(console, spec, env, words, options.seat, runs)
    if options.out:
        _check_out(options.out, spec)
    # Nobody waits for who is asked, and people see no more than their seat does.
    has_person = PERSON in options.seat
    steps = []
    try:
        for step in _game(console, env, words, table, options.seed, not has_person):
            steps.append(step)
            console.print(_outcome(words, table, step))
            if console.is_terminal and not has_person:
                time.sleep(options.pause)
    except (EOFError, KeyboardInterrupt):
        console.print()
        if steps:
            console.print(_totals(words, table, steps))
        raise KeyboardInterrupt(
            f"The game was left in step {1 + len(steps)}."
        ) from None
    console.print(_totals(words, table, steps))
    if options.out:
        _draw(options.out, spec, env, table, steps)
        tell_path(console, f"wrote {options.out}")


def _check_out(path: Path, spec: EnvSpec) -> None:
    """Before the game rather than after it, whether there can be a figure."""
    if spec.draw is None:
        drawn = " and ".join(
            repr(name) for name in names() if find_spec(name).draw is not None
        )
        raise InputError(f"out is {str(path)!r}: only games {drawn} can be drawn")
    if path.suffix.lower() not in (".gif", ".png"):
        raise InputError(f"out is {str(path)!r}: a name in .gif or .png is needed")
    check_installed("plot", "matplotlib", "PIL")
    check_file("out", path)
    path.parent.mkdir(parents=True, exist_ok=True)


def _game(
    console: Console,
    env: Environment,
    words: View,
    table: Sequence[Player],
    seed: int,
    show: bool,
) -> Iterator[Step]:
    """Plays until the environment says that the episode is over."""
    reset_key, key = jax.random.split(jax.random.key(seed))
    state, timestep = jax.jit(env.reset)(reset_key)
    advance = jax.jit(env.step)
    memories = [player.memory for player in table]
    number = 0
    while not timestep.last:
        number += 1
        if show and words.is_map and console.is_terminal:
            console.clear()  # one board in the place of another moves
        console.print(f"\nstep {number}")
        if show:
            console.print(shown(words, state))
        key, step_key, *keys = jax.random.split(key, 2 + len(table))
        actions = []
        for seat, player in enumerate(table):
            action, memories[seat] = player.act(
                keys[seat], state, timestep.observation, memories[seat]
            )
            actions.append(action)
        before, action = state, np.stack(actions)
        state, timestep = advance(step_key, before, jnp.asarray(action))
        yield Step(before, action, np.asarray(timestep.reward), state)


def _outcome(words: View, table: Sequence[Player], step: Step) -> Text:
    said = [
        words.say(seat, step.before, action) for seat, action in enumerate(step.action)
    ]
    width = max(map(len, said))
    cells = [
        f"{act:<{width}}  {_signed(reward):>6}"
        for act, reward in zip(said, step.reward, strict=True)
    ]
    return _lines(words, table, cells)


def _totals(words: View, table: Sequence[Player], steps: Sequence[Step]) -> Text:
    total = np.stack([step.reward for step in steps]).sum(0, dtype=np.float64)
    cells = [
        f"{_signed(reward):>7} in all, {_signed(reward / len(steps))} per step"
        for reward in total
    ]
    return Text(f"\nafter {counted(len(steps), 'step')}\n") + _lines(
        words, table, cells
    )


def _lines(words: View, table: Sequence[Player], cells: Sequence[str]) -> Text:
    """One line per seat, after its name."""
    width = max(len(player.name) for player in table)
    text = Text()
    for seat, (player, cell) in enumerate(zip(table, cells, strict=True)):
        text.append("\n" if seat else "")
        text.append(words.seats[seat], f"bold {seat_colour(seat)}")
        text.append(f" {player.name:<{width}}  {cell}")
    return text


def _signed(number: float) -> str:
    rounded = round(float(number), 3)
    return f"{rounded:+g}" if rounded else "0"


def _draw(
    path: Path,
    spec: EnvSpec,
    env: Environment,
    table: Sequence[Player],
    steps: Sequence[Step],
) -> None:
    assert spec.draw is not None  # `_check_out` has refused what cannot be drawn
    states = [steps[0].before, *(step.after for step in steps)]
    reward = np.stack([step.reward for step in steps])
    states = jax.tree.map(lambda *moments: np.stack(moments), *states)
    players = tuple(player.name for player in table)
    reward = np.concatenate([np.zeros_like(reward[:1]), reward])
    spec.draw(path, env, states, players, reward)
