"""Torsos against their equations in NumPy, and torsos that actor and critic share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import nets
from aajax.learners import LearnerState
from aajax.nets.torsos import GRU

NUM_STEPS, NUM_GAMES, SIZE = 5, 3, 4
RNG = np.random.default_rng(0)
OBSERVATION = RNG.normal(size=(NUM_STEPS, NUM_GAMES, SIZE)).astype(np.float32)
# Some games stop, one of them twice, and never all at once.
LAST = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
TORSOS = {
    "mlp": nets.mlp(6, 3),
    "gru": nets.gru(5, 6, readout_sizes=(4, 3)),
    "relu": nets.gru(5, 6, readout_sizes=(3,), activation=jax.nn.relu),
}
every_torso = pytest.mark.parametrize("kind", TORSOS)
with_and_without_memory = pytest.mark.parametrize("kind", ["mlp", "gru"])


def drawn(network, seed=0):
    """Parameters far from their start, biases included."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


# By hand


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_by_hand(params, h, x):
    """r, z, n and h' in the order of the equations."""
    inner = params["params"]
    wr, wz, wn = np.split(inner["input"]["kernel"], 3, axis=1)
    br, bz, bn = np.split(inner["input"]["bias"], 3)
    ur, uz, un = np.split(inner["recurrent"], 3, axis=1)
    r = sigmoid(x @ wr + br + h @ ur)
    z = sigmoid(x @ wz + bz + h @ uz)
    n = np.tanh(x @ wn + bn + r * (h @ un + inner["bias"]))
    return (1 - z) * n + z * h


def mlp_by_hand(params, x, activation):
    layers = params.get("params", {})
    for i in range(len(layers)):
        layer = layers[f"Dense_{i}"]
        x = activation(x @ layer["kernel"] + layer["bias"])
    return x


def branch_by_hand(kind, branch, observation, last):
    """One branch over time, its memory cleared after last steps."""
    activation = (lambda x: np.maximum(x, 0)) if kind == "relu" else np.tanh
    outputs, h = [], np.zeros((NUM_GAMES, 5))
    for t in range(NUM_STEPS):
        x = mlp_by_hand(branch["encoder"], observation[t], activation)
        if branch["cell"]:
            x = h = gru_by_hand(branch["cell"], h, x)
        x = mlp_by_hand(branch["readout"], x, activation)
        head = branch["head"]["params"]
        outputs.append(x @ head["kernel"] + head["bias"])
        h = np.where(last[t][:, None], 0, h)
    return np.stack(outputs)


