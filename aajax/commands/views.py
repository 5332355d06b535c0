"""How worlds look to people, and how people answer them."""

import string
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.text import Text

from aajax.envs.base import Box, Environment, MultiDiscrete
from aajax.envs.coin import CoinGame, CoinState
from aajax.envs.coin_board import board
from aajax.envs.harvest.board import board as harvest_board
from aajax.envs.harvest.env import CommonsHarvest, HarvestState
from aajax.envs.matrix import IteratedMatrixGame, MatrixState
from aajax.envs.negotiation import NegotiationGame
from aajax.envs.negotiation_words import describe
from aajax.envs.split import STOCK, Split
from aajax.envs.split_words import (
    describe_split,
    describe_to,
    describe_trust_and_split,
    symbol_names,
)
from aajax.envs.trust_and_split import TrustAndSplit, TrustAndSplitState
from aajax.errors import InputError
from aajax.types import PyTree

HARVEST_STYLES = {  # of what agents do not move, as `harvest.board` draws it
    "#": "bright_black",
    "o": "red",
    ",": "green",
    "_": "yellow",
    r"\*": "bold yellow",
}
COLOURS = ("red", "blue", "green", "magenta", "cyan", "yellow")  # of seats, in turn


class View(NamedTuple):
    """One world in words.

    Attributes:
      seats: what each seat is called.
      show: `state -> text`, all that there is, for onlookers.
      show_to: `(seat, state, observation) -> text`, what one seat may know;
        observation is f32[N, O].
      say: `(seat, state, action) -> text`, what one seat did.
      question: `(seat, state) -> text`, what one seat may answer; None where nothing
        that it does matters, and it is not asked.
      read: `(seat, state, answer) -> action`; raises InputError, for what is no answer.
      is_map: whether a terminal shows one step in the place of another.
    """

    seats: tuple[str, ...]
    show: Callable[[PyTree], Text]
    show_to: Callable[[int, PyTree, np.ndarray], Text]
    say: Callable[[int, PyTree, np.ndarray], str]
    question: Callable[[int, PyTree], str | None]
    read: Callable[[int, PyTree, str], np.ndarray]
    is_map: bool = False


def view(env: Environment) -> View:
    """The world in words.

    Raises:
      InputError: if nobody has put it into words.
    """
    if type(env) not in VIEWS:
        raise InputError(
            f"game is a {type(env).__name__}: one of "
            f"{', '.join(kind.__name__ for kind in VIEWS)} is needed, to be shown"
        )
    return VIEWS[type(env)](env)


def read_name(names: Sequence[str], answer: str) -> np.ndarray:
    """The number of a name, i32[], from the name or a beginning that no other has.

    Raises:
      InputError: if it is not, or not only, one of the names.
    """
    start = answer.strip().lower()
    lower = [name.lower() for name in names]
    found = [i for i, name in enumerate(lower) if name.startswith(start)]
    if start in lower:
        found = [lower.index(start)]
    if not start or len(found) != 1:
        raise InputError(f"answer is {answer!r}: {_either(names)} is needed")
    return np.int32(found[0])


def read_proposal(space: Box | MultiDiscrete, answer: str) -> np.ndarray:
    """How much of each item is asked for, [size], from numbers with blanks or commas.

    Raises:
      InputError: if they are not as many numbers as the action space has, and of it.
    """
    whole = isinstance(space, MultiDiscrete)
    try:
        proposal = np.array(answer.replace(",", " ").split(), np.float64)
    except ValueError:
        proposal = np.zeros(0)
    fits = proposal.shape == space.shape
    fits = fits and np.all((proposal >= 0) & (proposal <= _most(space)))
    if not fits or (whole and np.any(proposal != np.round(proposal))):
        verb = "are" if space.size > 1 else "is"
        raise InputError(f"answer is {answer!r}: {_numbers(space)} {verb} needed")
    return proposal.astype(space.dtype)


def _of_coin_game(env: CoinGame) -> View:
    letters = string.ascii_uppercase[: env.num_agents]

    def show(state: CoinState) -> Text:
        text = Text(board(env, state))
        for seat, letter in enumerate(letters):
            text.highlight_words([letter, letter.lower()], f"bold {seat_colour(seat)}")
        return text

    def show_to(seat: int, state: CoinState, observation: np.ndarray) -> Text:
        letter = letters[seat]
        return show(state).append(f"\nyou are {letter}, your coins {letter.lower()}")

    return _of_named_actions(letters, env.action_names, show, show_to)


def _of_named_actions(seats, names, show, show_to) -> View:
    """A world in which every action of every seat has a name."""
    return View(
        tuple(seats),
        show,
        show_to,
        say=lambda seat, state, action: names[int(action)],
        question=lambda seat, state: _either(names),
        read=lambda seat, state, answer: read_name(names, answer),
    )


