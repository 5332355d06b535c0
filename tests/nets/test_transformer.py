"""A transformer step by step and all at once, and against its equations in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import nets
from aajax.nets.transformer import Block, Gate, Transformer, positions

NUM_STEPS, NUM_GAMES, NUM_SEATS, SIZE, CONTEXT = 7, 4, 2, 5, 4
RNG = np.random.default_rng(0)
OBSERVATION = RNG.normal(size=(NUM_STEPS, NUM_GAMES, NUM_SEATS, SIZE))
OBSERVATION = OBSERVATION.astype(np.float32)
# One game is never cleared, so that its memory fills up; one is cleared at once.
LAST = np.zeros((NUM_STEPS, NUM_GAMES), bool)
LAST[0, 1] = LAST[2, 2] = LAST[3, 2] = LAST[5, 3] = True


@functools.cache
def network(**options):
    torso = nets.transformer(
        6, 3, num_blocks=2, num_heads=3, context=CONTEXT, readout_sizes=(4,)
    )
    return nets.actor_critic(torso, SIZE, 2, **options)


def drawn(network, seed=0):
    """Parameters far from their start, biases included."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


def played(network, params, memory, observation, last):
    """Scores and values of one step after the other, and the memory at the end."""
    outputs, step = [], jax.jit(network.step)
    for t in range(len(observation)):
        *output, memory = step(params, observation[t], memory)
        outputs.append(output)
        memory = jax.tree.map(
            lambda x, t=t: jnp.where(
                last[t].reshape(-1, *(1,) * (x.ndim - 1)), jnp.zeros_like(x), x
            ),
            memory,
        )
    return [np.stack(x) for x in zip(*outputs, strict=True)], memory


@pytest.mark.parametrize("begun", [0, 1, 3, 4])
@pytest.mark.parametrize("shared", [False, True])
def test_steps_and_the_whole_are_equal(begun, shared):
    """Also of games that went on before, and with memories that fill up."""
    one = network(shared=shared)
    params = drawn(one)
    memory = one.initial_memory((NUM_GAMES, NUM_SEATS))
    _, memory = played(
        one, params, memory, OBSERVATION[:begun][::-1], np.zeros_like(LAST)
    )
    expected, _ = played(one, params, memory, OBSERVATION, LAST)
    actual = jax.jit(one.unroll)(params, OBSERVATION, LAST, memory)
    for x, y in zip(actual, expected, strict=True):
        assert x.shape[:3] == (NUM_STEPS, NUM_GAMES, NUM_SEATS)
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4)
    assert np.std(actual[1]) > 0.1


def depends(t, game):
    """Which outputs of a game change with its observation at step t."""
    one = network()
    params, memory = drawn(one), one.initial_memory((NUM_GAMES, NUM_SEATS))
    other = OBSERVATION.copy()
    other[t, game] += 1
    run = jax.jit(one.unroll)
    before, after = (run(params, x, LAST, memory)[0] for x in (OBSERVATION, other))
    changes = np.abs(before - after).max((2, 3)) > 1e-6
    assert not np.delete(changes, game, axis=1).any()
    return changes[:, game].tolist()


def test_it_sees_the_past_of_its_episode_alone():
    """Up to the step at which its memory is full, or the game over."""
    assert depends(1, game=0) == [False, True, True, True, False, False, False]
    assert depends(5, game=0) == [False] * 5 + [True, True]
    assert depends(0, game=1) == [True] + [False] * 6
    assert depends(1, game=2) == [False, True, True, False, False, False, False]


@pytest.mark.slow
def test_gradients_step_by_step_are_those_of_the_whole():
    one = network()
    params, memory = drawn(one), one.initial_memory((NUM_GAMES, NUM_SEATS))

    def whole(params):
        scores, value = one.unroll(params, OBSERVATION[:3], LAST[:3], memory)
        return jnp.sum(scores**2) + jnp.sum(value)

    def stepwise(params):
        total, carried = 0.0, memory
        for t in range(3):
            scores, value, carried = one.step(params, OBSERVATION[t], carried)
            total += jnp.sum(scores**2) + jnp.sum(value)
            carried = jax.tree.map(
                lambda x, t=t: jnp.where(
                    LAST[t].reshape(-1, *(1,) * (x.ndim - 1)), jnp.zeros_like(x), x
                ),
                carried,
            )
        return total

    gradients = jax.jit(jax.grad(whole))(params), jax.jit(jax.grad(stepwise))(params)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-3), *gradients
    )


