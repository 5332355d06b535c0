"""Where nothing matters, nothing is learnt: equal games give exactly 0, all the way."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import learners, nets, policies
from aajax.envs.matrix import matrix_game
from aajax.envs.matrix.players import memory_one, scripted_table
from aajax.learners.objective import prepare
from aajax.ops import surrogate
from aajax.rollout import begin, rollout

POLICY = policies.categorical_policy(nets.tabular(5, 2), epsilon=0.3)
GROUP = learners.group_relative
ESTIMATORS = {
    "group": lambda games: GROUP(0.96),
    "pairs": lambda games: GROUP(0.96, jnp.arange(games) // 2),
    "critic": lambda games: learners.centred(learners.critic(0.96, 0.95)),
}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@cache
def indifferent(payoff, num_games, num_steps=16):
    """Games of a policy that tries everything, where all pays alike."""
    env = matrix_game(jnp.full((2, 2, 2), payoff), num_steps=num_steps)
    table = policies.seated([POLICY], [[0, 1]])
    params = (POLICY.init(jax.random.key(0)),)
    # A critic that has learnt nothing, and so says the same of every observation.
    params[0]["critic"] = jnp.zeros_like(params[0]["critic"])
    keys = jax.random.split(jax.random.key(1))
    tables = begin(keys[0], env, table, num_games)
    _, trajectory = rollout(keys[1], env, table, params, tables, num_steps)
    assert len(np.unique(trajectory.action[:, :, 0], axis=1).T) > 1
    return params[0], trajectory._replace(memory=trajectory.memory[0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "num_games", [2, 194, *(pytest.param(n, marks=pytest.mark.slow) for n in (6, 64))]
)
def test_a_learner_in_a_game_where_nothing_matters(estimator, num_games):
    algorithms = {
        "pg": learners.policy_gradient,
        "ppo": partial(learners.ppo, num_epochs=1, num_minibatches=1),
    }
    surrogates = {"pg": surrogate.reinforce, "ppo": surrogate.clipped(0.2)}
    for name, make in algorithms.items():
        objective = learners.advantage_alignment(
            ESTIMATORS[estimator](num_games),
            gamma=0.96,
            beta=1.0,
            whiten=True,
            surrogate=surrogates[name],
        )
        prepared = jax.jit(partial(prepare, objective, seats=None))
        update = jax.jit(make(POLICY, objective, optax.adam(0.1)).update)
        for payoff in (0.1, 0.495, -1.0, 1e4):
            params, trajectory = indifferent(payoff, num_games)
            credit = prepared(trajectory).credit
            np.testing.assert_array_equal(credit, np.zeros((16, num_games, 2)))
            state = learners.LearnerState(params, optax.adam(0.1).init(params))
            after, _ = update(jax.random.key(2), state, trajectory)
            np.testing.assert_array_equal(after.params["actor"], params["actor"])


@pytest.mark.parametrize("whiten", [False, True])
def test_games_that_have_settled_give_no_credit(whiten):
    """512 equal games of mutual cooperation."""
    env = matrix_game(jnp.array([[[-1.0, -3], [0, -2]], [[-1, 0], [-3, -2]]]))
    table = memory_one()
    params = scripted_table("tit_for_tat", 2, 2)
    tables = begin(jax.random.key(0), env, table, 512)
    _, trajectory = rollout(jax.random.key(1), env, table, params, tables, 16)
    objective = learners.advantage_alignment(
        GROUP(0.96), gamma=0.96, beta=1.0, whiten=whiten
    )
    batch = prepare(objective, trajectory, None)
    np.testing.assert_array_equal(batch.credit, np.zeros((16, 512, 2)))
