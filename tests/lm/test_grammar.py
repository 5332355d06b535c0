"""Grammars over tokens, beside the regular expressions that they came from."""

import itertools
import random
import re
import subprocess
import sys
import time

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import llguidance
import numpy as np
import pytest

from aajax.lm.sampling import grammar_child
from aajax.lm.sampling.grammar import (
    FREE,
    allowed_tokens,
    compile_grammar,
    matches,
    next_state,
)
from aajax.lm.sampling.grammar_compile import byte_automata

BYTES = [bytes([byte]) for byte in range(256)]
WORDS = [b"ab", b"ba", b"<<", b"end", b">>", b" coins", b"12", b"aab", "é".encode()]
WORDS += [b"<<end", b"\xa9b", "aé".encode(), b"a<", b"3 coins", "日本".encode()]
TOKENS = [*BYTES, *WORDS, None, b""]  # None: the stop token; "": never of use
STOP = np.array([token is None for token in TOKENS])
PATTERNS = (
    "a|ab",
    r"[0-9]{1,3} coins",
    "<<[^<]{0,20}<<end>>",
    r"[\s\S]{0,6}<<end>>",
    "(é|[日月]本)+b?",
    "(a|b)*ab",
    "",
)
FEW = [b"a", b"b", b"ab", b"bb", "é".encode(), b"\xc3", b"\xa9a", None]

allowed_jit = jax.jit(allowed_tokens)
next_jit = jax.jit(next_state)


@pytest.fixture(scope="module")
def compiled():
    return compile_grammar(PATTERNS, TOKENS)


def table_of(grammar):
    """[S, V], from the compressed table."""
    return np.asarray(grammar.next_state)[:, np.asarray(grammar.token_class)]


def walk(table, state, tokens):
    for token in tokens:
        state = table[state, token] if state >= 0 else -1
    return int(state)


def spell(tokens, vocabulary):
    return b"".join(vocabulary[token] for token in tokens)


def fully_matches(pattern, data):
    try:
        return re.fullmatch(pattern, data.decode()) is not None
    except UnicodeDecodeError:
        return False


def more_complex(inner):
    repeats = st.sampled_from(["*", "+", "?", "*?", "??", "{2}", "{0,2}", "{1,3}?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, repeats).map(lambda two: f"(?:{two[0]}){two[1]}"),
    )


letters = st.sampled_from(["a", "b", "é", "[ab]", "[^a]", "[a-é]", "ab", ".", ""])
expressions = st.recursive(letters, more_complex, max_leaves=6)


@hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
@hypothesis.given(expressions)
def test_a_text_is_accepted_if_the_expression_matches_it(pattern):
    grammar, (start,) = compile_grammar([pattern], FEW)
    table, distance = table_of(grammar), np.asarray(grammar.distance)
    spellings = [i for i, token in enumerate(FEW) if token]
    for length in range(4):
        for tokens in itertools.product(spellings, repeat=length):
            state, data = walk(table, start, tokens), spell(tokens, FEW)
            accepted = state >= 0 and bool(grammar.accepting[state])
            assert accepted == fully_matches(pattern, data) == matches(pattern, data)
    # From everywhere the end is as far as it is said to be: a token nearer each time.
    after = np.where(table >= 0, distance[table], np.iinfo(np.int32).max).min(1)
    ends = np.asarray(grammar.accepting)
    np.testing.assert_array_equal(distance, np.where(ends, 0, after + 1))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a|ab", ["a", "ab"], ["", "abb", "b"]),
        ("a*?", ["", "a", "aaa"], ["ab"]),
        ("(a|ab)(c|bcd)", ["ac", "abc", "abcd", "abbcd"], ["ab", "acd"]),
        (r"x[\s\S]{0,300}y", ["xy", "xéy", "x" * 301 + "y", "xyy"], ["x" * 302 + "y"]),
        ("m[^<]{0,200}<", ["m<", "m" * 201 + "<"], ["m" * 202 + "<", "m<<"]),
        ("[日-本]{2}", ["日本", "日日"], ["日", "日a"]),
        ("(?i)k", ["k", "K", "\u212a"], ["kk"]),
        ("[]a)]x?", ["]", ")x"], ["x"]),
        ("a$", ["a"], ["aa"]),
        ("", [""], ["a"]),
    ],
)
def test_matches_by_hand(pattern, yes, no):
    for text in yes:
        assert matches(pattern, text.encode()), text
    for text in no:
        assert not matches(pattern, text.encode()), text


def test_cut_characters_do_not_match():
    assert matches("é", b"\xc3\xa9")
    assert not matches("é?", b"\xc3")
    assert not matches(r"[\s\S]*", b"\xff")


