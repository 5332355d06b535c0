"""A journal of paid answers, so that a crashed evaluation resumes without paying twice.

One line of JSON for each answer, on the disk before it is used. A journal belongs to
one evaluation, whose matches have numbers of their own, and to one process at a time.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from aajax.errors import InputError
from aajax.types import PyTree


class Place(NamedTuple):
    """Where in an evaluation something was asked, all counted from 0."""

    match: int
    seat: int
    step: int
    attempt: int


def digest(request: PyTree) -> str:
    """SHA-256 of a JSON value, the same for equal values; 64 hexadecimal digits."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """Answers by place and by digest of what was asked.

    Equal places with unequal digests are different questions, as where an evaluation
    was changed in between. Any number of threads may read and add.
    """

    def __init__(self, path: str | Path):
        """Opens a journal, or begins one; its folder must be there.

        A last line without an end was being written when the process died: it is taken
        off the file, and what it was to answer counts as not asked.

        Raises:
          InputError: for a whole line that is none of a journal's.
          OSError: if the file cannot be read or written.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._answers: dict[tuple[Place, str], dict] = {}
        self._file = open(self.path, "a+b")  # noqa: SIM115, closed by `close`
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
        self, place: Place, request_digest: str, answer: dict, notes: Mapping = {}
    ) -> None:
        """Journals an answer; it is on the disk when this returns.

        Args:
          place: where it was asked.
          request_digest: of what was asked.
          answer: a JSON object.
          notes: further entries of the line, for whoever reads the file.
        """
        line = {
            **place._asdict(), "digest": request_digest, **notes, "answer": answer
        }  # fmt: skip
        data = (json.dumps(line) + "\n").encode()
        with self._lock:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._answers[place, request_digest] = answer

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

    def _load(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                place = Place(*(entry[name] for name in Place._fields))
                self._answers[place, entry["digest"]] = dict(entry["answer"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"journal is {self.path}: line {number} is none of a journal's"
                ) from error
            whole += len(line)
        self._file.truncate(whole)
