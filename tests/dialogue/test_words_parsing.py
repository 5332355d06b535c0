"""Any text at all is read, and what is written is read back, in every game."""

import ast
import os
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from aajax.dialogue.registry import make, text_specs
from aajax.envs.base import Discrete
from aajax.envs.messages import MOST_CHARS
from aajax.envs.text import quoted, trimmed
from aajax.lm.sampling.grammar import compile_grammar, matches

GAMES = tuple(text_specs())

OPTIONS = [
    *((name, {}) for name in GAMES),
    ("split", {"num_items": 2}),
    ("split", {"num_items": 4}),
    ("trust-and-split", {"messages": "hands", "num_messages": 2}),
    ("trust-and-split", {"num_messages": 0}),
    ("deal-or-no-deal", {"num_messages": 0}),
    ("public-goods", {"num_messages": 1}),
    ("public-goods", {"answers": "all_or_nothing"}),
]
KINDS = [
    (make(name, **options), kind)
    for name, options in OPTIONS
    for kind in make(name, **options).patterns
]
IDS = [f"{game.name}-{kind}-{n}" for n, (game, kind) in enumerate(KINDS)]
PIECES = ["<A>", "<B>", "Proposal:", "proposal:", "0", "7", "10", "11", " ", ", ", "\n"]
PIECES += ["hats", "Book", "balls", "pens", "ſ", "\u212a", "\x1c", "²", "é", "<", "-1"]
PIECES += ["<<message_start>>", "<<message_end>>", "rock", "Paper", "SCISSORS", "x"]
PIECES += ["<<proposal_start>>", "<<proposal_end>>", "{other}", "\u00a0", "\u0665"]
PIECES += ["<7>", "<10>", "<11>", "<07>", "<keep>", "<contribute>"]
near_misses = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
each_kind = pytest.mark.parametrize(("game", "kind"), KINDS, ids=IDS)
each_form = pytest.mark.parametrize(("game", "kind"), KINDS[:8], ids=IDS[:8])
quick = hypothesis.settings(deadline=None, max_examples=50, derandomize=True)


def check(game, kind, text):
    parsed = game.parse(kind, text)
    space = game.env.action_spaces[0]
    most = 1 if isinstance(space, Discrete) and space.num_actions == 2 else 10
    assert parsed.action.dtype == game.silent.dtype == np.int32
    assert parsed.action.shape == game.silent.shape == space.shape
    assert np.all((parsed.action >= 0) & (parsed.action <= most))
    assert np.all(parsed.action < space.num_actions)
    assert parsed.valid is matches(game.patterns[kind], trimmed(text).encode())
    assert parsed.valid == bool(re.fullmatch(game.patterns[kind], trimmed(text)))
    return parsed


@each_kind
@quick
@hypothesis.given(text=st.one_of(st.text(max_size=60), near_misses))
def test_any_text_is_read(game, kind, text):
    parsed = check(game, kind, text)
    if not parsed.valid:
        wrong = {"choice": 1, "message": 3 if game.name == "trust-and-split" else 0}
        assert np.all(parsed.action == wrong.get(kind, 0))


@each_form
@hypothesis.settings(quick, max_examples=15)
@hypothesis.given(data=st.data())
def test_text_of_the_pattern_is_valid(game, kind, data):
    text = data.draw(st.from_regex(game.patterns[kind], fullmatch=True))
    assert check(game, kind, text).valid


@each_kind
@quick
@hypothesis.given(data=st.data())
def test_what_is_said_is_read_back(game, kind, data):
    space = game.env.action_spaces[0]
    numbers = st.integers(0, space.num_actions - 1)
    if space.shape:
        numbers = st.lists(numbers, min_size=space.size, max_size=space.size)
    action = np.array(data.draw(numbers), np.int32)
    parsed = check(game, kind, game.say(kind, action))
    expected = action
    if kind == "message":
        # An environment takes of an action what it needs, or nothing where words are
        # alone.
        expected = action % 4 if game.name == "trust-and-split" else game.silent
    np.testing.assert_array_equal(parsed.action, expected)
    no_word = kind == "message" and game.name == "trust-and-split" and expected == 3
    hands = getattr(game, "messages", "") == "hands"
    assert parsed.valid is not (no_word and hands)


@each_kind
@quick
@hypothesis.given(data=st.data(), around=st.text(" \t\r\n\u00a0\u2003", max_size=4))
def test_white_space_around_is_not_judged(game, kind, data, around):
    text = data.draw(st.from_regex(game.patterns[kind], fullmatch=True))
    plain, spaced = game.parse(kind, text), game.parse(kind, f"{around}{text}{around}")
    assert plain.valid and spaced.valid
    np.testing.assert_array_equal(spaced.action, plain.action)


@quick
@hypothesis.given(text=st.text(max_size=60))
def test_what_is_quoted_is_one_line_and_can_be_undone(text):
    shown = quoted(text)
    assert shown.isprintable()
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', shown)
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert ast.literal_eval(f'"{shown}"') == text


def test_quoted():
    assert quoted('a "b"\n\\ é 你\t\x1b\u2028\ud800') == (
        r"a \"b\"\n\\ é 你\t\x1b\u2028\ud800"
    )
    assert quoted("My hand is rock. <A>") == "My hand is rock. <A>"


def test_a_text_that_is_no_unicode_is_read():
    for game, kind in KINDS:
        assert not game.parse(kind, "\ud800").valid


def seconds_used():
    """Of this process and those that it started; others may use the machine, too."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def test_patterns_compile_quickly_over_bytes():
    vocabulary = [*(bytes([byte]) for byte in range(256)), None]
    for game, kind in KINDS:
        for limit in (60.0, 61.0, 62.0):  # each anew, to be lucky once
            start = seconds_used()
            grammar, _ = compile_grammar(
                [game.patterns[kind]], vocabulary, seconds=limit
            )
            used = seconds_used() - start
            if used < 1:
                break
        assert used < 1
        assert len(grammar.next_state) < 10_000


def test_the_longest_messages_compile():
    game = make("trust-and-split", message_chars=MOST_CHARS)
    vocabulary = [bytes([byte]) for byte in range(256)]
    grammar, _ = compile_grammar(list(game.patterns.values()), vocabulary, seconds=60.0)
    assert len(grammar.next_state) > MOST_CHARS
