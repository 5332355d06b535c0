"""A write-ahead journal of paid answers, so that a run resumes without paying twice.

It is a file of JSON lines: one before each request is sent, with the most tokens that
it can cost; one after it has ended, with the tokens that it cost or may have cost; and
one for each answer, synced to disk before it is used:

    {"request": 0, "most_tokens": 1290}
    {"request": 0, "tokens": 41}
    {"match": 0, "seat": 1, "step": 0, "attempt": 0, "digest": ..., "answer": {...}}

A journal belongs to one evaluation or run, in which match numbers are unique, and may
be open in one process at a time.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from aajax.errors import InputError
from aajax.records import read_rows
from aajax.types import PyTree


class Place(NamedTuple):
    """Which question of an evaluation: indices from 0."""

    match: int
    seat: int
    step: int
    attempt: int


class Spent(NamedTuple):
    """Totals of requests, and of tokens that they cost or may have cost."""

    requests: int
    tokens: int


def digest(request: PyTree) -> str:
    """SHA-256 of a JSON value, the same for equal values; 64 hexadecimal digits."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """Answers by place and digest of the question, and their total cost; thread-safe.

    Questions at equal places with different digests are different, as when an
    evaluation was changed before it was resumed.
    """

    def __init__(self, path: str | Path):
        """Opens or creates a journal; its folder must exist.

        An incomplete last line, from a process that was killed while writing it, is
        removed.

        Raises:
          InputError: if a complete line is not one of a journal.
          OSError: if the file cannot be read or written.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._answers: dict[tuple[Place, str], dict] = {}
        self._costs: dict[int, int] = {}  # of requests by number, in tokens
        self._before = Spent(0, 0)  # by answers of journals that name no requests
        # Without a buffer, which would keep what a full disk did not take.
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115, see `close`
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def find(self, place: Place, request_digest: str) -> dict | None:
        """The answer to an equal question, if it was journalled."""
        with self._lock:
            return self._answers.get((place, request_digest))

    def add(
        self,
        place: Place,
        request_digest: str,
        answer: dict,
        notes: Mapping = MappingProxyType({}),
    ) -> None:
        """Journals an answer; it is on the disk when this returns.

        Args:
          place: where it was asked.
          request_digest: of what was asked.
          answer: a JSON object with a text.
          notes: further entries of the line, for whoever reads the file.

        Raises:
          OSError: if it cannot be written.
        """
        line = {
            **place._asdict(), "digest": request_digest, **notes, "answer": answer
        }  # fmt: skip
        with self._lock:
            self._write(line, durably=True)
            self._answers[place, request_digest] = answer

    def begin(self, most_tokens: int) -> int:
        """Journals a request before it is sent; it is on the disk when this returns.

        Args:
          most_tokens: that it may cost, which it counts for until it has ended.

        Returns:
          Its number.

        Raises:
          OSError: if it cannot be written.
        """
        with self._lock:
            number = len(self._costs)
            self._write({"request": number, "most_tokens": most_tokens}, durably=True)
            self._costs[number] = most_tokens
            return number

    def end(self, number: int, tokens: int) -> None:
        """Journals what the request of that number has cost.

        Where the machine fails before the line is on the disk, it counts for the most.

        Raises:
          OSError: if it cannot be written.
        """
        with self._lock:
            self._write({"request": number, "tokens": tokens}, durably=False)
            self._costs[number] = tokens

    def spent(self) -> Spent:
        """What all requests have cost, those that failed or never ended too."""
        with self._lock:
            return Spent(
                self._before.requests + len(self._costs),
                self._before.tokens + sum(self._costs.values()),
            )

    def answers(self) -> Iterator[dict]:
        """All answers, in the order in which they were journalled."""
        with self._lock:
            return iter(list(self._answers.values()))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _write(self, line: dict, durably: bool) -> None:
        """Adds a whole line, or nothing."""
        left = (json.dumps(line) + "\n").encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            while left:
                left = left[self._file.write(left) :]
            if durably:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _load(self) -> None:
        for number, row in enumerate(read_rows(self.path), start=1):
            try:
                self._read(row)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"journal is {self.path}: line {number} is none of a journal's"
                ) from error
        self._file.truncate(self.path.read_bytes().rfind(b"\n") + 1)

    def _read(self, entry: dict) -> None:
        """Takes in a line; raises ValueError, KeyError or TypeError for another."""
        if "request" in entry:
            number = _count(entry["request"])
            is_new = "most_tokens" in entry
            if is_new != (number == len(self._costs)):
                raise ValueError(number)
            self._costs[number] = _count(entry["most_tokens" if is_new else "tokens"])
            return
        place = Place(*(entry[name] for name in Place._fields))
        answer = dict(entry["answer"])
        if not isinstance(answer["text"], str):
            raise TypeError(answer)
        # Journals without requests had the cost with the answer.
        self._before = Spent(
            self._before.requests + _count(answer.get("requests", 0)),
            self._before.tokens + _count(answer.get("tokens", 0)),
        )
        self._answers[place, entry["digest"]] = answer


def _count(value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
