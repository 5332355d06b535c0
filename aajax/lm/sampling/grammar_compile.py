"""Regular expressions as automata over bytes, compiled in a process of their own.

The compiler behind outlines-core cannot be interrupted, and an ambiguous expression
such as `[ab]*a[ab]{40}` takes it more time and memory than there is. A child process
can be ended; its program is grammar_child.py.
"""

import array
import functools
import io
import json
import pickle
import subprocess
import sys
from typing import NamedTuple

from aajax.errors import InputError
from aajax.lm.sampling import grammar_child


class ByteAutomaton(NamedTuple):
    """A deterministic automaton over bytes, which starts in state 0.

    Attributes:
      table: i32[S, 256] flattened, the next state, −1 where no text goes on so.
      accepting: u8[S], whether a text may end there.
    """

    table: array.array
    accepting: bytes


@functools.lru_cache(maxsize=64)
def byte_automata(
    patterns: tuple[str, ...], max_states: int, seconds: float
) -> tuple[ByteAutomaton, ...]:
    """For each pattern the automaton of the UTF-8 texts that it matches as a whole.

    Args:
      patterns: in the syntax of Rust's regex crate; `.` excludes newlines.
      max_states: that each automaton may have.
      seconds: that all of them may take, the start of the child included.

    Raises:
      InputError: naming the pattern that is not a regular expression, has a part that
        can never match, or takes more than `max_states` or `seconds`.
      RuntimeError: if the child fails, as without outlines-core.
    """
    command = [sys.executable, "-P", grammar_child.__file__]
    request = json.dumps([patterns, max_states]).encode()
    try:
        child = subprocess.run(
            command, input=request, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as timeout:
        output = timeout.stdout or b""
    else:
        output = child.stdout
        if child.returncode > 0:
            reason = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"the compiler of grammars failed: {reason}")
    results = _read(output)
    # A child that was ended, or overflowed its stack, leaves no word on its pattern.
    results += [grammar_child.TOO_LARGE] * (len(patterns) - len(results))
    made = []
    for index, (pattern, result) in enumerate(zip(patterns, results, strict=True)):
        if isinstance(result, str):
            needed = result.format(max_states, seconds)
            raise InputError(f"patterns[{index}] is {pattern!r}: {needed}")
        made.append(ByteAutomaton(*result))
    return tuple(made)


def _read(output: bytes) -> list[tuple | str]:
    """What the child wrote, up to where it was ended."""
    stream, results = io.BytesIO(output), []
    while True:
        try:
            results.append(pickle.load(stream))
        except (EOFError, pickle.UnpicklingError):
            return results
