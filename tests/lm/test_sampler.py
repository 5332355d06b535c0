import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import lm
from aajax.lm.model import lora
from aajax.lm.model.cache import cut
from aajax.lm.model.config import Delta
from aajax.lm.sampling.decoding import Model, Program, Wanted, decode, draw
from aajax.lm.sampling.rows import block_width
from aajax.lm.sampling.sampler import Sampler, Sampling, num_programs
from aajax.lm.sampling.session import take_back
from aajax.lm.training.scoring import score

VOCAB = 40
CONFIG = lm.DecoderConfig(
    "llama",
    vocab_size=VOCAB,
    hidden_size=16,
    intermediate_size=16,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=8,
)
SAMPLER = Sampler(CONFIG)
KEY = jax.random.key(7)
# Ids 0 to 3 stop: at random, one token in ten.
STOP = np.arange(VOCAB) < 4
NEVER = np.zeros(VOCAB, bool)
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
NUM_DRAWS = 1024
TOTAL = 256  # tokens that `reread` pads to


@pytest.fixture(scope="module")
def params():
    params = lm.init_params(CONFIG, jax.random.key(0))
    return params | {"head": 20 * params["head"]}  # far from uniform


@pytest.fixture
def session(params):
    return SAMPLER.append(SAMPLER.start(3), params, PROMPTS)


@jax.jit
def _reread(params, tokens, temperature):
    positions = jnp.where(tokens >= 0, jnp.arange(TOTAL)[None], -1)
    hidden, _ = lm.forward(CONFIG, params, jnp.maximum(tokens, 0), positions)
    targets = jnp.pad(tokens[:, 1:], [(0, 0), (0, 1)], constant_values=-1)
    scores = score(CONFIG, params, hidden, targets, temperature=temperature)
    return hidden, scores.log_prob


def reread(params, history, temperature=1.0):
    """Last hidden states, and log-probabilities of all tokens, read without a cache."""
    tokens = np.full((len(history), TOTAL), -1, np.int32)
    for row, ids in enumerate(history):
        tokens[row, : len(ids)] = ids
    temperature = np.broadcast_to(np.float32(temperature), len(history))
    hidden, log_prob = _reread(params, tokens, temperature)
    last = [hidden[row, len(ids) - 1] for row, ids in enumerate(history)]
    # A token is scored where the one before it is.
    return np.stack(last), np.pad(log_prob, [(0, 0), (1, 0)])[:, :-1]


def continued(history, sample):
    return [
        [*ids, *tokens[:length].tolist()]
        for ids, tokens, length in zip(
            history, sample.tokens, sample.length, strict=True
        )
    ]


def assert_scored(params, history, sample, temperature):
    """Log-probabilities of the sample are those of the whole text read at once."""
    _, log_prob = reread(params, continued(history, sample), temperature)
    for row, length in enumerate(sample.length):
        first = len(history[row])
        expected = log_prob[row, first : first + length]
        actual = sample.log_prob[row, :length]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def assert_read(params, session, history):
    """The session is as if it had read the history at once."""
    np.testing.assert_array_equal(session.length, [len(ids) for ids in history])
    last, _ = reread(params, history)
    np.testing.assert_allclose(session.last[: len(history)], last, atol=1e-4)


def assert_same(sample, other, rows=slice(None)):
    for one, two in zip(sample, other, strict=True):
        np.testing.assert_array_equal(one[rows], two[rows])


@pytest.mark.optimised
def test_ten_turns_are_read_once_and_scored_as_sampled(params):
    session, history = SAMPLER.start(3, size=200), [[], [], []]
    before, rng = num_programs(), np.random.default_rng(0)
    for turn in range(10):
        # Some rows hear nothing in some turns.
        heard = [rng.integers(4, VOCAB, (row + turn) % 4).tolist() for row in range(3)]
        heard = [ids or [5] if turn == 0 else ids for ids in heard]
        session = SAMPLER.append(session, params, heard, donate=True)
        history = [[*ids, *more] for ids, more in zip(history, heard, strict=True)]
        temperature = rng.uniform(0.5, 2.0, 3).astype(np.float32)
        session, sample = SAMPLER.generate(
            session,
            params,
            jax.random.fold_in(KEY, turn),
            Sampling(
                temperature=temperature,
                max_tokens=rng.integers(1, 14, 3),
                stop=STOP if turn % 2 else NEVER,
            ),
            donate=True,
        )
        assert_scored(params, history, sample, temperature)
        history = continued(history, sample)
        assert_read(params, session, history)
    assert session.cache.size == 256
    assert max(map(len, history)) > 64
    assert num_programs() - before == 2


