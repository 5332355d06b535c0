"""Records of matches (prompts, answers, actions, rewards), and files of them."""

import dataclasses
import gzip
import itertools
import json
import math
import re
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
    """A seat's prompt and answer in one step.

    Attributes:
      step: from 0.
      text: the prompt.
      kind: kind of answer; None if the seat was not asked.
      answer: verbatim; None if the seat was not asked.
      valid: whether the answer was well-formed.
      tries: number of answers, rejected ones included; 0 if the seat was not asked.
      tokens: of a local language model; None for other players.
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
    """The record of a match of N seats, T rounds and S steps.

    Attributes:
      game: its name.
      number: of the match, unique within an iteration or a league.
      group: id shared by matches with the same environment seed.
      env_seed: seed of the environment's randomness.
      players: name of the player in each seat.
      adapters: LoRA adapter of each seat, −1 for none; in training 0 is the learner's,
        and i > 0 its snapshot after i iterations (a past self).
      turns: [seat][step].
      actions: [step][seat], a number or a list of numbers; also of steps of talk, in
        which the environment takes no step.
      rewards: [round][seat], unscaled points.
      facts: [round], values that the environment drew for a round, by name, such as
        item values or hands.
      advantages, credits: [round][seat], as computed by the learner, None if it did
        not; None for a seat that is not trained.
      trained: [seat], whether the seat was trained on.
      member: number of the member of a population that it was played by.
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
    member: int = 0


def save_matches(file: Path, matches: Iterable[Match]) -> None:
    """Writes matches as gzipped JSON lines, atomically; floats are exact.

    Equal matches give equal bytes. NaN and infinities are stored as null, and loaded as
    NaN.

    Raises:
      OSError: if it cannot be written.
    """
    with (
        written(file) as target,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0) as lines,
    ):
        for match in matches:
            lines.write((to_json(dataclasses.asdict(match)) + "\n").encode())


def match_files(run: Path) -> dict[int, list[Path]]:
    """Files of the matches that a run recorded, by iteration, one of each process."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in (run / "matches").glob("*"):
        name = re.fullmatch(r"iteration_(\d+)(?:_(\d+))?\.jsonl\.gz", path.name)
        if name:
            found.setdefault(int(name[1]), []).append((int(name[2] or 0), path))
    return {
        number: [path for _, path in sorted(files)]
        for number, files in sorted(found.items())
    }


def load_matches(file: Path) -> Iterator[Match]:
    """Loads the matches of a file that `save_matches` wrote.

    Raises:
      InputError: if the file is of another kind or truncated, or a line is not a match.
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
    """Numbers with NaN in place of null."""
    return [math.nan if x is None else x for x in row]
