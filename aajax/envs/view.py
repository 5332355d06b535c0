"""Environments in the terminal: what people see, and how they enter actions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from aajax.envs.base import ActionSpace, Box, Discrete, Environment
from aajax.errors import InputError
from aajax.types import PyTree

COLOURS = ("red", "blue", "green", "magenta", "cyan", "yellow")  # of seats, in turn


class View(NamedTuple):
    """Functions that show a game to people and parse what they type.

    Attributes:
      seats: name of each seat.
      show: `state -> text`, the whole state, for spectators.
      show_to: `(seat, state, observation) -> text`, what one seat may know;
        observation is f32[N, ...].
      say: `(seat, state, action) -> text`, describes a seat's action.
      question: `(seat, state) -> text`, the accepted answers; None if the seat's action
        has no effect in this step, so that it is not asked.
      read: `(seat, state, answer) -> action`; raises InputError for invalid answers.
      is_map: whether `show` draws a map, which is redrawn in place at each step.
      styles: regular expression → rich style, applied to the output of `show`.
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
    """The view of an environment without one of its own: prints observations."""

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
    """A view for environments whose actions have names."""
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
    """A view for games of proposals; shows the observation's parts by `env.read`."""
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
    """The colour of a seat in a terminal; six colours repeat."""
    return COLOURS[seat % len(COLOURS)]


def read_name(names: Sequence[str], answer: str) -> np.ndarray:
    """The index, i32[], of the name that `answer` is or abbreviates.

    Raises:
      InputError: if `answer` is the start of no name, or of several.
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
    """An action, parsed from numbers separated by spaces or commas.

    Raises:
      InputError: if there are not as many as the action space has, or one is outside.
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
    """Joins names as "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def numbers(space: ActionSpace) -> str:
    """A description of what `read_numbers` accepts."""
    size = _size(space)
    count = ("a", "two", "three", "four")[size - 1] if size <= 4 else str(size)
    kind = "number" if isinstance(space, Box) else "whole number"
    plural = "s" if size > 1 else ""
    low = space.low if isinstance(space, Box) else 0
    return f"{count} {kind}{plural} from {low:g} to {_most(space):g}"


def number(x: float) -> str:
    """Formats with three digits, after rounding off errors of observation scaling."""
    return f"{round(float(x), 3) + 0.0:.3g}"


def _size(space: ActionSpace) -> int:
    return 1 if isinstance(space, Discrete) else space.size


def _most(space: ActionSpace) -> float:
    return space.high if isinstance(space, Box) else space.num_actions - 1


def _row(part: np.ndarray) -> str:
    return "".join(f"{number(x):>6}" for x in part)
