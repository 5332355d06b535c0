"""Regular expressions as automata over bytes, compiled in a process of their own.

The compiler behind outlines-core cannot be interrupted, and an ambiguous expression
such as `[ab]*a[ab]{40}` takes it more time and memory than there is. A child process
can be ended. To start quickly, this file, which is also the child's program, imports
the standard library and outlines-core alone.
"""

import array
import functools
import io
import json
import pickle
import re
import subprocess
import sys
from typing import NamedTuple

from aajax.errors import InputError

# What is compiled instead of a pattern, for two habits of the compiler.
# It prefers one match to another, and forgets the longer where the shorter one comes
# first: `a|ab` would be `a`. Matches that end with the text know no preference: \z.
# It prepares to search as well, for matches that start anywhere, which squares the
# states of `[^<]{0,500}<` and has no bound for `m[^<]{0,500}<`. The empty match after
# the first byte comes before all those that start later, so that they are dropped.
_FRAME = r"a(?:bc(?:%s)\z|)"
_FRONT = b"abc"

_NOT_A_REGEX = (
    "a regular expression in the syntax of Rust's regex crate, without lookaround, "
    "backreferences and \\b, is needed"
)
_NO_MATCH = (
    "an expression of which every part can match is needed (the whole text is matched, "
    "without ^ and $)"
)
_TOO_LARGE = (
    "an automaton of at most {} states, compiled in {:g} s, is needed: shorten counted "
    "repeats, let none begin where an earlier one may still go on, and rather than \\w "
    "write [A-Za-z]"
)


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
    command = [sys.executable, "-P", __file__]
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
    results += [_TOO_LARGE] * (len(patterns) - len(results))
    for index, (pattern, result) in enumerate(zip(patterns, results, strict=True)):
        if isinstance(result, str):
            needed = result.format(max_states, seconds)
            raise InputError(f"patterns[{index}] is {pattern!r}: {needed}")
    return tuple(ByteAutomaton(*result) for result in results)


def _read(output: bytes) -> list[tuple | str]:
    """What the child wrote, up to where it was ended."""
    stream, results = io.BytesIO(output), []
    while True:
        try:
            results.append(pickle.load(stream))
        except (EOFError, pickle.UnpicklingError):
            return results


def _compile(pattern: str, max_states: int) -> tuple | str:
    """The fields of a `ByteAutomaton`, or what is needed instead of the pattern."""
    import outlines_core

    if _closes_too_much(pattern):
        return _NOT_A_REGEX
    alphabet = {bytes([byte]): [byte] for byte in range(256)}
    vocabulary = outlines_core.Vocabulary(256, alphabet | {_FRONT: [257]})
    try:
        index = outlines_core.Index(_FRAME % pattern, vocabulary)
    except ValueError as error:  # UnicodeEncodeError, for a lone surrogate, is one too
        return _NO_MATCH if "no transitions" in str(error) else _NOT_A_REGEX
    start = index.get_next_state(index.get_initial_state(), 257)
    number, order = {start: 0}, [start]
    table, accepting = array.array("i"), bytearray()
    for state in order:
        row = [-1] * 256
        for byte in index.get_allowed_tokens(state):
            if byte < 256:
                target = index.get_next_state(state, byte)
                if target not in number:
                    number[target] = len(order)
                    order.append(target)
                row[byte] = number[target]
        table.extend(row)
        accepting.append(index.is_final_state(state))
        if len(order) > max_states:
            return _TOO_LARGE
    return table, bytes(accepting)


def _closes_too_much(pattern: str) -> bool:
    """Whether a parenthesis would close the frame's: `a)(b` is no expression."""
    rest, pattern = None, re.sub(r"\\.", "-", pattern, flags=re.DOTALL)
    while rest != pattern:  # classes may hold classes
        rest, pattern = pattern, re.sub(r"\[\^?\]?[^\[\]]*\]", "-", pattern)
    depth = 0
    for character in rest:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return True
    return False


def _main() -> None:
    patterns, max_states = json.load(sys.stdin)
    for pattern in patterns:
        pickle.dump(_compile(pattern, max_states), sys.stdout.buffer)
        sys.stdout.buffer.flush()  # before the next one takes too long


if __name__ == "__main__":
    _main()