def test_a_growing_cache_compiles_at_powers_of_two_only(params):
    before, history = num_programs(), [[5], [6], [7, 8, 9]]
    session = SAMPLER.append(SAMPLER.start(3), params, history)
    sizes, programs = [], []
    for turn in range(6):
        key, more = jax.random.fold_in(KEY, turn), [[7], [8, 9], []]
        session, sample = SAMPLER.generate(
            session, params, key, Sampling(max_tokens=15, stop=NEVER)
        )
        session = SAMPLER.append(session, params, more)
        history = [
            [*ids, *heard]
            for ids, heard in zip(continued(history, sample), more, strict=True)
        ]
        sizes.append(session.cache.size)
        programs.append(num_programs() - before)
    assert_read(params, session, history)
    np.testing.assert_array_equal(session.length, [97, 103, 93])
    assert sizes == [64] * 3 + [128] * 3
    # Two for each size, less what other tests have compiled; none within a size.
    assert programs[2] <= 2 and programs[-1] <= 4
    assert programs[0] == programs[2] and programs[3] == programs[5]


def test_a_stop_token_ends_a_sequence(params, session):
    after, sample = SAMPLER.generate(
        session, params, KEY, Sampling(max_tokens=16, stop=STOP)
    )
    for row, length in enumerate(sample.length):
        tokens = sample.tokens[row]
        stops = np.flatnonzero((tokens >= 0) & (tokens < 4))
        assert sample.stopped[row] == (len(stops) > 0)
        assert length == (stops[0] + 1 if len(stops) else 16)
        assert (tokens[:length] >= 0).all()
        assert (tokens[length:] == -1).all()
        for column in (sample.log_prob, sample.remaining):
            np.testing.assert_array_equal(column[row, length:], 0)
        remaining = 16 - np.arange(length)
        np.testing.assert_array_equal(sample.remaining[row, :length], remaining)
    assert sample.stopped.any()
    assert_read(params, after, continued(PROMPTS, sample))


def test_stop_tokens_and_budgets_are_each_rows_own(params, session):
    stop = np.zeros((3, VOCAB), bool)
    stop[1] = True
    after, sample = SAMPLER.generate(
        session, params, KEY, Sampling(max_tokens=np.array([3, 9, 0]), stop=stop)
    )
    assert sample.tokens.shape == (3, 9)
    np.testing.assert_array_equal(sample.length, [3, 1, 0])
    np.testing.assert_array_equal(sample.stopped, [False, True, False])
    np.testing.assert_array_equal(after.length, session.length + sample.length)
    assert_read(params, after, continued(PROMPTS, sample))


def test_nothing_is_sampled_with_no_budget(params, session):
    after, sample = SAMPLER.generate(
        session, params, KEY, Sampling(max_tokens=0, stop=STOP)
    )
    assert sample.tokens.shape == sample.log_prob.shape == (3, 0)
    assert not sample.stopped.any()
    assert_read(params, after, PROMPTS)


def test_temperature_0_takes_the_likeliest(params, session):
    temperature = np.array([0.0, 1.0, 0.0])
    _, sample = SAMPLER.generate(
        session,
        params,
        KEY,
        Sampling(temperature=temperature, max_tokens=8, stop=NEVER),
    )
    np.testing.assert_array_equal(sample.log_prob[[0, 2]], 0.0)
    assert (sample.log_prob[1] < 0).all()
    history = PROMPTS
    for column in range(8):
        last, _ = reread(params, history)
        best = np.asarray(lm.logits(CONFIG, params, last)).argmax(1)
        np.testing.assert_array_equal(
            sample.tokens[[0, 2], column], best[np.array([0, 2])]
        )
        history = [[*ids, t] for ids, t in zip(history, sample.tokens[:, column])]  # noqa: B905