def _of_matrix_game(env: IteratedMatrixGame) -> View:
    names, num_agents = env.action_names, env.num_agents

    def last_actions(state: MatrixState) -> list[str]:
        joint = np.unravel_index(int(state.joint) - 1, env.action_counts)
        return [names[action] for action in joint]

    def show(state: MatrixState) -> Text:
        return Text(
            "last time " + " ".join(last_actions(state)) if state.joint else "the start"
        )

    def show_to(seat: int, state: MatrixState, observation: np.ndarray) -> Text:
        if not state.joint:
            return Text("the start")
        actions = last_actions(state)
        own = f"last time {actions[seat]} from you, "
        others = [
            f"{actions[other]} from {other}"
            for other in ((seat + i) % num_agents for i in range(1, num_agents))
        ]
        return Text(own + ", ".join(others))

    def own_names(seat: int) -> tuple[str, ...]:
        return names[: env.action_counts[seat]]

    return View(
        tuple(map(str, range(num_agents))),
        show,
        show_to,
        say=lambda seat, state, action: names[int(action)],
        question=lambda seat, state: _either(own_names(seat)),
        read=lambda seat, state, answer: read_name(own_names(seat), answer),
    )


def _of_proposals(env: NegotiationGame | Split, describe_state) -> View:
    space = env.action_spaces[0]
    return View(
        tuple(map(str, range(env.num_agents))),
        show=lambda state: Text(describe_state(env, state)),
        show_to=lambda seat, state, observation: _seen(env, observation[seat]),
        say=lambda seat, state, action: " ".join(map(_number, action)),
        question=lambda seat, state: _numbers(space),
        read=lambda seat, state, answer: read_proposal(space, answer),
    )


def _of_trust_and_split(env: TrustAndSplit) -> View:
    symbols = symbol_names(env.num_symbols)
    coins = MultiDiscrete(1, 1 + STOCK)

    def listens(seat: int, state: TrustAndSplitState) -> bool:
        return not env.splits(state) and seat != int(env.speaker(state))

    def say(seat: int, state: TrustAndSplitState, action: np.ndarray) -> str:
        if env.splits(state):
            return str(int(action) % coins.num_actions)
        return "" if listens(seat, state) else symbols[int(action) % len(symbols)]

    def question(seat: int, state: TrustAndSplitState) -> str | None:
        if env.splits(state):
            return _numbers(coins)
        return None if listens(seat, state) else _either(symbols)

    def read(seat: int, state: TrustAndSplitState, answer: str) -> np.ndarray:
        if env.splits(state):
            return read_proposal(coins, answer)[0]
        return read_name(symbols, answer)

    return View(
        tuple(map(str, range(env.num_agents))),
        show=lambda state: Text(describe_trust_and_split(env, state)),
        show_to=lambda seat, state, observation: Text(describe_to(env, state, seat)),
        say=say,
        question=question,
        read=read,
    )


def _of_harvest(env: CommonsHarvest) -> View:
    letters = string.ascii_uppercase[: env.num_agents]

    def show(state: HarvestState) -> Text:
        text = Text(harvest_board(env, state))
        for things, style in HARVEST_STYLES.items():
            text.highlight_regex(things, style)
        for seat, letter in enumerate(letters):
            text.highlight_regex(rf"{letter}[\^>v<]", f"bold {seat_colour(seat)}")
        return text

    def show_to(seat: int, state: HarvestState, observation: np.ndarray) -> Text:
        return show(state).append(f"\nyou are {letters[seat]}")

    words = _of_named_actions(letters, env.action_names, show, show_to)
    return words._replace(is_map=True)


VIEWS: dict[type, Callable[[Environment], View]] = {
    CoinGame: _of_coin_game,
    CommonsHarvest: _of_harvest,
    IteratedMatrixGame: _of_matrix_game,
    NegotiationGame: lambda env: _of_proposals(env, describe),
    Split: lambda env: _of_proposals(env, describe_split),
    TrustAndSplit: _of_trust_and_split,
}


def seat_colour(seat: int) -> str:
    """The colour of a seat in a terminal; the seventh has that of the first again."""
    return COLOURS[seat % len(COLOURS)]


def _either(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _numbers(space: Box | MultiDiscrete) -> str:
    count = ("a", "two", "three", "four")[space.size - 1]
    kind = "whole number" if isinstance(space, MultiDiscrete) else "number"
    plural = "s" if space.size > 1 else ""
    return f"{count} {kind}{plural} from 0 to {_most(space):g}"


def _most(space: Box | MultiDiscrete) -> float:
    return space.high if isinstance(space, Box) else space.num_actions - 1


def _seen(env: NegotiationGame | Split, observation: np.ndarray) -> Text:
    return Text(
        "\n".join(
            f"{name.replace('_', ' '):<19}" + _row(numbers)
            for name, numbers in env.read(observation).items()
        )
    )


def _row(numbers: np.ndarray) -> str:
    return "".join(f"{_number(number):>6}" for number in numbers)


def _number(number: float) -> str:
    # Rounded first: an observation's own units may leave 0 a little off.
    return f"{round(float(number), 3) + 0.0:.3g}"