class ByteTokenizer:
    """What llguidance needs to know of a tokenizer."""

    eos_token_id = STOP.argmax()
    bos_token_id = None
    special_token_ids = (eos_token_id,)
    tokens = tuple(token or b"" for token in TOKENS)

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("index", range(len(PATTERNS)))
def test_the_same_tokens_are_allowed_as_by_llguidance(compiled, index):
    grammar, starts = compiled
    wrapper = llguidance.TokenizerWrapper(ByteTokenizer())
    tokenizer = llguidance.LLTokenizer(wrapper, slices=[])
    regex = llguidance.LLMatcher.grammar_from_regex(PATTERNS[index])
    rng = random.Random(index)
    ends = 0
    for _ in range(6):
        matcher, state = llguidance.LLMatcher(tokenizer, regex), starts[index]
        for _ in range(40):
            own = np.asarray(allowed_jit(grammar, jnp.array([state]), STOP))[0]
            # Its masks leave out tokens where only one text can follow, and so what it
            # says of each token is asked for.
            theirs = [matcher.validate_tokens([i]) == 1 for i in range(len(TOKENS))]
            theirs = np.where(STOP, matcher.is_accepting(), theirs)
            np.testing.assert_array_equal(own, theirs)
            ends += own[STOP.argmax()]
            text = np.flatnonzero(own & ~STOP).tolist()
            if not text:
                break
            token = rng.choice(text)
            assert matcher.consume_token(token), matcher.get_error()
            state = walk(table_of(grammar), state, [token])
    assert ends >= 3