def test_steps_rows_and_keys_are_drawn_afresh(params, session):
    uniform = params | {"head": jnp.zeros_like(params["head"])}
    drawn = []
    for index in range(20):
        key = jax.random.fold_in(KEY, index)
        _, sample = SAMPLER.generate(
            session, uniform, key, Sampling(max_tokens=15, stop=NEVER)
        )
        np.testing.assert_allclose(sample.log_prob, -np.log(VOCAB), rtol=1e-6)
        drawn.append(sample.tokens)
    # Each pair of draws agrees by chance alone: along steps, rows and keys.
    drawn = np.stack(drawn)
    for axis, size in enumerate(drawn.shape):
        same = drawn == np.roll(drawn, 1, axis)
        deviation = np.sqrt((VOCAB - 1) / drawn.size) / VOCAB
        assert size > 1 and abs(same.mean() - 1 / VOCAB) < 5 * deviation
    counts = np.bincount(drawn.ravel(), minlength=VOCAB)
    expected = drawn.size / VOCAB
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_row_depends_on_no_other(params, session):
    options = {"max_tokens": 10, "stop": STOP}
    _, sample = SAMPLER.generate(session, params, KEY, Sampling(**options))
    prompts = [PROMPTS[0], [30, 31], [32]]
    other = SAMPLER.append(SAMPLER.start(3), params, prompts)
    active = np.array([True, False, True])
    _, again = SAMPLER.generate(other, params, KEY, Sampling(active=active, **options))
    assert_same(sample, again, 0)
    assert (sample.tokens[2] != again.tokens[2]).any()


def test_keys_of_rows_move_with_them(params, session):
    options = {"max_tokens": 10, "stop": STOP}
    keys = jax.random.split(jax.random.key(1), 3)
    _, sample = SAMPLER.generate(session, params, keys, Sampling(**options))
    order = np.array([2, 0, 1])
    moved = SAMPLER.start(3)
    moved = SAMPLER.append(moved, params, [PROMPTS[row] for row in order])
    _, again = SAMPLER.generate(moved, params, keys[order], Sampling(**options))
    np.testing.assert_array_equal(sample.tokens[order], again.tokens)
    _, other = SAMPLER.generate(session, params, KEY, Sampling(**options))
    assert (sample.tokens != other.tokens).any()


def test_rows_that_are_not_active_stay_as_they_are(params, session):
    active = np.array([False, True, False])
    after, sample = SAMPLER.generate(
        session, params, KEY, Sampling(max_tokens=5, stop=NEVER, active=active)
    )
    np.testing.assert_array_equal(sample.length, [0, 5, 0])
    assert (sample.tokens[~active] == -1).all()
    for row in (0, 2, 3):
        np.testing.assert_array_equal(after.last[row], session.last[row])
        now, then = (jax.tree.leaves(x.cache[:2]) for x in (after, session))
        for x, y in zip(now, then, strict=True):
            np.testing.assert_array_equal(x[row], y[row])
    np.testing.assert_array_equal(after.length, session.length + sample.length)


def test_a_session_is_a_value_unless_it_is_donated(params, session):
    kept = jax.tree.map(np.array, session)
    options = {"max_tokens": 6, "stop": STOP}
    first = SAMPLER.generate(session, params, KEY, Sampling(**options))
    SAMPLER.append(session, params, [[20], [], [21, 22]])
    jax.tree.map(np.testing.assert_array_equal, session, kept)
    second = SAMPLER.generate(session, params, KEY, Sampling(**options), donate=True)
    assert_same(first[1], second[1])
    assert session.cache.key[0].is_deleted()


def test_long_prompts_are_read_in_pieces(params):
    prompts = [list(range(4, 40)), [], [5] * 16]
    sampler = Sampler(CONFIG, prefill_chunk=16)
    session = sampler.append(sampler.start(3), params, [[9], [8], [7]])
    session = sampler.append(session, params, prompts)
    history = [[9, *prompts[0]], [8], [7, *prompts[2]]]
    assert_read(params, session, history)


