"""Small networks: what they read, what they remember, what is kept apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs, nets
from aajax.policies import categorical_policy
from aajax.rollout import begin, rollout

NUM_GAMES = 6
NUM_STEPS = 12
ENV = envs.AutoReset(envs.make("ipd", num_steps=5, continuation=0.7))
NETWORKS = {
    "tabular": lambda **options: nets.tabular(5, 2, **options),
    "mlp": lambda **options: nets.actor_critic(nets.mlp(6, 4), 5, 2, **options),
    "gru": lambda **options: nets.actor_critic(nets.gru(4, 3), 5, 2, **options),
}
every_network = pytest.mark.parametrize("kind", NETWORKS)
# A multilayer perceptron is a recurrent network less its cell.
two_networks = pytest.mark.parametrize("kind", ["tabular", "gru"])
every_torso = pytest.mark.parametrize("kind", ["mlp", "gru"])


def draw(network):
    """Parameters far from their start, so that observations and memories matter."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


@functools.cache
def decided(kind):
    return draw(NETWORKS[kind]())


@functools.cache
def played(kind):
    """A policy and the second of two stretches of play, [T, B, N, ...]."""
    policy = categorical_policy(NETWORKS[kind](value_scale=3.0), 0.1)
    params = decided(kind)

    @jax.jit
    def play(key, tables):
        return rollout(key, ENV, policy, params, tables, NUM_STEPS)

    # The second stretch begins with some games in mid-episode.
    tables = begin(jax.random.key(0), ENV, policy, NUM_GAMES)
    tables, _ = play(jax.random.key(1), tables)
    return policy, play(jax.random.key(2), tables)[1]


def reread(kind, **changes):
    policy, trajectory = played(kind)
    trajectory = trajectory._replace(**changes)
    return jax.jit(policy.evaluate)(
        decided(kind),
        trajectory.observation,
        trajectory.action,
        trajectory.last,
        trajectory.memory,
    )


@every_network
def test_what_is_read_again_is_what_was_played(kind):
    _, trajectory = played(kind)
    last = np.asarray(trajectory.last)
    assert last[:-1].any() and not last.all(axis=1).any()
    evaluation = reread(kind)
    for name in ("log_prob", "value"):
        recorded = getattr(trajectory, name)
        assert recorded.shape == (NUM_STEPS, NUM_GAMES, 2)
        assert np.std(recorded) > 0.1
        np.testing.assert_allclose(
            getattr(evaluation, name), recorded, rtol=2e-5, atol=2e-5
        )


def test_reading_again_needs_the_memory_and_its_resets():
    _, trajectory = played("gru")
    never = jnp.zeros_like(trajectory.last)
    empty = jax.tree.map(jnp.zeros_like, trajectory.memory)
    for changes in ({"last": never}, {"memory": empty}):
        evaluation = reread("gru", **changes)
        for name in ("log_prob", "value"):
            difference = getattr(evaluation, name) - getattr(trajectory, name)
            assert np.abs(difference).max() > 1e-2


@two_networks
def test_the_value_is_that_of_acting(kind):
    policy, trajectory = played(kind)
    observation, memory = trajectory.observation[0], trajectory.memory
    value = jax.jit(policy.value)(decided(kind), observation, memory)
    np.testing.assert_allclose(value, trajectory.value[0], rtol=2e-5, atol=2e-5)


@two_networks
def test_actor_and_critic_share_nothing(kind):
    network = NETWORKS[kind]()
    params = decided(kind)
    assert set(params) == {"actor", "critic"}

    @jax.jit
    def gradients(params):
        memory = network.initial_memory((3,))
        observation = jnp.eye(5)[:3]

        def outputs(params):
            scores, value, _ = network.step(params, observation, memory)
            return scores[:, 0].sum(), value.sum()

        return [jax.grad(lambda p, i=i: outputs(p)[i])(params) for i in range(2)]

    of_scores, of_value = gradients(params)
    for gradient, moved, still in [
        (of_scores, "actor", "critic"),
        (of_value, "critic", "actor"),
    ]:
        assert any(np.any(x != 0) for x in jax.tree.leaves(gradient[moved]))
        assert all(np.all(x == 0) for x in jax.tree.leaves(gradient[still]))


@every_torso
def test_without_a_critic_the_value_is_zero(kind):
    network = NETWORKS[kind](critic=False)
    params = draw(network)
    assert set(params) == {"actor", "critic"}
    assert jax.tree.leaves(params["critic"]) == []
    memory = network.initial_memory((2,))
    step = jax.jit(network.step)
    scores, value, memory = step(params, jnp.eye(5)[:2], memory)
    assert np.all(scores != 0)
    np.testing.assert_array_equal(value, np.zeros(2))
    assert set(memory) == ({"actor"} if kind == "gru" else set())


@two_networks
def test_the_value_is_scaled(kind):
    @jax.jit
    def value(scale):
        network = NETWORKS[kind](value_scale=scale)
        memory = network.initial_memory((5,))
        return network.step(decided(kind), jnp.eye(5), memory)[1]

    assert np.all(value(1.0) != 0)
    np.testing.assert_allclose(value(16.0), 16 * value(1.0), rtol=1e-6)


def test_a_fresh_network_leans_nowhere():
    network = nets.actor_critic(nets.mlp(4), 5, 2)
    params = jax.jit(network.init)(jax.random.key(0))
    scores, value, _ = jax.jit(network.step)(params, jnp.eye(5), ())
    # Heads of scale 0.01 over features within (−1, 1).
    assert np.abs(scores).max() < 0.05
    assert np.abs(value).max() < 0.05
    assert np.std(scores) > 0


@pytest.mark.parametrize(("kind", "remembers"), [("mlp", False), ("gru", True)])
def test_who_remembers(kind, remembers):
    """Two games that differ in their first observation alone, and reset at once."""
    network = NETWORKS[kind]()
    observation = jnp.eye(5)[np.array([[1, 4], [2, 2], [3, 3], [3, 3]])]
    last = jnp.array([[False] * 2, [False] * 2, [True] * 2, [False] * 2])
    scores, value = jax.jit(network.unroll)(
        decided(kind), observation, last, network.initial_memory((2,))
    )
    for output in (scores, value):
        differs = np.abs(output[:, 0] - output[:, 1]).reshape(4, -1).max(1) > 1e-4
        np.testing.assert_array_equal(differs, [True, remembers, remembers, False])


def test_a_table_is_its_rows():
    network = nets.tabular(3, 2)
    params = {"actor": jnp.arange(6.0).reshape(3, 2), "critic": jnp.array([5.0, 6, 7])}
    observation = jnp.eye(3)[jnp.array([[2, 0], [1, 1]])]
    scores, value, memory = network.step(params, observation, ())
    np.testing.assert_array_equal(scores, [[[4, 5], [0, 1]], [[2, 3], [2, 3]]])
    np.testing.assert_array_equal(value, [[7, 5], [6, 6]])
    assert memory == ()


@pytest.mark.parametrize("scale", [0.0, 0.1, 2.0])
def test_a_fresh_table_has_the_scale_asked_for(scale):
    params = nets.tabular(4000, 2, initial_scale=scale).init(jax.random.key(0))
    assert params["actor"].shape == (4000, 2)
    error = scale / np.sqrt(2 * 8000)
    assert abs(np.std(params["actor"]) - scale) <= 4 * error
    np.testing.assert_array_equal(params["critic"], np.zeros(4000))
