"""How environments look to people, and how people answer them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from aajax.envs.base import ActionSpace, Box, Discrete, Environment
from aajax.errors import InputError
from aajax.types import PyTree

COLOURS = ("red", "blue", "green", "magenta", "cyan", "yellow")  # of seats, in turn


class View(NamedTuple):
    """An environment in words, for people.

    Attributes:
      seats: what each seat is called.
      show: `state -> text`, all that there is, for onlookers.
      show_to: `(seat, state, observation) -> text`, what one seat may know;
        observation is f32[N, ...].
      say: `(seat, state, action) -> text`, what one seat did.
      question: `(seat, state) -> text`, what one seat may answer; None where nothing
        that it does matters, and it is not asked.
      read: `(seat, state, answer) -> action`; raises InputError, for what is no answer.
      is_map: whether a terminal shows one step in the place of another.
      styles: regular expression → style of rich, in what `show` draws.
    """

    seats: tuple[str, ...]
    show: Callable[[PyTree], str]
    show_to: Callable[[int, PyTree, np.ndarray], str]
    say: Callable[[int, PyTree, np.ndarray], str]
    question: Callable[[int, PyTree], str | None]
    read: Callable[[int, PyTree, str], np.ndarray]
    is_map: bool = False
    styles: tuple[tuple[str, str], ...] = ()


def plain_view(env: Environment) -> View:
    """Of an environment that has no view of its own: observations as they are."""

    def rows(observation: np.ndarray) -> str:
        return _row(np.ravel(observation)).strip()

    return View(
        tuple(map(str, range(env.num_agents))),
        show=lambda state: "",
        show_to=lambda seat, state, observation: rows(observation[seat]),
        say=lambda seat, state, action: " ".join(map(number, np.ravel(action))),
        question=lambda seat, state: numbers(env.action_spaces[seat]),
        read=lambda seat, state, answer: read_numbers(env.action_spaces[seat], answer),
    )


def named_actions_view(
    seats: Sequence[str],
    names: Sequence[str],
    show: Callable[[PyTree], str],
    show_to: Callable[[int, PyTree, np.ndarray], str],
) -> View:
    """Of an environment in which every action of every seat has a name."""
    return View(
        tuple(seats),
        show,
        show_to,
        say=lambda seat, state, action: names[int(action)],
        question=lambda seat, state: either(names),
        read=lambda seat, state, answer: read_name(names, answer),
    )


class Proposals(Environment, Protocol):
    """A game whose `read` names the parts of an observation."""

    def read(self, observation: Any) -> Mapping[str, Any]: ...


G = TypeVar("G", bound=Proposals)


def proposals_view(env: G, describe: Callable[[G, Any], str]) -> View:
    """Of a game of proposals, whose `env.read` names the parts of an observation."""
    space = env.action_spaces[0]

    def seen(observation: np.ndarray) -> str:
        return "\n".join(
            f"{name.replace('_', ' '):<19}" + _row(part)
            for name, part in env.read(observation).items()
        )

    return View(
        tuple(map(str, range(env.num_agents))),
        show=lambda state: describe(env, state),
        show_to=lambda seat, state, observation: seen(observation[seat]),
        say=lambda seat, state, action: " ".join(map(number, action)),
        question=lambda seat, state: numbers(space),
        read=lambda seat, state, answer: read_numbers(space, answer),
    )


def seat_colour(seat: int) -> str:
    """The colour of a seat in a terminal; the seventh has that of the first again."""
    return COLOURS[seat % len(COLOURS)]


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
        raise InputError(f"answer is {answer!r}: {either(names)} is needed")
    return np.asarray(found[0], np.int32)


def read_numbers(space: ActionSpace, answer: str) -> np.ndarray:
    """An action, from its numbers with blanks or commas between them.

    Raises:
      InputError: if they are not as many numbers as the action space has, and of it.
    """
    whole = not isinstance(space, Box)
    try:
        proposal = np.array(answer.replace(",", " ").split(), np.float64)
    except ValueError:
        proposal = np.zeros(0)
    size = _size(space)
    fits = proposal.shape == (size,)
    low = space.low if isinstance(space, Box) else 0
    fits = fits and np.all((proposal >= low) & (proposal <= _most(space)))
    if not fits or (whole and np.any(proposal != np.round(proposal))):
        verb = "are" if size > 1 else "is"
        raise InputError(f"answer is {answer!r}: {numbers(space)} {verb} needed")
    return proposal.astype(space.dtype).reshape(space.shape)


def either(names: Sequence[str]) -> str:
    """Names in a sentence: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def numbers(space: ActionSpace) -> str:
    """What `read_numbers` accepts, in words."""
    size = _size(space)
    count = ("a", "two", "three", "four")[size - 1] if size <= 4 else str(size)
    kind = "number" if isinstance(space, Box) else "whole number"
    plural = "s" if size > 1 else ""
    low = space.low if isinstance(space, Box) else 0
    return f"{count} {kind}{plural} from {low:g} to {_most(space):g}"


def number(x: float) -> str:
    """With three digits; what is off by an observation's own units is rounded first."""
    return f"{round(float(x), 3) + 0.0:.3g}"


def _size(space: ActionSpace) -> int:
    return 1 if isinstance(space, Discrete) else space.size


def _most(space: ActionSpace) -> float:
    return space.high if isinstance(space, Box) else space.num_actions - 1


def _row(part: np.ndarray) -> str:
    return "".join(f"{number(x):>6}" for x in part)