def test_reading_nothing_changes_nothing(params, session):
    assert SAMPLER.append(session, params, [[], [], []]) is session


@pytest.mark.parametrize("number", [1, 16, 17, 24, 25, 32, 33, 48, 49, 64, 65, 500])
def test_blocks_have_few_widths_and_little_padding(number):
    width = block_width(number)
    assert number <= width <= max(8, 1.25 * number + 3)
    assert width in (8, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 512)


def test_prepared_weights_are_copied_once_and_sampled_from_alike(params, session):
    prepared = SAMPLER.prepare(params)
    assert SAMPLER.prepare(prepared) is prepared
    kernel = params["layers"]["mlp"]["up"]["kernel"]
    for i in range(CONFIG.num_layers):
        own = prepared[f"layer_{i}"]["mlp"]["up"]["transposed"]
        np.testing.assert_array_equal(own, kernel[i].T)
    read = SAMPLER.append(SAMPLER.start(3), prepared, PROMPTS)
    assert_read(params, read, PROMPTS)
    options = {"max_tokens": 6, "stop": NEVER}
    _, sample = SAMPLER.generate(read, prepared, KEY, Sampling(**options))
    _, expected = SAMPLER.generate(session, params, KEY, Sampling(**options))
    np.testing.assert_array_equal(sample.tokens, expected.tokens)
    np.testing.assert_allclose(sample.log_prob, expected.log_prob, atol=1e-5)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_each_row_has_its_adapter(params, session, is_prepared):
    def adapter(leaf, key):
        layers, size, width = leaf.shape
        a, b = jax.random.split(key)
        return {
            "a": jax.random.normal(a, (layers, 2, size, 2)),
            "b": jax.random.normal(b, (layers, 2, 2, width)),
        }

    kernel = params["layers"]["attention"]["query"]["kernel"]
    weights = {"attention": {"query": adapter(kernel, KEY)}}
    adapters = lm.Adapters(weights, jnp.array([1.0, 2.0]))
    route = {"adapters": adapters, "adapter_id": np.array([-1, 0, 1], np.int32)}
    given = SAMPLER.prepare(params) if is_prepared else params
    read = SAMPLER.append(SAMPLER.start(3), given, PROMPTS, **route)
    changed = np.abs(read.last - session.last).max(1)
    assert changed[0] < 1e-5
    assert (changed[1:3] > 1e-3).sum() >= 1
    options = {"max_tokens": 6, "stop": NEVER}
    after, sample = SAMPLER.generate(read, given, KEY, Sampling(**options), **route)
    tokens = np.array(continued([ids[-1:] for ids in PROMPTS], sample), np.int32)
    first = session.length[:, None] - 1
    # Read again in one piece, after the prompts but for their last tokens.
    start = SAMPLER.append(
        SAMPLER.start(3), params, [ids[:-1] for ids in PROMPTS], **route
    )
    hidden, _ = jax.jit(lm.forward, static_argnums=0)(
        CONFIG,
        params,
        jnp.asarray(tokens),
        jnp.asarray(first + np.arange(7, dtype=np.int32)),
        start.cache,
        adapters,
        jnp.array([-1, 0, 1]),
    )
    scores = score(CONFIG, params, hidden[:, :-1], jnp.asarray(tokens[:, 1:]))
    np.testing.assert_allclose(sample.log_prob, scores.log_prob, atol=1e-5)
    with pytest.raises(ValueError, match="adapter_id is None"):
        SAMPLER.generate(after, params, KEY, Sampling(**options), adapters=adapters)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (None, None, [0, 1, 2, 3]),
        (2, None, [1, 3]),
        (None, 0.5, [1, 3]),
        (None, 0.39, [3]),
        (None, 1.0, [0, 1, 2, 3]),
        (3, 0.75, [1, 3]),
        (3, 0.8, [1, 2, 3]),
    ],
)
def test_truncated_distributions_are_renormalised(top_k, top_p, kept):
    # With temperature 2 these become 0.1, 0.3, 0.2 and 0.4, up to rounding.
    probs = np.array([0.1, 0.3, 0.2, 0.4])
    score = jnp.log(jnp.asarray(np.tile(probs**2, (NUM_DRAWS, 1)), jnp.float32))
    keys = jax.random.split(KEY, NUM_DRAWS)
    temperature = jnp.full(NUM_DRAWS, 2.0)
    tokens, log_prob = draw(keys, score, temperature, top_k, top_p)
    assert sorted(set(tokens.tolist())) == kept
    probs = probs / probs[kept].sum()
    expected = np.log(probs)[np.asarray(tokens)]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-6)
    share = np.bincount(tokens, minlength=4)[kept] / NUM_DRAWS
    np.testing.assert_allclose(share, probs[kept], atol=5 * 0.5 / NUM_DRAWS**0.5)


