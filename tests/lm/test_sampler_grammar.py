import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import lm
from aajax.lm.sampling.grammar import allowed_tokens, compile_grammar
from aajax.lm.sampling.sampler import FREE, Sampler, Sampling, num_programs
from aajax.lm.training.scoring import score

# Id 0 stops and has no text; the others are digits, letters and a few longer tokens.
LETTERS = b"0123456789abcdefxyz,<>"
TOKEN_BYTES = [None, *(bytes([c]) for c in LETTERS), b"12", b"ab,", b"<a"]
VOCAB = len(TOKEN_BYTES)
STOP = np.arange(VOCAB) == 0
PATTERNS = ["<[0-9]{1,3}>", "(ab,)*x|yz"]
BUDGET = 12
CONFIG = lm.DecoderConfig(
    "llama",
    vocab_size=VOCAB,
    hidden_size=16,
    intermediate_size=16,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
)
SAMPLER = Sampler(CONFIG)
KEY = jax.random.key(3)
ROWS = 8
PROMPTS = [[1 + row, 2] for row in range(ROWS)]
PATTERN_OF_ROW = np.arange(ROWS) % 2


@pytest.fixture(scope="module")
def grammar_and_state():
    grammar, starts = compile_grammar(PATTERNS, TOKEN_BYTES)
    return grammar, np.asarray(starts, np.int32)[PATTERN_OF_ROW]


@pytest.fixture(scope="module")
def params():
    params = lm.init_params(CONFIG, jax.random.key(0))
    return params | {"head": 20 * params["head"]}


@pytest.fixture(scope="module")
def session(params):
    return SAMPLER.append(SAMPLER.start(ROWS), params, PROMPTS)


def text(ids):
    return b"".join(TOKEN_BYTES[i] or b"" for i in ids).decode()


def fits(row, ids):
    complete = ids[-1:] == [0]
    return complete and bool(re.fullmatch(PATTERNS[PATTERN_OF_ROW[row]], text(ids)))


@jax.jit
def rescored(params, grammar, tokens, state, remaining, temperature):
    """Log-probabilities among the allowed tokens, the text read at once."""
    tokens = jnp.concatenate([jnp.array(PROMPTS), tokens], 1)
    places = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    positions = jnp.where(tokens >= 0, places, -1)
    hidden, _ = lm.forward(CONFIG, params, jnp.maximum(tokens, 0), positions)
    scores = score(
        CONFIG,
        params,
        hidden[:, 1:-1],
        tokens[:, 2:],
        temperature=temperature,
        allowed=lambda place: allowed_tokens(grammar, place[0], STOP, place[1]),
        state=(state, remaining),
        chunk_size=5,
    )
    return scores.log_prob


def assert_scored(params, grammar, sample, temperature=1.0):
    temperature = np.broadcast_to(np.float32(temperature), ROWS)
    columns = sample.tokens, sample.state, sample.remaining
    expected = rescored(params, grammar, *columns, temperature)
    np.testing.assert_allclose(sample.log_prob, expected, rtol=1e-5, atol=1e-5)


def test_constrained_samples_match_their_pattern(params, session, grammar_and_state):
    grammar, state = grammar_and_state
    temperature = np.linspace(0.5, 2.0, ROWS, dtype=np.float32)
    texts = set()
    for index in range(10):
        after, sample = SAMPLER.generate(
            session,
            params,
            jax.random.fold_in(KEY, index),
            Sampling(
                temperature=temperature,
                max_tokens=BUDGET,
                stop=STOP,
                grammar=grammar,
                state=state,
            ),
        )
        assert sample.stopped.all()
        np.testing.assert_array_equal(after.length, 2 + sample.length)
        for row, length in enumerate(sample.length):
            ids = sample.tokens[row, :length].tolist()
            assert fits(row, ids), text(ids)
            texts.add(text(ids))
        assert_scored(params, grammar, sample, temperature)
    assert len(texts) > 20


def test_free_rows_are_sampled_as_without_a_grammar(params, session, grammar_and_state):
    grammar, state = grammar_and_state
    options = {"max_tokens": BUDGET, "stop": STOP}
    mixed = np.where(PATTERN_OF_ROW == 0, FREE, state)
    _, plain = SAMPLER.generate(session, params, KEY, Sampling(**options))
    _, sample = SAMPLER.generate(
        session, params, KEY, Sampling(grammar=grammar, state=mixed, **options)
    )
    free = PATTERN_OF_ROW == 0
    np.testing.assert_array_equal(sample.tokens[free], plain.tokens[free])
    np.testing.assert_allclose(sample.log_prob[free], plain.log_prob[free], atol=1e-6)
    assert (sample.tokens[~free] != plain.tokens[~free]).any()
    assert_scored(params, grammar, sample)