def synthetic(size, seed=0):
    """Tokens as a byte-pair encoding has them: bytes, words, runs of symbols, numbers,
    other scripts; and some that spell nothing."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(BYTES)
    alphabets = [
        "etaoinshrdlucmfw",
        "<>/{}:=. \n",
        "0123456789",
        "абвгдежз",
        "日本月火水",
    ]
    while len(found) < size - 8:
        letters = alphabets[rng.choice(5, p=(0.7, 0.1, 0.05, 0.1, 0.05))]
        count = int(rng.geometric(0.2))
        word = "".join(rng.choice(list(letters), count))
        found[(" " * int(rng.integers(2)) + word).encode()] = None
    return [*found, *[None] * 8]


def agrees_with_bytes(pattern, grammar, start, vocabulary, most=60):
    """Walks tokens in the table, and their bytes in the automaton, side by side."""
    (automaton,) = byte_automata((pattern,), 20_000, 10.0)
    bytewise = np.array(automaton.table).reshape(-1, 256)
    bytewise = np.pad(bytewise, [(0, 1), (0, 0)], constant_values=-1)
    # What byte 256 pads leaves the state as it is.
    stays = np.append(np.arange(len(bytewise) - 1), -1)
    bytewise = np.concatenate([bytewise, stays[:, None]], axis=1)
    letters = np.full((len(vocabulary), max(len(t or b"") for t in vocabulary)), 256)
    for row, text in zip(letters, vocabulary, strict=True):
        row[: len(text or b"")] = list(text or b"")
    spells = (letters < 256).any(1)
    ends = np.append(np.frombuffer(automaton.accepting, bool), False)
    table, classes = np.asarray(grammar.next_state), np.asarray(grammar.token_class)
    pairs, seen = [(start, 0)], set()
    while pairs and len(seen) < most:
        pair = pairs.pop(0)
        if pair in seen:
            continue
        seen.add(pair)
        reached = np.where(spells, pair[1], -1)
        for column in letters.T:
            reached = bytewise[reached, column]
        target = table[pair[0]][classes]
        np.testing.assert_array_equal(target >= 0, reached >= 0)
        allowed = target >= 0
        np.testing.assert_array_equal(
            np.asarray(grammar.accepting)[target[allowed]], ends[reached[allowed]]
        )
        pairs += np.unique(np.stack([target, reached], 1)[allowed], axis=0).tolist()
        pairs = list(map(tuple, pairs))
    assert len(seen) > 10


def test_tokens_that_act_alike_share_a_class():
    vocabulary = synthetic(4096)
    pattern = r"<m>[^<]{0,30}</m> *[0-9]{1,2}"
    grammar, (start,) = compile_grammar([pattern], vocabulary)
    assert grammar.next_state.dtype == jnp.int16
    num_classes = grammar.next_state.shape[1]
    assert num_classes < len(vocabulary) / 20
    distinct = np.unique(np.asarray(grammar.next_state), axis=1)
    assert distinct.shape[1] == num_classes
    agrees_with_bytes(pattern, grammar, start, vocabulary)


@jax.jit
def sample(grammar, key, state, budget, stop):
    """Uniform over what is allowed, until every sequence has stopped."""
    rows, longest = state.shape[0], 48

    def body(loop):
        step, state, done, tokens = loop
        mask = allowed_tokens(grammar, state, stop, budget - step)
        logits = jnp.where(mask, 0.0, -jnp.inf)
        token = jax.random.categorical(jax.random.fold_in(key, step), logits)
        done = done | ~mask.any(1) | (step >= budget)
        tokens = tokens.at[:, step].set(jnp.where(done, -1, token))
        state = jnp.where(done, state, next_state(grammar, state, token))
        return step + 1, state, done | stop[token], tokens

    tokens = jnp.full((rows, longest), -1, jnp.int32)
    loop = jnp.int32(0), state, jnp.zeros(rows, bool), tokens
    return jax.lax.while_loop(
        lambda loop: ~loop[2].all() & (loop[0] < longest), body, loop
    )[3]


@pytest.mark.parametrize("spare", [0, 1, 9])
def test_random_samples_match_and_are_never_cut(compiled, spare):
    grammar, starts = compiled
    rows = np.tile(np.arange(len(PATTERNS)), 40)
    state = np.array(starts, np.int32)[rows]
    budget = np.asarray(grammar.distance)[state] + 1 + spare
    tokens = np.asarray(sample(grammar, jax.random.key(spare), state, budget, STOP))
    for row, most, sampled in zip(rows, budget, tokens.tolist(), strict=True):
        sampled = [token for token in sampled if token >= 0]
        assert len(sampled) <= most
        assert STOP[sampled[-1]], "cut"
        assert fully_matches(f"(?s:{PATTERNS[row]})", spell(sampled[:-1], TOKENS))
    lengths = (tokens >= 0).sum(1)
    assert (lengths < budget).any() == (spare > 0)


def test_free_sequences_share_the_batch(compiled):
    grammar, starts = compiled
    state = jnp.array([FREE, starts[0]])
    # One token left: where a pattern is to end it must be enough, elsewhere not.
    mask = np.asarray(allowed_jit(grammar, state, STOP, jnp.array([1, 1])))
    text = np.array([bool(token) for token in TOKENS])
    np.testing.assert_array_equal(mask[0], text | STOP)
    tokens = jnp.arange(len(TOKENS))
    after = next_jit(grammar, jnp.full(len(TOKENS), FREE), tokens)
    np.testing.assert_array_equal(after, FREE)
    assert grammar.distance[FREE] == 0


def test_without_patterns_there_is_only_the_free_state():
    grammar, starts = compile_grammar([], TOKENS)
    assert starts == () and grammar.next_state.shape == (1, 2)


def test_states_and_tokens_outside_of_the_table(compiled):
    grammar, (start, *_) = compiled
    mask = allowed_jit(grammar, jnp.array([-1]), STOP, jnp.array([9]))
    assert not mask.any()
    state, b = jnp.array([start, -1, start, start]), ord("b")
    after = next_jit(grammar, state, jnp.array([-1, ord("a"), STOP.argmax(), b]))
    np.testing.assert_array_equal(after, [start, -1, -1, -1])


def test_shapes_follow_the_state(compiled):
    grammar, starts = compiled
    state = jnp.array([[start, FREE] for start in starts])
    remaining = jnp.full(state.shape, 7)
    mask = allowed_jit(grammar, state, STOP, remaining)
    assert mask.shape == (*state.shape, len(TOKENS))
    each = [
        allowed_jit(grammar, state[:, i], STOP, remaining[:, i])[:, None]
        for i in (0, 1)
    ]
    np.testing.assert_array_equal(mask, jnp.concatenate(each, 1))


def test_a_budget_that_is_too_small_does_not_restrict(compiled):
    grammar, starts = compiled
    state = jnp.array(starts)
    remaining = grammar.distance[state]  # no room for the stop token
    np.testing.assert_array_equal(
        allowed_jit(grammar, state, STOP, remaining), allowed_jit(grammar, state, STOP)
    )


def test_the_budget_by_hand():
    tokens = [b"a", b"b", b"c", b"aaab", None]
    grammar, (start,) = compile_grammar(["a*b|ca"], tokens)
    assert grammar.distance[start] == 1
    for remaining, allowed in {
        2: [b"b", b"aaab"],
        3: [b"a", b"b", b"c", b"aaab"],
    }.items():
        mask = allowed_jit(
            grammar, jnp.array([start]), jnp.arange(5) == 4, jnp.array([remaining])
        )[0]
        assert [tokens[i] for i in np.flatnonzero(mask)] == allowed


def test_each_sequence_has_its_own_stop_tokens():
    tokens = [b"a", b"\n", None]
    grammar, (start,) = compile_grammar([r"a(a\n)?"], tokens)
    accepting = walk(table_of(grammar), start, [0])
    middle = walk(table_of(grammar), accepting, [0])
    stop = jnp.array([[False, False, True], [False, True, True]])
    for state, expected in {
        start: [[1, 0, 0], [1, 0, 0]],
        accepting: [[1, 0, 1], [1, 1, 1]],
        middle: [[0, 1, 0], [0, 0, 0]],  # a stop token is never text
    }.items():
        mask = allowed_jit(grammar, jnp.full(2, state), stop)
        np.testing.assert_array_equal(mask, np.array(expected, bool))


def test_no_token_leads_where_the_text_cannot_be_finished():
    tokens = [b"a", b"b", b"ab", b"\xc3", None]  # neither c nor the rest of é
    grammar, starts = compile_grammar(["a(bc|éa)?", "a|b(abc)*"], tokens)
    for start, allowed in zip(starts, ([0], [0, 1]), strict=True):
        mask = allowed_jit(grammar, jnp.array([start]), jnp.arange(5) == 4)[0]
        assert np.flatnonzero(mask).tolist() == allowed
        after = next_jit(grammar, jnp.array([start]), jnp.array([0]))
        ends = allowed_jit(grammar, after, jnp.arange(5) == 4)[0]
        assert np.flatnonzero(ends).tolist() == [4]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[", "syntax of Rust's regex crate"),
        ("(a", "syntax of Rust's regex crate"),
        ("a)(b", "syntax of Rust's regex crate"),
        ("a)(?:b", "syntax of Rust's regex crate"),
        ("(?=a)b", "without lookaround"),
        (r"(a)\1", "backreferences"),
        (r"a\b", r"without .* \\b"),
        ("\ud800", "syntax of Rust's regex crate"),
        ("^a", "without ^ and $"),
        ("[a&&b]", "every part can match"),
        ("(" * 5000 + ")" * 5000, "is needed"),
        ("[ab]{0,900}", "at most 500 states"),
        ("b{600}|a{600}", "at most 500 states"),
        ("日", "tokens that can spell it are needed"),
    ],
)
def test_patterns_that_do_not_work_are_named(pattern, message):
    vocabulary = [b"a", b"b", None]
    with pytest.raises(ValueError) as error:
        compile_grammar(["a", pattern], vocabulary, max_states=500)
    assert str(error.value).startswith("patterns[1] is")
    assert repr(pattern) in str(error.value)
    assert re.search(message.replace("^", r"\^").replace("$", r"\$"), str(error.value))
    assert "\n" not in str(error.value)


def test_all_patterns_together_have_at_most_so_many_states():
    patterns = ["a{300}", "b{300}"]
    with pytest.raises(ValueError, match="max_states is 500: 602 are needed"):
        compile_grammar(patterns, [b"a", b"b"], max_states=500)
    _, starts = compile_grammar(patterns, [b"a", b"b"], max_states=602)
    assert len(set(starts)) == 2


def test_an_automaton_that_blows_up_is_refused_in_time():
    before = time.monotonic()
    with pytest.raises(ValueError, match=r"patterns\[1\] is .*compiled in 5 s"):
        compile_grammar(["a", r"[ab]*a[ab]{60}", "b"], TOKENS, seconds=5.0)
    assert time.monotonic() - before < 60


def test_many_patterns_share_a_table(compiled):
    grammar, starts = compiled
    assert len(set(starts)) == len(PATTERNS)
    table = table_of(grammar)
    for pattern, start in zip(PATTERNS, starts, strict=True):
        alone, (start_alone,) = compile_grammar([pattern], TOKENS)
        for text in ("", "a", "ab", "12 coins", "<<ab<<end>>", "日本é", "<<end>>"):
            tokens = list(text.encode())
            state = walk(table, start, tokens)
            other = walk(table_of(alone), start_alone, tokens)
            assert (state < 0) == (other < 0)
            if state >= 0:
                assert grammar.accepting[state] == alone.accepting[other]


def test_the_same_pattern_twice(compiled):
    _, starts = compile_grammar(["a", "a"], TOKENS)
    assert len(starts) == 2


def test_the_child_starts_without_the_package():
    """Its start counts towards the time that patterns may take."""
    child = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", grammar_child.__file__],
        input=b'[["a"], 9]', capture_output=True, check=True,
    )  # fmt: skip
    imported = {
        line.split("|")[-1].strip() for line in child.stderr.decode().split("\n")
    }
    assert {"pickle", "outlines_core"} <= imported
    assert not {"aajax", "numpy", "jax"} & imported


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [r"<m>[^<]{0,500}</m>", r"[\s\S]{0,500}<<end>>"])
def test_large_vocabularies_compile_in_seconds(pattern):
    vocabulary = synthetic(150_000)
    before = time.monotonic()
    grammar, (start,) = compile_grammar([pattern], vocabulary)
    assert time.monotonic() - before < 20
    assert grammar.next_state.nbytes < 20e6
    agrees_with_bytes(pattern, grammar, start, vocabulary, most=12)