def test_sampling_truncated(params, session):
    sampler = Sampler(CONFIG, top_k=1, top_p=0.5)
    options = {"max_tokens": 4, "stop": NEVER}
    _, sample = sampler.generate(session, params, KEY, Sampling(**options))
    _, greedy = SAMPLER.generate(
        session, params, KEY, Sampling(temperature=0.0, **options)
    )
    np.testing.assert_array_equal(sample.tokens, greedy.tokens)
    np.testing.assert_array_equal(sample.log_prob, 0.0)


def test_the_cache_is_written_in_place(params):
    """No copy of the cache is among what the loop needs beside it."""
    cache = cut(lm.init_cache(CONFIG, 2, 4096))
    wanted = Wanted(
        keys=jax.random.split(KEY, 2),
        temperature=np.ones(2, np.float32),
        budget=np.full(2, 16, np.int32),
        stop=NEVER[None],
        state=np.zeros(2, np.int32),
    )
    program, model = Program(CONFIG, jnp.float32, size=16), Model(params)
    lowered = decode.lower(program, model, cache, jnp.zeros((2, 16)), wanted)
    memory = lowered.compile().memory_analysis()
    whole = sum(x.nbytes for x in (*cache.key, *cache.value))
    assert memory.alias_size_in_bytes >= whole
    assert memory.temp_size_in_bytes < 0.5 * whole


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[1], [2] * 70, [3]], r"tokens\[1\] has length 70, 70 with what was .* 64"),
        ([[1], [2]], "tokens has 2 rows: 3 are needed"),
        ([[1], [2], [3, VOCAB]], r"tokens\[2\] has ids 3 to 40"),
        ([[-1], [2], [3]], r"tokens\[0\] has ids -1 to -1"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(params, prompts, message):
    sampler = Sampler(CONFIG, max_cache=64)
    with pytest.raises(ValueError, match=message):
        sampler.append(sampler.start(3), params, prompts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": [1, 61, 64]}, r"max_tokens\[2\] is 64: at most 59 .* 5 tokens"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"temperature": [1.0, -0.5, 0.0]}, "temperature is -0.5"),
        ({"temperature": [1.0, 1.0]}, r"temperature has shape \(2,\)"),
        ({"stop": NEVER[1:]}, r"stop has shape \(39,\)"),
        ({"state": 0}, "state is given alone"),
        ({"key": jax.random.split(KEY, 2)}, r"key has shape \(2,\)"),
    ],
)
def test_requests_that_do_not_fit_are_refused(params, session, options, message):
    sampler = Sampler(CONFIG, max_cache=64)
    options = {"max_tokens": 4, "stop": NEVER, "key": KEY} | options
    key = options.pop("key")
    with pytest.raises(ValueError, match=message):
        sampler.generate(session, params, key, Sampling(**options))


def test_a_sequence_needs_a_token_to_start_from(params):
    session = SAMPLER.append(SAMPLER.start(3), params, [[5], [], [6]])
    options = {"max_tokens": 4, "stop": NEVER}
    with pytest.raises(ValueError, match="row 1 has read no token"):
        SAMPLER.generate(session, params, KEY, Sampling(**options))
    active = np.array([True, False, True])
    after, _ = SAMPLER.generate(
        session, params, KEY, Sampling(active=active, **options)
    )
    np.testing.assert_array_equal(after.length, [5, 0, 5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0: 1 to 40"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"prefill_chunk": 12}, "prefill_chunk is 12"),
        ({"max_cache": 0}, "max_cache is 0"),
    ],
)
def test_samplers_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampler(CONFIG, **options)


