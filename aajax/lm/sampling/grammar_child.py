"""The program of the process that compiles regular expressions to automata.

It reads `[patterns, max_states]` as JSON, and writes for each pattern a pickle: the
fields of a `ByteAutomaton`, or what is needed instead of the pattern. To start
quickly it imports the standard library and outlines-core alone.
"""

import array
import json
import pickle
import re
import sys

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
TOO_LARGE = (
    "an automaton of at most {} states, compiled in {:g} s, is needed: shorten counted "
    "repeats, let none begin where an earlier one may still go on, and rather than \\w "
    "write [A-Za-z]"
)


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
            return TOO_LARGE
    return table, bytes(accepting)


def _closes_too_much(pattern: str) -> bool:
    """Whether a parenthesis would close the frame's: `a)(b` is no expression."""
    rest, pattern = "", re.sub(r"\\.", "-", pattern, flags=re.DOTALL)
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
