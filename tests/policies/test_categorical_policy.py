"""Policies made of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.nets import tabular
from aajax.policies import categorical_policy
from aajax.policies.base import reset_memory

NETWORK = tabular(5, 3)
PARAMS = {
    "actor": jnp.array(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32),
    "critic": jnp.arange(5.0),
}


def probabilities(epsilon):
    actor = np.asarray(PARAMS["actor"], float)
    softmax = np.exp(actor) / np.exp(actor).sum(1, keepdims=True)
    return (1 - epsilon) * softmax + epsilon / 3


@jax.jit
def act(epsilon, observation):
    policy = categorical_policy(NETWORK, epsilon)
    return policy.act(PARAMS, jax.random.key(0), observation, ())


@jax.jit
def evaluate(epsilon, observation, action):
    policy = categorical_policy(NETWORK, epsilon)
    last = jnp.zeros(action.shape[:2], bool)
    return policy.evaluate(PARAMS, observation, action, last, ())


@pytest.mark.parametrize("epsilon", [None, 0.0, 0.3, 1.0])
def test_the_epsilon_soft_policy_is_the_mixture(epsilon):
    draws = 3000
    observation = jnp.broadcast_to(jnp.eye(5), (draws, 5, 5))
    output = act(epsilon, observation)
    expected = probabilities(epsilon or 0.0)
    chosen = np.take_along_axis(expected, np.asarray(output.action).T, axis=1).T
    np.testing.assert_allclose(np.exp(output.log_prob), chosen, rtol=1e-5)
    shares = np.mean(np.asarray(output.action)[..., None] == np.arange(3), axis=0)
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(shares - expected) < 4 * error).all()


@pytest.mark.parametrize("epsilon", [None, 0.3])
def test_evaluation_reads_the_same_mixture(epsilon):
    expected = probabilities(epsilon or 0.0)
    observation = jnp.broadcast_to(jnp.eye(5)[:, None], (5, 3, 5))
    action = jnp.broadcast_to(jnp.arange(3), (5, 3))
    result = evaluate(epsilon, observation, action)
    np.testing.assert_allclose(np.exp(result.log_prob), expected, rtol=1e-5)
    entropy = -(expected * np.log(expected)).sum(1)
    np.testing.assert_allclose(result.entropy, np.stack([entropy] * 3, 1), rtol=1e-5)
    np.testing.assert_array_equal(result.value[:, 0], np.arange(5))


def test_the_mixture_is_what_learns():
    # d log((1 − ε) π + ε/A) / d logits = (1 − ε) π (onehot − π) / mixture.
    epsilon, state, action = 0.3, 2, 1
    policy = categorical_policy(NETWORK, epsilon)

    @jax.jit
    def log_prob(params):
        observation = jnp.eye(5)[state][None, None]
        actions = jnp.full((1, 1), action)
        last = jnp.zeros((1, 1), bool)
        return policy.evaluate(params, observation, actions, last, ()).log_prob[0, 0]

    gradient = jax.grad(log_prob)(PARAMS)
    pi = probabilities(0.0)[state]
    mixture = probabilities(epsilon)[state, action]
    expected = np.zeros((5, 3))
    expected[state] = (1 - epsilon) * pi[action] * (np.eye(3)[action] - pi) / mixture
    np.testing.assert_allclose(gradient["actor"], expected, rtol=1e-4, atol=1e-7)
    assert not gradient["critic"].any()


def test_memory_begins_again_in_the_games_that_stop():
    memory = {"a": jnp.arange(12.0).reshape(3, 2, 2), "b": jnp.arange(3)}
    initial = {"a": -jnp.ones((3, 2, 2)), "b": jnp.full(3, 7)}
    last = jnp.array([False, True, False])
    result = reset_memory(memory, initial, last)
    np.testing.assert_array_equal(
        result["a"], [[[0, 1], [2, 3]], [[-1, -1], [-1, -1]], [[8, 9], [10, 11]]]
    )
    np.testing.assert_array_equal(result["b"], [0, 7, 2])
    assert reset_memory((), (), last) == ()