def test_a_session_has_its_bounds():
    with pytest.raises(ValueError, match="batch is 0"):
        SAMPLER.start(0)
    with pytest.raises(ValueError, match="size is 65: at most 64"):
        Sampler(CONFIG, max_cache=64).start(1, size=65)
    assert Sampler(CONFIG, max_cache=48).start(3).cache.key[0].shape[::2] == (3, 48)


# What families have besides, at once, and layers with a memory.
RICH = {
    "attention": dataclasses.replace(
        CONFIG, num_heads=4, num_kv_heads=2, joint_qk_norm=True, pre_norm=False,
        sandwich_norm=True, num_experts=3, experts_per_token=2, attention_cap=3.0,
        logit_cap=4.0, unrotated=(False, True), sliding=(False, True), window=3,
        rope=lm.Rope(kind="yarn", share=0.5, factor=4.0, original_length=4),
        local_rope=lm.Rope(share=0.5), embedding_scale=9.0, residual_scale=0.7,
        logit_divisor=0.1, query_growth=0.3,
    ),
    "memory": dataclasses.replace(
        CONFIG, num_layers=3, recurrent=(True, False, True), output_gate=True,
        delta=Delta(1, 2, 4, 6, kernel=3), logit_divisor=0.1,
    ),
    "unequal": dataclasses.replace(
        CONFIG, num_layers=4, sandwich_norm=True, sliding=(True, False) * 2, window=3,
        rope=lm.Rope(kind="proportional", share=0.5), local_rope=lm.Rope(theta=100.0),
        full_head_dim=12, full_kv_heads=1, keys_as_values=True, value_norm=True,
        num_shared=2, wide_shared=True, layer_scale=True, per_layer_size=6,
        logit_divisor=4.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RICH)
def test_all_that_families_have_is_sampled_as_it_is_scored(name):
    config = RICH[name]
    params = jax.tree.map(lambda x: 5 * x, lm.init_params(config, jax.random.key(0)))
    one = lora.LoraConfig(4, targets=lora.targets_of(config))
    adapters = lora.init_adapters(config, one, jax.random.key(1))
    larger = jax.tree.map(lambda x: x + 0.3, adapters.weights)
    own = adapters._replace(weights=larger), np.array([0, -1, 0], np.int32)
    sampler, history = Sampler(config), [[] for _ in range(3)]
    given, session = sampler.prepare(params), sampler.start(3)
    wish, scored = Sampling(max_tokens=4, stop=NEVER), np.zeros((3, 64), np.float32)
    for heard in (PROMPTS, [[4], [5, 6, 7, 8], []]):
        session = sampler.append(session, given, heard, *own)
        history = [[*ids, *more] for ids, more in zip(history, heard, strict=True)]
        earlier = session.cache.length, session.last, session.cache.memory
        session, sample = sampler.generate(session, given, KEY, wish, *own)
        for row, ids in enumerate(history):
            scored[row, len(ids) - 1 : len(ids) + 3] = sample.log_prob[row]
        history = continued(history, sample)
    tokens = np.full((3, 65), -1, np.int32)
    for row, ids in enumerate(history):
        tokens[row, : len(ids)] = ids

    @jax.jit
    def log_prob(params, own, tokens):
        positions = jnp.where(tokens >= 0, jnp.arange(65)[None], -1)
        given = params, jnp.maximum(tokens, 0), positions, None
        hidden, _ = lm.forward(config, *given, *own)
        return score(config, params, hidden[:, :-1], tokens[:, 1:]).log_prob

    again = take_back(session, jnp.ones(len(session.last), bool), *earlier)
    again = again._replace(batch=3)
    _, same = sampler.generate(again, given, KEY, wish, *own)
    np.testing.assert_array_equal(same.tokens, sample.tokens)
    expected = np.where(scored, log_prob(params, own, tokens), 0)
    assert np.ptp(expected[scored != 0]) > 1
    np.testing.assert_allclose(scored, expected, atol=1e-4)
