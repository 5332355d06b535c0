"""Low-rank adapters beside a base: against merged weights, alone, and in gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import lm
from aajax.lm.model import layers, lora

CONFIG = lm.DecoderConfig(
    family="qwen2",
    vocab_size=23,
    hidden_size=16,
    intermediate_size=20,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=6,
    attention_bias=True,
)
LORAS = [
    lora.LoraConfig(rank=3, alpha=6.0),
    lora.LoraConfig(rank=3, alpha=1.5),
    lora.LoraConfig(rank=3, alpha=3.0),
]
LENGTH = 6
IDS = [2, -1, 0, 1]


# Compiled whole, as compiling each of their many small steps takes longer.
init = jax.jit(functools.partial(lora.init_adapters, CONFIG), static_argnums=(0, 2, 3))
stack = jax.jit(lambda *adapters: lora.stack(adapters))
take = jax.jit(lora.take)
put = jax.jit(lora.put)
merge = jax.jit(functools.partial(lora.merge, CONFIG))


def randomised(function, seed):
    """What the function returns, with normal leaves."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(function, jax.random.key(0))
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape).astype(x.dtype)), shapes
    )


def make(config, seed):
    """An adapter whose B is not zero."""
    one = randomised(functools.partial(lora.init_adapters, CONFIG, config), seed)
    return one._replace(scale=jnp.asarray([config.scale], jnp.float32))


def cast(tree, dtype):
    return jax.tree.map(lambda x: jnp.asarray(np.asarray(x).astype(dtype)), tree)


@functools.partial(jax.jit, static_argnames=("dtype",))
def score(params, tokens, adapters=None, adapter_id=None, dtype=jnp.float32):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden, _ = lm.forward(
        CONFIG, params, tokens, positions, None, adapters, adapter_id, dtype=dtype
    )
    return lm.logits(CONFIG, params, hidden)


@pytest.fixture(scope="module")
def params():
    return randomised(functools.partial(lm.init_params, CONFIG), seed=0)


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(1)
    shape = len(IDS), LENGTH
    return jnp.asarray(rng.integers(0, CONFIG.vocab_size, shape), jnp.int32)


@pytest.fixture(scope="module")
def adapters():
    return stack(*[make(config, i + 1) for i, config in enumerate(LORAS)])


@pytest.fixture(scope="module")
def wanted(params, tokens, adapters):
    """Logits of all sequences with the weights of each adapter merged, by its id."""
    merged = {i: merge(params, adapters, i) for i in range(len(LORAS))}
    return {i: score(p, tokens) for i, p in {-1: params, **merged}.items()}


def by_row(wanted, ids):
    return np.stack([wanted[i][row] for row, i in enumerate(ids)])


