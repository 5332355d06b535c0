"""How policies answer what happened."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs, nets
from aajax.envs.matrix import matrix_game
from aajax.policies import Network, categorical_policy
from aajax.policies.base import reset_memory
from aajax.tournament import cooperation_after, outcome_names

CHANCES = np.array([0.9, 0.8, 0.2, 0.6, 0.35])


def parameters(chances):
    """Logits of a table whose chances of action 0 are given."""
    chances = jnp.asarray(chances, jnp.float32)
    logits = jnp.stack([jnp.log(chances), jnp.log1p(-chances)], axis=-1)
    return {"actor": logits, "critic": jnp.zeros(len(chances))}


@functools.partial(jax.jit, static_argnames=("policy", "num_games", "num_steps"))
def ask(env, policy, params, num_games=9, num_steps=4):
    key = jax.random.key(0)
    return cooperation_after(key, env, policy, params, num_games, num_steps)


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
    answers = ask(envs.make("ipd"), policy, (params, params), num_games)
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


def test_only_games_that_go_on_are_asked():
    """Half of them end with the first step; the others are asked then, or later."""
    policy = categorical_policy(nets.tabular(5, 2))
    env = envs.make("ipd", continuation=0.5)
    params = (parameters(CHANCES),) * 2
    answers = ask(env, policy, params, num_games=64, num_steps=50)
    np.testing.assert_allclose(answers, CHANCES, rtol=1e-5)
    over = envs.make("ipd", continuation=0.0)
    answers = ask(over, policy, params, num_games=8, num_steps=5)
    np.testing.assert_allclose(answers[0], CHANCES[0], rtol=1e-5)
    assert np.isnan(answers[1:]).all()


def test_many_agents_are_asked_by_how_many_cooperate():
    """Of eight there are 256 joint actions, and sixteen outcomes told by numbers."""
    env = envs.make("public_goods", num_agents=8, num_steps=4)
    names = outcome_names(env)
    assert len(names) == 1 + 2 * 8
    assert names[:2] == ["start", "C, 7 of 7 C"] and names[-1] == "D, 0 of 7 C"

    def counts(params, observation, memory):
        """Cooperates with chance (1 + co-players that did) / 10, or .5 at the start."""
        joint = np.indices((2,) * 8).reshape(8, -1)
        chance = np.append(0.5, (1 + (joint[1:] == 0).sum(0)) / 10)
        chance = observation @ jnp.asarray(chance, jnp.float32)
        scores = jnp.stack([jnp.log(chance), jnp.log1p(-chance)], -1)
        return scores, jnp.zeros(chance.shape), memory

    def unroll(params, observation, last, memory):
        return counts(params, observation, memory)[:2]

    network = Network(lambda key: (), lambda shape: (), counts, unroll)
    answers = ask(env, categorical_policy(network), ((),) * 8, num_games=32)
    expected = [0.5, *([(1 + count) / 10 for count in range(7, -1, -1)] * 2)]
    np.testing.assert_allclose(answers, expected, rtol=1e-4)
