"""How policies answer what happened."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs, nets
from aajax.envs.matrix import matrix_game
from aajax.league import cooperation_after, outcome_names
from aajax.policies import Network, categorical_policy
from aajax.policies.base import reset_memory

CHANCES = np.array([0.9, 0.8, 0.2, 0.6, 0.35])


def parameters(chances):
    """Logits of a table whose chances of action 0 are given."""
    chances = jnp.asarray(chances, jnp.float32)
    logits = jnp.stack([jnp.log(chances), jnp.log1p(-chances)], axis=-1)
    return {"actor": logits, "critic": jnp.zeros(len(chances))}


@functools.partial(jax.jit, static_argnames=("policy",))
def ask(env, policy, params):
    return cooperation_after(
        jax.random.key(0), env, policy, params, num_games=9, num_steps=4
    )


def test_a_table_answers_with_itself():
    """In the order START, CC, CD, DC, DD, own action first."""
    policy = categorical_policy(nets.tabular(5, 2))
    env = envs.make("ipd")
    answers = ask(env, policy, (parameters(CHANCES),) * 2)
    np.testing.assert_allclose(answers, CHANCES, rtol=1e-5)
    # Two unlike seats are averaged, each asked with its own action first.
    other = CHANCES[::-1]
    answers = ask(env, policy, (parameters(CHANCES), parameters(other)))
    np.testing.assert_allclose(answers, (CHANCES + other) / 2, rtol=1e-5)


def test_three_seats():
    chances = np.linspace(0.1, 0.9, 9)
    policy = categorical_policy(nets.tabular(9, 2))
    answers = ask(envs.make("public_goods"), policy, (parameters(chances),) * 3)
    np.testing.assert_allclose(answers, chances, rtol=1e-5)


def since_the_start():
    """A network that cooperates with chance ¾ until anybody defects, then with ¼."""

    def step(params, observation, memory):
        defected = memory | (observation[..., 2:].sum(-1) > 0)
        scores = jnp.where(defected[..., None], -params, params)
        return scores, jnp.zeros(defected.shape), defected

    def unroll(params, observation, last, memory):
        def body(memory, x):
            observation, last = x
            scores, value, memory = step(params, observation, memory)
            memory = reset_memory(memory, jnp.zeros_like(memory), last)
            return memory, (scores, value)

        return jax.lax.scan(body, memory, (observation, last))[1]

    return Network(
        init=lambda key: jnp.log(jnp.array([3.0, 1.0])),
        initial_memory=lambda shape: jnp.zeros(shape, bool),
        step=step,
        unroll=unroll,
    )


def test_a_policy_with_memory_is_asked_about_its_own_history():
    network = since_the_start()
    policy = categorical_policy(network)
    params = network.init(None)
    num_games = 1200
    answers = cooperation_after(
        jax.random.key(0),
        envs.make("ipd"),
        policy,
        (params, params),
        num_games=num_games,
        num_steps=4,
    )
    np.testing.assert_allclose(answers[0], 0.75, rtol=1e-5)
    # CC is forced at step 0, 1 or 2; nobody has defected before with chance 1, p, p²
    # where p = (¾)². Any other outcome turns everybody for good.
    clean = np.mean([1.0, 0.75**2, 0.75**4])
    error = 0.5 * np.sqrt(clean * (1 - clean) / num_games)
    assert abs(answers[1] - (0.25 + 0.5 * clean)) < 4 * error
    np.testing.assert_allclose(answers[2:], 0.25, rtol=1e-5)


@pytest.mark.parametrize(
    ("env", "names"),
    [
        (envs.make("ipd"), ["start", "CC", "CD", "DC", "DD"]),
        (
            envs.make("chicken"),
            [
                "start",
                "swerve,swerve",
                "swerve,straight",
                "straight,swerve",
                "straight,straight",
            ],
        ),
        (
            matrix_game(np.zeros((3, 2, 2, 2))),
            ["start", "000", "001", "010", "011", "100", "101", "110", "111"],
        ),
    ],
    ids=["ipd", "chicken", "three"],
)
def test_outcomes_are_named_own_action_first(env, names):
    assert outcome_names(env) == names