def test_a_gru_is_its_equations():
    cell = GRU(5)
    rng = np.random.default_rng(1)
    h, x = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    h, x = h.astype(np.float32), x.astype(np.float32)
    shapes = jax.eval_shape(cell.init, jax.random.key(0), h, x)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)

    @jax.jit
    def both(params, h, x):
        projected = cell.apply(params, x, method=cell.project)
        halves = cell.apply(params, h, projected, method=cell.recur)
        return projected, halves, cell.apply(params, h, x)

    projected, halves, whole = both(params, h, x)
    assert projected.shape == (7, 15)
    expected = gru_by_hand(params, h, x)
    np.testing.assert_allclose(halves, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(whole, expected, rtol=2e-5, atol=2e-5)


def test_a_fresh_grus_memory_is_turned_without_stretching():
    params = GRU(6).init(jax.random.key(0), jnp.zeros(6), jnp.zeros(2))["params"]
    for block in np.split(params["recurrent"], 3, axis=1):
        np.testing.assert_allclose(block @ block.T, np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(params["bias"], np.zeros(6))


@every_torso
def test_a_network_is_its_layers(kind):
    """Unrolled at once and step by step: encoder, cell, readout and head."""
    network = nets.actor_critic(TORSOS[kind], SIZE, 2, value_scale=2.0)
    params = drawn(network)
    memory = network.initial_memory((NUM_GAMES,))
    scores, value = jax.jit(network.unroll)(params, OBSERVATION, LAST, memory)
    expected = branch_by_hand(kind, params["actor"], OBSERVATION, LAST)
    np.testing.assert_allclose(scores, expected, rtol=2e-4, atol=2e-4)
    expected = 2 * branch_by_hand(kind, params["critic"], OBSERVATION, LAST)[..., 0]
    np.testing.assert_allclose(value, expected, rtol=2e-4, atol=2e-4)

    step = jax.jit(network.step)
    for t in range(NUM_STEPS):
        scores_t, value_t, memory = step(params, OBSERVATION[t], memory)
        np.testing.assert_allclose(scores_t, scores[t], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(value_t, value[t], rtol=2e-5, atol=2e-5)
        memory = jax.tree.map(
            lambda x, t=t: np.where(LAST[t][:, None], 0, np.asarray(x)), memory
        )


def test_the_critic_may_have_another_torso():
    network = nets.actor_critic(nets.gru(5), SIZE, 2, critic_torso=nets.mlp(7))
    params = drawn(network)
    assert set(network.initial_memory((3,))) == {"actor"}
    expected = branch_by_hand("mlp", params["critic"], OBSERVATION, LAST)[..., 0]
    _, value = network.unroll(
        params, OBSERVATION, LAST, network.initial_memory((NUM_GAMES,))
    )
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_a_critic_of_several_numbers(shared):
    network = nets.actor_critic(
        nets.gru(5), SIZE, 2, num_values=3, value_scale=4.0, shared=shared
    )
    params = drawn(network)
    memory = network.initial_memory((NUM_GAMES,))
    _, value = network.unroll(params, OBSERVATION, LAST, memory)
    branch = network.critic_branch(params)
    expected = 4 * branch_by_hand("gru", branch, OBSERVATION, LAST)
    assert value.shape == (NUM_STEPS, NUM_GAMES, 3)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)


def test_several_numbers_of_no_critic_and_of_a_table():
    network = nets.actor_critic(nets.mlp(3), SIZE, 2, critic=False, num_values=3)
    _, value, _ = network.step(drawn(network), OBSERVATION, {})
    np.testing.assert_array_equal(value, np.zeros((NUM_STEPS, NUM_GAMES, 3)))

    table = nets.tabular(SIZE, 2, num_values=3, value_scale=10.0)
    params = drawn(table)
    assert params["critic"].shape == (SIZE, 3)
    _, value, _ = table.step(params, jnp.eye(SIZE), ())
    np.testing.assert_allclose(value, 10 * params["critic"], rtol=1e-6)
    assert table.critic_branch(params) is params["critic"]


# Shared torsos


@functools.cache
def shared(kind):
    return nets.actor_critic(TORSOS[kind], SIZE, 2, shared=True)


def run(network, params):
    memory = network.initial_memory((NUM_GAMES,))
    return jax.jit(network.unroll)(params, OBSERVATION, LAST, memory)


@with_and_without_memory
def test_a_shared_critic_reads_the_actors_features(kind):
    network = shared(kind)
    params = drawn(network)
    assert set(params["critic"]) == {"head"}
    scores, value = run(network, params)
    # The same numbers as with torsos of their own that are alike.
    apart = nets.actor_critic(TORSOS[kind], SIZE, 2)
    twice = {**params, "critic": network.critic_branch(params)}
    expected_scores, expected_value = run(apart, twice)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5, atol=1e-5)
    assert np.std(value) > 0.1


@with_and_without_memory
def test_a_shared_torso_learns_from_both(kind):
    network = shared(kind)

    @jax.jit
    def gradients(params):
        def total(params, i):
            memory = network.initial_memory((NUM_GAMES,))
            return network.unroll(params, OBSERVATION, LAST, memory)[i].sum()

        return [jax.grad(total)(params, i) for i in range(2)]

    of_scores, of_value = gradients(drawn(network))
    for gradient in (of_scores, of_value):
        assert any(np.any(x) for x in jax.tree.leaves(gradient["actor"]["encoder"]))
    assert np.any(of_scores["actor"]["head"]["params"]["kernel"])
    assert not np.any(of_value["actor"]["head"]["params"]["kernel"])
    assert not any(np.any(x) for x in jax.tree.leaves(of_scores["critic"]))
    assert all(np.any(x) for x in jax.tree.leaves(of_value["critic"]))


@with_and_without_memory
def test_a_target_critic_has_a_torso_of_its_own(kind):
    """The present actor acts, while the former self, torso and all, gives values."""
    network = shared(kind)
    former, present = drawn(network, seed=1), drawn(network, seed=2)
    target = network.critic_branch(former)
    acting = LearnerState(present, (), target).acting
    scores, value = run(network, acting)
    np.testing.assert_array_equal(scores, run(network, present)[0])
    np.testing.assert_allclose(value, run(network, former)[1], rtol=1e-5, atol=1e-5)
    assert np.abs(value - run(network, present)[1]).max() > 0.1
    # Step by step, too, each with a memory of its own.
    memory = network.initial_memory((NUM_GAMES,))
    assert set(memory) == ({"actor", "critic"} if kind == "gru" else set())
    for t in range(2):
        _, value_t, memory = network.step(acting, OBSERVATION[t], memory)
        if t == 0:
            np.testing.assert_allclose(value_t, value[0], rtol=1e-5, atol=1e-5)
            memory = jax.tree.map(lambda x: jnp.where(LAST[0][:, None], 0.0, x), memory)
    np.testing.assert_allclose(value_t, value[1], rtol=1e-5, atol=1e-5)


def test_sharing_with_another_torso_is_refused():
    with pytest.raises(ValueError, match="critic_torso is given: None is needed"):
        nets.actor_critic(nets.mlp(3), 4, 2, critic_torso=nets.mlp(2), shared=True)
