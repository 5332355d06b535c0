"""What was said and done at a table: the record of a match, and files of records."""

import dataclasses
import gzip
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aajax.dialogue.players.base import Tokens
from aajax.errors import InputError
from aajax.files import to_json, written

# What reading a record raises that is none of a match.
_FAULTS = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a seat was told, and what it answered.

    Attributes:
      step: from 0.
      text: told.
      kind: of the answer; None where the seat only listened.
      answer: as it was written; None where the seat only listened.
      valid: whether the answer was of the form that was asked for.
      tries: answers that were thrown away before, plus 1; 0 where it only listened.
      tokens: of a language model whose tokens are known.
    """

    step: int
    text: str
    kind: str | None = None
    answer: str | None = None
    valid: bool = True
    tries: int = 0
    tokens: Tokens | None = None


@dataclasses.dataclass(frozen=True)
class Match:
    """A whole match of N seats, T rounds and S steps.

    Attributes:
      game: its name.
      number: of the match, unique within an iteration or a league.
      group: matches of one group have the same environment seed.
      world_seed: of the environment's chance.
      players: name of who sat in each seat.
      adapters: which adapter spoke in each seat, −1 for none; in training 0 for who
        learns, and N for the past self of N iterations.
      turns: [seat][step].
      actions: [step][seat], as the environment took them, a number or a list of
        numbers; of steps that are words alone too, where the environment took none.
      rewards: [round][seat], raw points.
      facts: [round], the environment's own numbers at the start of a round by name,
        such as values or hands.
      advantages, credits: [round][seat], where a learner computed them, else None;
        None for a seat that is not trained.
      trained: [seat], whether a learner learned from it.
    """

    game: str
    number: int
    group: int
    env_seed: int
    players: tuple[str, ...]
    adapters: tuple[int, ...]
    turns: tuple[tuple[Turn, ...], ...]
    actions: list
    rewards: list[list[float]]
    facts: list[dict[str, list]] = dataclasses.field(default_factory=list)
    advantages: list[list[float]] | None = None
    credits: list[list[float]] | None = None
    trained: tuple[bool, ...] = ()


def save_matches(file: Path, matches: Iterable[Match]) -> None:
    """One line of JSON each, compressed; floats are exact.

    The file appears when it is whole, and is the same for the same matches. What is NaN
    or infinite is null in it, and NaN when it is read again.

    Raises:
      OSError: if it cannot be written.
    """
    with (
        written(file) as target,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0) as lines,
    ):
        for match in matches:
            lines.write((to_json(dataclasses.asdict(match)) + "\n").encode())


def load_matches(file: Path) -> Iterator[Match]:
    """The matches of `save_matches`.

    Raises:
      InputError: for a line that is no match, and for a file that is none of these or
        was cut short.
    """
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for number in itertools.count(1):
            try:
                line = next(lines, None)
            except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
                raise InputError(
                    f"file is {file}: a whole file of matches is needed ({error})"
                ) from error
            if line is None:
                return
            try:
                match = _match(json.loads(line))
            except _FAULTS as error:
                raise InputError(
                    f"file is {file}: line {number} is no match ({error!r})"
                ) from error
            yield match


def _match(record: dict) -> Match:
    turns = tuple(tuple(map(_turn, seat)) for seat in record.pop("turns"))
    for name in ("players", "adapters", "trained"):
        record[name] = tuple(record[name])
    if "world_seed" in record:  # as the files of earlier versions call it
        record["env_seed"] = record.pop("world_seed")
    record["rewards"] = [_numbers(row) for row in record["rewards"]]
    return Match(turns=turns, **record)


def _turn(record: dict) -> Turn:
    tokens = record.pop("tokens")
    # `asdict` turns a named tuple into a dictionary or keeps it as a list.
    if isinstance(tokens, dict):
        tokens = Tokens(**tokens)
    elif tokens is not None:
        tokens = Tokens(*tokens)
    if tokens is not None:
        tokens = tokens._replace(log_prob=_numbers(tokens.log_prob))
    return Turn(tokens=tokens, **record)


def _numbers(row: Sequence[float | None]) -> list[float]:
    """With NaN in the place of null."""
    return [math.nan if x is None else x for x in row]