def leaves(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_every_sequence_has_the_weights_of_its_adapter(
    params, tokens, adapters, wanted
):
    # The adapters do differ, and from the base.
    for other in (-1, 1, 2):
        assert np.max(np.abs(wanted[0] - wanted[other])) > 0.3
    actual = score(params, tokens, adapters, jnp.array(IDS))
    np.testing.assert_allclose(actual, by_row(wanted, IDS), atol=2e-5)


def test_one_adapter_taken_out_is_the_same_adapter(params, tokens, adapters, wanted):
    for index in range(len(LORAS)):
        one = take(adapters, index)
        actual = score(params, tokens, one, jnp.array([0, -1, 0, -1]))
        ids = [index, -1, index, -1]
        np.testing.assert_allclose(actual, by_row(wanted, ids), atol=2e-5)


def test_without_an_adapter_it_is_the_base_bit_for_bit(
    params, tokens, adapters, wanted
):
    none = jnp.full(len(IDS), -1)
    for some in (adapters, take(adapters, 1)):
        np.testing.assert_array_equal(score(params, tokens, some, none), wanted[-1])


def test_a_new_adapter_is_the_base_bit_for_bit(params, tokens, wanted):
    new = init(LORAS[0], jax.random.key(5), 3)
    for some, ids in ((new, IDS), (take(new, 2), [0, 0, -1, 0])):
        actual = score(params, tokens, some, jnp.array(ids))
        np.testing.assert_array_equal(actual, wanted[-1])


def test_decoding_through_the_cache(params, tokens, adapters, wanted):
    @jax.jit
    def step(cache, chunk, positions):
        hidden, cache = lm.forward(
            CONFIG, params, chunk, positions, cache, adapters, jnp.array(IDS)
        )
        return lm.logits(CONFIG, params, hidden), cache

    cache, read = lm.init_cache(CONFIG, len(IDS), 8), []
    for chunk in (slice(0, 3), slice(3, 4), slice(4, 5), slice(5, 6)):
        positions = jnp.broadcast_to(
            jnp.arange(LENGTH)[chunk], (len(IDS), chunk.stop - chunk.start)
        )
        logits, cache = step(cache, tokens[:, chunk], positions)
        read.append(logits)
    actual = np.concatenate(read, 1)
    np.testing.assert_allclose(actual, by_row(wanted, IDS), atol=2e-5)


def test_other_ids_do_not_compile_again(params, tokens, adapters, wanted):
    count = 0

    @jax.jit
    def run(adapter_id):
        nonlocal count
        count += 1
        return score(params, tokens, adapters, adapter_id)

    for ids in (IDS, [0, 0, 1, 1], [-1, 2, -1, 2]):
        np.testing.assert_allclose(run(jnp.array(ids)), by_row(wanted, ids), atol=2e-5)
    assert count == 1


@functools.partial(jax.jit, static_argnames=("remat", "dtype"))
def gradient(params, tokens, adapters, adapter_id, remat=False, dtype=jnp.float32):
    """Of Σ rows · weight · logits, with respect to the adapters' weights."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)

    def loss(weights):
        hidden, _ = lm.forward(
            CONFIG, params, tokens, positions, None, adapters._replace(weights=weights),
            adapter_id, remat=remat, dtype=dtype,
        )  # fmt: skip
        return jnp.sum(lm.logits(CONFIG, params, hidden) * cotangent())

    return jax.grad(loss)(adapters.weights)


def cotangent():
    rng = np.random.default_rng(2)
    shape = len(IDS), LENGTH, CONFIG.vocab_size
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def gradient_of_merged(params, tokens, adapters, index, rows):
    """By the chain rule from that of W: s Gᵂ Bᵀ and s Aᵀ Gᵂ."""
    mask = np.isin(np.arange(len(IDS)), rows)[:, None, None].astype(np.float32)
    merged = merge(params, adapters, index)
    whole = jax.grad(lambda p: jnp.sum(score(p, tokens) * cotangent() * mask))(merged)
    scale, gradients = adapters.scale[index], {}
    for name, pair in lora.pairs_of(adapters).items():
        of_kernel = whole["layers"][lora.BLOCKS[name]][name]["kernel"]
        a, b = pair["a"][:, index], pair["b"][:, index]
        gradients[name] = {
            "a": scale * jnp.einsum("lio,lro->lir", of_kernel, b),
            "b": scale * jnp.einsum("lir,lio->lro", a, of_kernel),
        }
    return lora.weights_of(gradients)


@pytest.mark.parametrize("alone", [False, True])
def test_gradients_are_those_of_the_merged_weights(params, tokens, adapters, alone):
    rows, unused = [0, 2], 1
    if alone:
        one, ids = take(adapters, 2), [0, -1, 0, -1]
        actual = gradient(params, tokens, one, jnp.array(ids), remat=True)
    else:
        actual = gradient(params, tokens, adapters, jnp.array([2, 0, 2, -1]))
        for name, leaf in leaves(actual).items():
            np.testing.assert_array_equal(leaf[:, unused], 0.0, name)
            assert np.all(np.any(leaf[:, 0], (-1, -2))), name
        actual = jax.tree.map(lambda leaf: leaf[:, 2:], actual)
    wanted = leaves(gradient_of_merged(params, tokens, adapters, 2, rows))
    for name, leaf in leaves(actual).items():
        size = np.max(np.abs(wanted[name]))
        assert size > 0.01, name
        np.testing.assert_allclose(
            leaf[:, 0], wanted[name], atol=2e-5 * size, err_msg=name
        )


def test_a_narrow_base_with_wide_adapters(params, tokens, adapters):
    half = cast(params, jnp.bfloat16)
    actual = score(half, tokens, adapters, jnp.array(IDS), dtype=jnp.bfloat16)
    exact = score(cast(half, np.float32), tokens, adapters, jnp.array(IDS))
    assert actual.dtype == jnp.float32
    assert 0 < np.std(actual - exact) < 0.02 * np.std(exact)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_gradients_beside_a_narrow_base(params, tokens, adapters, count):
    half = cast(params, jnp.bfloat16)
    some = adapters if count == 3 else take(adapters, 0)
    ids = jnp.array([0, -1, count - 1, 0])
    # The gradient of attention in narrow types promotes within JAX.
    with jax.numpy_dtype_promotion("standard"):
        narrow = leaves(gradient(half, tokens, some, ids, dtype=jnp.bfloat16))
    full = leaves(gradient(cast(half, np.float32), tokens, some, ids))
    for name, leaf in narrow.items():
        assert leaf.dtype == jnp.float32
        assert np.std(leaf - full[name]) < 0.04 * np.std(full[name]), name


def test_what_an_adapter_has_become_stays_its_own(params, tokens, adapters, wanted):
    """One that has diverged reaches neither others nor the base."""
    nan = jax.tree.map(lambda x: jnp.asarray(x + np.nan), take(adapters, 0))
    actual = np.asarray(
        score(params, tokens, put(adapters, 0, nan), jnp.array([2, -1, 0, 1]))
    )
    assert np.all(np.isnan(actual[2]))
    kept = [0, 1, 3]
    np.testing.assert_allclose(actual[kept], by_row(wanted, IDS)[kept], atol=2e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_an_id_that_is_none_of_them_is_heard_of(params, tokens, adapters, count):
    some = take(adapters, 0) if count == 1 else adapters
    actual = np.asarray(score(params, tokens, some, jnp.array([count, 0, -1, 0])))
    assert np.all(np.isnan(actual[0]))
    assert np.all(np.isfinite(actual[1:]))


@pytest.mark.parametrize("by_adapter", [True, False])
def test_joined_adapters_are_the_adapters(
    params, tokens, adapters, wanted, monkeypatch, by_adapter
):
    monkeypatch.setattr(layers, "is_cheaper_by_adapter", lambda *sizes: by_adapter)
    fresh = jax.jit(lambda *given: score.__wrapped__(*given))
    run = functools.partial(fresh, params, tokens)
    joined = lora.joined(adapters, jnp.float32)
    np.testing.assert_allclose(
        run(joined, jnp.array(IDS)), by_row(wanted, IDS), atol=2e-5
    )
    none = jnp.full(len(IDS), -1)
    np.testing.assert_array_equal(run(joined, none), wanted[-1])
    # Those that have diverged, or are not there, are heard of, and reach no others.
    for size in (np.nan, np.inf):
        bad = jax.tree.map(functools.partial(jnp.add, size), take(adapters, 0))
        spoilt = lora.joined(put(adapters, 0, bad), jnp.float32)
        actual = np.asarray(run(spoilt, jnp.array(IDS)))
        assert np.all(np.isnan(actual[2]))
        kept = [0, 1, 3]
        np.testing.assert_allclose(actual[kept], by_row(wanted, IDS)[kept], atol=2e-5)
    actual = np.asarray(run(joined, jnp.array([3, 0, -1, 0])))
    assert np.all(np.isnan(actual[0]))
    assert np.all(np.isfinite(actual[1:]))


def test_adapters_are_joined_in_the_dtype_of_the_computation(params, tokens, adapters):
    """Which changes nothing: they are cast to it in any case."""
    half, ids = jnp.bfloat16, jnp.array(IDS)
    wanted = score(params, tokens, adapters, ids, dtype=half)
    for joined in (lora.joined(adapters, half), lora.joined(adapters, jnp.float32)):
        actual = score(params, tokens, joined, ids, dtype=half)
        np.testing.assert_allclose(actual, wanted, atol=3e-2)


def test_adapters_of_many_tokens_are_taken_by_row():
    cheaper = layers.is_cheaper_by_adapter
    assert cheaper(29, 32, 1) and cheaper(1, 32, 512)  # decoding; nothing to choose
    assert not cheaper(29, 32, 512)  # a prompt is read
    assert not cheaper(29, 4, 1)  # most adapters are nobody's


def test_new_adapters_are_as_those_of_peft():
    config = lora.LoraConfig(rank=40, alpha=5.0, targets=("down", "query"))
    new = init(config, jax.random.key(3), 2, jnp.bfloat16)
    assert {name: leaf.shape for name, leaf in leaves(new.weights).items()} == {
        "attention/query/a": (2, 2, 16, 40),
        "attention/query/b": (2, 2, 40, 24),
        "mlp/down/a": (2, 2, 20, 40),
        "mlp/down/b": (2, 2, 40, 16),
    }
    np.testing.assert_array_equal(new.scale, [0.125, 0.125])
    for name, leaf in leaves(new.weights).items():
        assert leaf.dtype == jnp.bfloat16
        leaf = np.asarray(leaf, np.float32)
        if name.endswith("b"):
            np.testing.assert_array_equal(leaf, 0.0)
            continue
        # Uniform over the whole of its range, different in layers and adapters.
        bound = leaf.shape[2] ** -0.5
        assert 0.97 * bound < np.max(leaf) < 1.01 * bound
        assert -1.01 * bound < np.min(leaf) < -0.97 * bound
        assert np.std(leaf) == pytest.approx(bound / 3**0.5, rel=0.05)
        flat = leaf.reshape(4, -1)
        assert np.max(np.abs(np.corrcoef(flat) - np.eye(4))) < 0.2


def test_all_layers_have_their_own_numbers_of_features():
    params = jax.eval_shape(lambda: lm.init_params(CONFIG, jax.random.key(0)))
    for name, block in lora.BLOCKS.items():
        kernel = params["layers"][block][name]["kernel"]
        assert lora.features(CONFIG, name) == kernel.shape[1:]
    linear = {name for name in leaves(params["layers"]) if name.endswith("kernel")}
    assert len(linear) == len(lora.BLOCKS)


def test_stacked_adapters_of_different_kinds(params, tokens, wanted):
    kinds = [
        lora.LoraConfig(rank=2, alpha=5.0, targets=("query", "key", "gate")),
        lora.LoraConfig(rank=3, alpha=1.5, targets=("gate", "up", "down")),
        lora.LoraConfig(rank=1, alpha=2.0, targets=("output", "value")),
    ]
    each = [make(config, i) for i, config in enumerate(kinds)]
    stacked = stack(stack(*each[:2]), each[2])
    np.testing.assert_allclose(stacked.scale, [2.5, 0.5, 2.0])
    ids = jnp.array([0, 1, 2, -1])
    actual = score(params, tokens, stacked, ids)
    for row, one in enumerate(each):
        alone = score(merge(params, one, 0), tokens)
        np.testing.assert_allclose(actual[row], alone[row], atol=2e-5)
    np.testing.assert_array_equal(actual[3], wanted[-1][3])
    # What was filled up has no gradient, so that it stays zero.
    of_filled = gradient(params, tokens, stacked, ids)
    for name, leaf in leaves(of_filled).items():
        filled = np.asarray(leaves(stacked.weights)[name]) == 0
        np.testing.assert_array_equal(np.asarray(leaf)[filled], 0.0, name)
        assert np.any(filled)


def test_an_adapter_put_among_others(adapters):
    small = make(lora.LoraConfig(rank=2, alpha=7.0, targets=("up", "key")), 9)
    buffer = jax.tree.map(lambda x: jnp.array(np.asarray(x)), adapters)
    changed = jax.jit(lora.put, donate_argnums=0)(buffer, jnp.int32(1), small)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(buffer))
    np.testing.assert_allclose(changed.scale, [2.0, 3.5, 1.0])
    for index in (0, 2):
        for leaf, same in zip(
            jax.tree.leaves(take(changed, index)),
            jax.tree.leaves(take(adapters, index)),
            strict=True,
        ):
            np.testing.assert_array_equal(leaf, same)
    one = lora.pairs_of(take(changed, 1))
    for name, pair in one.items():
        own = lora.pairs_of(small).get(name)
        for part, axis in (("a", 3), ("b", 2)):
            kept, rest = np.split(np.asarray(pair[part]), [2], axis)
            np.testing.assert_array_equal(rest, 0.0)
            np.testing.assert_array_equal(kept, 0.0 if own is None else own[part])


def test_a_narrow_buffer_stays_narrow(adapters):
    changed = put(cast(adapters, jnp.bfloat16), 0, take(adapters, 1))
    wide = leaves(adapters.weights)
    for name, leaf in leaves(changed.weights).items():
        assert leaf.dtype == jnp.bfloat16
        expected = np.asarray(wide[name])[:, 1].astype(jnp.bfloat16)
        np.testing.assert_array_equal(np.asarray(leaf)[:, 0], expected)


def test_an_adapter_taken_by_a_traced_index(adapters):
    one, every = take(adapters, jnp.int32(2)), leaves(adapters.weights)
    np.testing.assert_array_equal(one.scale, [LORAS[2].scale])
    for name, leaf in leaves(one.weights).items():
        np.testing.assert_array_equal(leaf, np.asarray(every[name])[:, 2:])


def test_merging_changes_kernels_of_targets_alone(params):
    half = cast(params, jnp.bfloat16)
    one = make(lora.LoraConfig(rank=2, alpha=3.0, targets=("key", "up")), 4)
    merged = leaves(lora.merge(CONFIG, half, one, 0))
    pairs = lora.pairs_of(one)
    for name, leaf in leaves(half).items():
        assert merged[name].dtype == jnp.bfloat16
        *_, layer, kind = name.split("/") if "/" in name else ("", name)
        if kind == "kernel" and layer in pairs:
            a, b = (np.asarray(pairs[layer][part][:, 0], np.float64) for part in "ab")
            expected = np.asarray(leaf, np.float64) + 1.5 * a @ b
            error = np.abs(np.asarray(merged[name], np.float64) - expected)
            assert np.all(error <= 2.0**-8 * np.abs(expected) + 1e-6)
        else:
            assert merged[name] is leaf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0: at least 1"),
        ({"alpha": 0.0}, "alpha is 0.0: a number above 0"),
        ({"alpha": float("nan")}, "alpha is nan: a number above 0"),
        ({"alpha": float("inf")}, "alpha is inf: a number above 0"),
        ({"targets": ()}, "targets is (): at least 1 value is needed"),
        ({"targets": ("key", "key")}, "targets has 'key' twice: once is needed"),
        ({"targets": ("key", "q_proj")}, "targets has 'q_proj': one of query, key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError) as caught:
        lora.LoraConfig(**options)
    assert str(caught.value).startswith(message)


def test_what_does_not_fit_is_refused(params, adapters):
    def refused(message, function, *arguments):
        with pytest.raises(ValueError) as caught:
            function(*arguments)
        assert str(caught.value).startswith(message)

    new = functools.partial(
        lora.init_adapters, CONFIG, LORAS[0], jax.random.key(0), num_adapters=0
    )
    refused("num_adapters is 0: at least 1", new)
    refused("adapters is empty: at least one", lora.stack, [])
    one = take(adapters, 0)
    half = cast(one, jnp.bfloat16)
    refused("adapters are bfloat16 and float32: one", lora.stack, [one, half])
    for index in (-1, 3, jnp.int32(3)):
        message = f"index is {index}: 0 to 2 is needed"
        refused(message, lora.take, adapters, index)
        refused(message, lora.put, adapters, index, one)
        refused(message, lora.merge, CONFIG, params, adapters, index)
    refused("one has 3 adapters: exactly 1", lora.put, adapters, 0, adapters)
    wide = make(lora.LoraConfig(rank=4), 0)
    message = "adapters have query/a [2, 1, 16, 4]: [2, 1, 16, 3], or a smaller rank"
    refused(message, lora.put, adapters, 0, wide)
    up = make(lora.LoraConfig(rank=3, targets=("up",)), 0)
    more = make(lora.LoraConfig(rank=3, targets=("up", "query")), 0)
    refused("one has targets query: only up are", lora.put, up, 0, more)
    pair = {"a": jnp.zeros((2, 1, 17, 3)), "b": jnp.zeros((2, 1, 3, 20))}
    other = lm.Adapters({"mlp": {"up": pair}}, jnp.ones(1))
    message = "adapters have up/a [2, 1, 17, 3]: [2, 1, 16, 3], or a smaller rank"
    refused(message, lora.stack, [up, other])
    message = "adapters is a tree with up/a [2, 1, 17, 3]: [2, 1, 16, 3] is needed"
    refused(message, lora.merge, CONFIG, params, other, 0)
