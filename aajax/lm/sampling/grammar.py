"""Constrained decoding: regular expressions as finite automata over tokens.

A pattern is compiled to an automaton over bytes and lifted to the tokens of a
vocabulary. A token is a function from states to states; tokens with equal functions
share a column of the transition table. The table is a device array, so that logits are
masked within the compiled decoding loop. States from which no token sequence leads to
an accepting state are left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from aajax.errors import InputError
from aajax.lm.sampling.grammar_compile import byte_automata
from aajax.types import Array

FREE = 0  # the state in which everything is allowed
_MAX_STATES, _SECONDS = 20_000, 10.0
_FAR = np.iinfo(np.int32).max // 2


class Grammar(NamedTuple):
    """A transition table for any number of patterns, each with its own start state.

    Attributes:
      next_state: i16[S, C] or i32[S, C], the next state for each state and class of
        tokens, −1 if not allowed.
      token_class: i32[V], the class of each token.
      accepting: bool[S], whether the text may end there.
      distance: i32[S], the least number of tokens to an accepting state.
    """

    next_state: Array
    token_class: Array
    accepting: Array
    distance: Array


def compile_grammar(
    patterns: Sequence[str],
    token_bytes: Sequence[bytes | None],
    *,
    max_states: int = _MAX_STATES,
    seconds: float = _SECONDS,
) -> tuple[Grammar, tuple[int, ...]]:
    """Compiles patterns to one table, and returns it with each pattern's start state.

    In state `FREE` every token with bytes is allowed and leads to `FREE`, so that
    sequences with and without a pattern share a batch.

    Args:
      patterns: regular expressions in the syntax of Rust's regex crate, which match
        the whole text; `.` excludes newlines. Without lookaround, backreferences, \\b.
      token_bytes: what each of V tokens spells, V being that of the logits; None for
        special tokens and for padding, which are never allowed as text. A token that
        stops sequences should be None, or a pattern may rely on it.
      max_states: that all patterns together may have, over bytes.
      seconds: that their compilation over bytes may take.

    Raises:
      InputError: naming the pattern that is not a regular expression, is too large, or
        cannot be spelled with the tokens.
    """
    automata = byte_automata(tuple(patterns), max_states, seconds)
    table, accepting, starts = _stack(automata)
    if len(table) > max_states + 1:
        raise InputError(
            f"max_states is {max_states}: {len(table) - 1} are needed for all patterns"
        )
    table, token_class = _lift(table, token_bytes)
    distance = _distance(table, accepting)
    for index, start in enumerate(starts):
        if distance[start] == _FAR:
            raise InputError(
                f"patterns[{index}] is {patterns[index]!r}: tokens that can spell it "
                "are needed"
            )
    table = np.where(distance[table] < _FAR, table, -1)
    kept = _reachable(table, starts)
    number = np.full(len(table) + 1, -1)  # the last one is that of −1
    number[:-1][kept] = np.arange(kept.sum())
    table, same = np.unique(number[table[kept]], axis=1, return_inverse=True)
    small = len(table) <= np.iinfo(np.int16).max
    grammar = Grammar(
        next_state=jnp.asarray(table, jnp.int16 if small else jnp.int32),
        token_class=jnp.asarray(same.reshape(-1)[token_class], jnp.int32),
        accepting=jnp.asarray(accepting[kept]),
        distance=jnp.asarray(distance[:-1][kept], jnp.int32),
    )
    return grammar, tuple(int(number[start]) for start in starts)


def allowed_tokens(
    grammar: Grammar, state: Array, stop: Array, remaining: Array | None = None
) -> Array:
    """The logits mask: which tokens are allowed next.

    With `remaining`, tokens are allowed only if the pattern can still be completed
    within the budget, unless it cannot be in any case; state `FREE` is not restricted.

    Args:
      grammar: of C classes and V tokens.
      state: i32[...]; a negative one allows no token.
      stop: bool[V] or bool[..., V], tokens that end a sequence, allowed where the text
        may end and nowhere else.
      remaining: i32[...], tokens that are left, the stop token included.

    Returns:
      bool[..., V].
    """
    known, state = state >= 0, jnp.maximum(state, 0)
    following = grammar.next_state[state].astype(jnp.int32)
    allowed = (following >= 0) & known[..., None]
    if remaining is not None:
        needed = grammar.distance[jnp.maximum(following, 0)] + 2  # itself, and a stop
        hopeless = grammar.distance[state] + 1 > remaining
        exempt = hopeless | (state == FREE)
        allowed &= (needed <= remaining[..., None]) | exempt[..., None]
    text = jnp.take(allowed, grammar.token_class, axis=-1)
    end = grammar.accepting[state] & known
    return jnp.where(jnp.broadcast_to(stop, text.shape), end[..., None], text)


def next_state(grammar: Grammar, state: Array, token: Array) -> Array:
    """The state after a token.

    Args:
      grammar: of V tokens.
      state: i32[...].
      token: i32[...], −1 for padding, which leaves the state as it is.

    Returns:
      i32[...], −1 after a token that was not allowed as text, such as a stop token;
      `FREE` after any, once `FREE`.
    """
    column = grammar.token_class[jnp.maximum(token, 0)]
    following = grammar.next_state[jnp.maximum(state, 0), column].astype(jnp.int32)
    stays = (state <= FREE) | (token < 0)
    return jnp.where(stays, state, following)


def matches(pattern: str, data: bytes) -> bool:
    """Whether the pattern matches all of `data`, which must be UTF-8.

    Raises:
      InputError: as in `compile_grammar`.
    """
    (automaton,) = byte_automata((pattern,), _MAX_STATES, _SECONDS)
    state = 0
    for byte in data:
        state = automaton.table[256 * state + byte]
        if state < 0:
            return False
    return bool(automaton.accepting[state])


def _stack(automata) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """One table i32[S, 256] for all, `FREE` first, bool[S], and the start states."""
    tables, ends, starts = [np.zeros((1, 256), np.int32)], [np.ones(1, bool)], []
    size = 1
    for table, accepting in automata:
        own = np.frombuffer(table, np.int32).reshape(-1, 256)
        tables.append(np.where(own < 0, -1, own + size))
        ends.append(np.frombuffer(accepting, np.uint8).astype(bool))
        starts.append(size)
        size += len(own)
    return np.concatenate(tables), np.concatenate(ends), starts


def _lift(
    table: np.ndarray, token_bytes: Sequence[bytes | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Lifts a table over bytes to tokens, [S, C], and returns each token's class, [V].

    All tokens are processed together, byte by byte. Prefixes with the same transition
    function are merged at once, so that the work grows with the number of classes
    rather than with the vocabulary.
    """
    # The last row is for −1, as what it indexes.
    table = np.concatenate([table, np.full((1, 256), -1, np.int32)])
    columns, byte_class = np.unique(table, axis=1, return_inverse=True)
    columns, byte_class = np.ascontiguousarray(columns.T), byte_class.reshape(-1)
    texts = [text or b"" for text in token_bytes]
    length = np.array([len(text) for text in texts])
    first = np.cumsum(length) - length
    letters = byte_class[np.frombuffer(b"".join(texts), np.uint8)]

    functions, number, known = [], {}, {}

    def index(function: np.ndarray) -> int:
        image = function.tobytes()
        if image not in number:
            number[image] = len(functions)
            functions.append(np.frombuffer(image, np.int32))
        return number[image]

    nothing = index(np.full(len(table), -1, np.int32))
    identity = np.arange(len(table), dtype=np.int32)
    identity[-1] = -1
    token_class = np.where(length > 0, index(identity), nothing)
    for place in range(length.max(initial=0)):
        (tokens,) = np.nonzero(length > place)
        pairs = token_class[tokens] * len(columns) + letters[first[tokens] + place]
        pairs, inverse = np.unique(pairs, return_inverse=True)
        for pair in pairs:
            if pair not in known:
                function, letter = divmod(int(pair), len(columns))
                known[pair] = index(columns[letter][functions[function]])
        token_class[tokens] = np.array([known[pair] for pair in pairs])[inverse]
    used, token_class = np.unique(token_class, return_inverse=True)
    return np.stack([functions[i][:-1] for i in used], axis=1), token_class


def _distance(table: np.ndarray, accepting: np.ndarray) -> np.ndarray:
    """i32[S + 1], the fewest tokens to an accepting state, `_FAR` for none and −1."""
    distance = np.where(accepting, 0, _FAR).astype(np.int32)
    distance = np.append(distance, np.int32(_FAR))  # that of −1
    (open_,) = np.nonzero(~accepting)
    step = 0
    while len(open_):
        found = (distance[table[open_]] == step).any(1)
        if not found.any():
            break
        step += 1
        distance[open_[found]] = step
        open_ = open_[~found]
    return distance


def _reachable(table: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """bool[S], the states that some text leads to from a start, and `FREE`."""
    seen = np.zeros(len(table) + 1, bool)  # the last one is that of −1
    newest = np.unique([FREE, *starts])
    while len(newest):
        seen[newest] = True
        newest = np.unique(table[newest])
        newest = newest[~seen[newest] & (newest >= 0)]
    return seen[:-1]
