"""Runs of agents that learn jointly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import envs, nets
from aajax.learners import LearnerState
from aajax.learners.lola import lola_exact
from aajax.learners.lookahead import JointLearner
from aajax.policies import categorical_policy
from aajax.training import sweep
from aajax.training.joint_play import fresh_games, joint_play
from aajax.training.self_play import train

POLICY = categorical_policy(nets.tabular(5, 2))
RECURRENT = categorical_policy(nets.actor_critic(nets.gru(4), 5, 2))
SURE = 60.0


def surely(action):
    """Parameters that always take the action."""
    logits = SURE * jax.nn.one_hot(jnp.full(5, action), 2)
    return {"actor": logits, "critic": jnp.zeros(5)}


def test_games_begin_at_the_start_with_one_policy_a_seat():
    env = envs.make("ipd", num_steps=4)
    play = fresh_games(env, [POLICY, RECURRENT], num_games=3)
    params = (surely(1), RECURRENT.init(jax.random.key(0)))
    trajectory = jax.jit(play)(jax.random.key(1), params)
    assert trajectory.action.shape == (4, 3, 2)
    assert (trajectory.observation[0, :, :, 0] == 1).all()
    assert (trajectory.action[..., 0] == 1).all()
    assert set(np.unique(trajectory.action[..., 1])) == {0, 1}
    assert trajectory.memory[0] == ()
    assert {x.shape[:2] for x in jax.tree.leaves(trajectory.memory[1])} == {(3, 1)}


def test_where_episodes_are_short_others_follow():
    env = envs.make("ipd", num_steps=2)
    play = fresh_games(env, [POLICY, POLICY], num_games=3, num_steps=5)
    trajectory = jax.jit(play)(jax.random.key(0), (surely(0), surely(1)))
    begins = trajectory.observation[:, 0, 0, 0]
    np.testing.assert_array_equal(begins, [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(
        trajectory.last[:, 0], [False, True, False, True, False]
    )
    np.testing.assert_array_equal(trajectory.reward[:, 0], [[-3, 0]] * 5)


def test_games_need_a_policy_for_each_seat_and_a_length():
    env = envs.make("ipd")
    with pytest.raises(ValueError, match=r"policies has 1 entries.* the 2 seats"):
        fresh_games(env, [POLICY], num_games=2)
    endless = envs.make("ipd", continuation=0.9)
    with pytest.raises(ValueError, match="num_steps is None"):
        fresh_games(endless, [POLICY, POLICY], num_games=2)


def test_a_trainer_hands_over_states_and_fresh_keys():
    """A learner that adds up a number drawn from each key it is given."""

    def init(key):
        return (LearnerState(jnp.zeros(()), jax.random.uniform(key)),)

    def update(key, states):
        drawn = jax.random.uniform(key)
        (state,) = states
        return (state._replace(params=state.params + drawn),), {"reward": drawn}

    trainer = joint_play(JointLearner(init, update))
    state, metrics = train(trainer, jax.random.key(0), 5)
    drawn = metrics["reward"]
    assert len(np.unique(drawn)) == 5
    assert float(state.learners[0].opt_state) not in drawn
    np.testing.assert_allclose(state.learners[0].params, drawn.sum(), rtol=1e-6)
    assert state.num_updates == 5
    assert state.tables is None


def test_runs_can_be_swept():
    payoff = jnp.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])

    def make(hyperparameters):
        rate = hyperparameters["lookahead_rate"]
        learner = lola_exact(payoff, 0.96, optax.sgd(1.0), lookahead_rate=rate)
        return joint_play(learner)

    hyperparameters = sweep.grid({"lookahead_rate": [0.0, 1.0]})
    state = sweep.start(make, hyperparameters, [0, 1, 2])
    state, metrics = sweep.advance(make, 30)(hyperparameters, state)
    reward = metrics["reward"]
    assert reward.shape == (30, 2, 3)
    assert (reward[-1, 0] < -1.9).all()
    assert (reward[-1, 1] > -1.1).all()
    assert state.learners[1].params["actor"].shape == (2, 3, 5, 2)