# By hand


def layer(params, x):
    return x @ params["kernel"] + params.get("bias", 0)


def norm(params, x):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * params["scale"] + params["bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gate_by_hand(params, x, y):
    wr, wz, wn = np.split(layer(params["new"], y), 3, axis=-1)
    ur, uz = np.split(layer(params["old"], x), 2, axis=-1)
    r, z = sigmoid(wr + ur), sigmoid(wz + uz - 2)
    return (1 - z) * x + z * np.tanh(wn + layer(params["reset"], r * x))


def block_by_hand(params, x, num_heads):
    """Of one row that sees its past, x f[T, W]."""
    normed = norm(params["before_attention"], x)
    q, k, v = (
        layer(params[name], normed).reshape(len(x), num_heads, -1)
        for name in ("query", "key", "value")
    )
    seen = np.zeros_like(q)
    for t in range(len(x)):
        for head in range(num_heads):
            scores = k[: t + 1, head] @ q[t, head] / np.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max())
            seen[t, head] = weights / weights.sum() @ v[: t + 1, head]
    y = layer(params["out"], seen.reshape(x.shape))
    x = gate_by_hand(params["after_attention"], x, y)
    y = layer(params["wide"], norm(params["before_dense"], x))
    y = np.asarray(jax.nn.gelu(y))
    return gate_by_hand(params["after_dense"], x, layer(params["narrow"], y))


def drawn_module(module, *arguments, **options):
    shapes = jax.eval_shape(
        functools.partial(module.init, **options), jax.random.key(0), *arguments
    )
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


def test_a_transformer_is_its_equations():
    cell = Transformer(width=4, num_blocks=2, num_heads=2, context=3)
    x = RNG.normal(size=(3, 1, 5)).astype(np.float32)
    memory = cell.initial_memory((1,))
    params = drawn_module(cell, memory, x[0], method="step")
    last = np.zeros((3, 1), bool)
    actual = cell.apply(params, memory, x, last, method="unroll")[:, 0]
    inner = params["params"]
    angle = np.arange(3)[:, None] * np.array([1.0, 1e-2])
    place = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    h = start = 2 * layer(inner["embed"], x[:, 0]) + place
    for i in range(2):
        h = start + block_by_hand(inner[f"blocks_{i}"], h, 2)
    expected = norm(inner["norm"], h)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4)


def test_a_fresh_gate_passes_most_of_what_it_is_given():
    x, y = RNG.normal(size=(2, 50, 8)).astype(np.float32)
    gate = Gate()
    out = gate.apply(gate.init(jax.random.key(0), x, y), x, y)
    assert np.corrcoef(out.ravel(), x.ravel())[0, 1] > 0.9


def test_positions_differ_and_are_bounded():
    table = positions(jnp.arange(1000), 8)
    assert table.shape == (1000, 8)
    np.testing.assert_allclose((table**2).sum(1), 4, rtol=1e-5)
    assert len(np.unique(np.round(table, 5), axis=0)) == 1000


def test_a_block_has_the_weights_of_its_width():
    block = Block(8, 2)
    x = jnp.zeros((1, 2, 8))
    params = block.init(jax.random.key(0), x, x, x, jnp.ones((1, 2, 2), bool))
    shapes = jax.tree.map(jnp.shape, params["params"])
    assert shapes["wide"]["kernel"] == (8, 32)
    assert set(shapes) >= {"query", "out", "after_attention", "after_dense"}


@pytest.mark.parametrize(("size", "heads"), [(5, 5), (6, 4)])
def test_sizes_that_heads_cannot_share_are_refused(size, heads):
    with pytest.raises(
        ValueError, match=f"size is {size}: an even multiple of {heads}"
    ):
        nets.transformer(size, num_blocks=1, num_heads=heads, context=2)