def test_the_shortest_budget_still_completes_the_pattern(
    params, session, grammar_and_state
):
    grammar, state = grammar_and_state
    # "<0>" and "x", and the stop token.
    budget = np.where(PATTERN_OF_ROW == 0, 4, 2)
    _, sample = SAMPLER.generate(
        session,
        params,
        KEY,
        Sampling(max_tokens=budget, stop=STOP, grammar=grammar, state=state),
    )
    assert sample.stopped.all()
    for row, length in enumerate(sample.length):
        assert fits(row, sample.tokens[row, :length].tolist())
    assert_scored(params, grammar, sample)


def checked(params, session, grammar_and_state, num_tries, accepts=fits, **options):
    grammar, state = grammar_and_state
    return SAMPLER.generate_checked(
        session,
        params,
        KEY,
        Sampling(grammar=grammar, state=state, max_tokens=BUDGET, stop=STOP, **options),
        accepts=accepts,
        num_tries=num_tries,
    )


def test_what_is_not_accepted_is_sampled_again(params, session, grammar_and_state):
    """Rows are accepted at a try of their own, in a way that the test decides."""
    wanted = np.array([1, 2, 3, 4, 1, 2, 3, 4])
    asked = {row: [] for row in range(ROWS)}

    def accepts(row, ids):
        asked[row].append(ids)
        return len(asked[row]) == wanted[row]

    kept = jax.tree.map(np.array, session)
    before = num_programs()
    after, sample, tries = checked(params, session, grammar_and_state, 3, accepts)
    assert num_programs() - before <= 1
    jax.tree.map(np.testing.assert_array_equal, session, kept)
    np.testing.assert_array_equal(tries, wanted)
    for row, length in enumerate(sample.length):
        ids = sample.tokens[row, :length].tolist()
        assert len(asked[row]) == min(wanted[row], 3)
        if wanted[row] <= 3:
            assert ids == asked[row][-1]
            np.testing.assert_array_equal(sample.state[row], FREE)
        else:
            assert fits(row, ids)
    # Failed tries are forgotten: the session has read the prompt and the sample only.
    whole = [
        [*prompt, *tokens[:length].tolist()]
        for prompt, tokens, length in zip(
            PROMPTS, sample.tokens, sample.length, strict=True
        )
    ]
    fresh = SAMPLER.append(SAMPLER.start(ROWS), params, whole)
    np.testing.assert_array_equal(after.length, fresh.length)
    np.testing.assert_allclose(after.last, fresh.last, atol=1e-4)
    assert_scored(params, grammar_and_state[0], sample)


def test_the_first_try_is_a_free_sample_and_the_last_a_constrained_one(
    params, session, grammar_and_state
):
    grammar, state = grammar_and_state
    _, sample, tries = checked(
        params, session, grammar_and_state, 2, lambda row, ids: True
    )
    np.testing.assert_array_equal(tries, 1)
    np.testing.assert_array_equal(sample.state, FREE)
    _, sample, tries = checked(params, session, grammar_and_state, 0)
    np.testing.assert_array_equal(tries, 1)
    for row, length in enumerate(sample.length):
        assert fits(row, sample.tokens[row, :length].tolist())
    _, sample, tries = checked(
        params, session, grammar_and_state, 2, lambda row, ids: False
    )
    np.testing.assert_array_equal(tries, 3)
    np.testing.assert_array_equal(sample.state[:, 0], state)


def test_rows_that_are_not_active_are_not_tried(params, session, grammar_and_state):
    active = np.arange(ROWS) < 3
    after, sample, tries = checked(params, session, grammar_and_state, 1, active=active)
    assert (tries[active] >= 1).all()
    np.testing.assert_array_equal(tries[~active], 0)
    np.testing.assert_array_equal(sample.length[~active], 0)
    np.testing.assert_array_equal(after.length, session.length + sample.length)
    np.testing.assert_array_equal(after.last[3:], session.last[3:])


def test_checks_that_do_not_fit_are_refused(params, session, grammar_and_state):
    with pytest.raises(ValueError, match="num_tries is -1"):
        checked(params, session, grammar_and_state, -1)
    with pytest.raises(ValueError, match="grammar is given alone"):
        SAMPLER.generate(
            session,
            params,
            KEY,
            Sampling(max_tokens=4, stop=STOP, grammar=grammar_and_state[0]),
        )
