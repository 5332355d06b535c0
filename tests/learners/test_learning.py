"""Short runs of the iterated prisoner's dilemma, from play to a strategy.

What counts as a strategy: an answer is "yes" above 0.9 and "no" below 0.2, or above
0.8 where the way back to cooperation is asked for.
"""

import functools

import jax
import numpy as np
import pytest

from aajax.training import assemble, sweep
from aajax.training.config import Hyperparameters, RunConfig

NUM_UPDATES = 120
SEEDS = [0, 1, 2]


@functools.cache
def train(**options):
    """Mean reward of the last update [S], and P(cooperate) by state [S, 5]."""
    config = RunConfig(num_games=256, num_updates=NUM_UPDATES, **options)
    make_trainer = assemble.make_trainer(config)
    # Optax's Adam adds floats and integers.
    with jax.numpy_dtype_promotion("standard"):
        hyperparameters = sweep.grid({"beta": [config.hyperparameters.beta]})
        state = sweep.start(make_trainer, hyperparameters, SEEDS)
        state, metrics = sweep.advance(make_trainer, NUM_UPDATES)(
            hyperparameters, state
        )
    policy = np.asarray(jax.nn.softmax(state.learners[0].params["actor"][0]))
    return np.asarray(metrics["reward"][-1, 0]), policy[..., 0]


def test_naive_learners_defect():
    reward, cooperates = train(
        algorithm="naive", hyperparameters=Hyperparameters(exploration=0.0)
    )
    assert (reward < -1.8).all()
    assert (cooperates < 0.2).all()


# With the other baseline the example in the README does.
@pytest.mark.parametrize(
    "baseline", ["critic", pytest.param("group", marks=pytest.mark.slow)]
)
def test_advantage_alignment_reciprocates(baseline):
    _, cooperates = train(baseline=baseline)
    _, after_cc, after_cd, after_dc, _ = cooperates.T
    assert (after_cc > 0.9).all()
    assert (after_cd < 0.2).all()
    assert (after_dc > 0.8).all()


def test_a_critic_wrong_everywhere_does_not_turn_actors_around():
    """Moving all of a critic's values leaves the actor's update as it was."""
    config = RunConfig(baseline="critic", num_games=64)
    trainer = assemble.make_trainer(config)({})

    @jax.jit
    def update(error):
        state = trainer.init(jax.random.key(0))
        (learner,) = state.learners
        params = {**learner.params, "critic": learner.params["critic"] + error}
        state = state._replace(learners=(learner._replace(params=params),))
        state, metrics = trainer.update(state)
        return state.learners[0].params, metrics

    with jax.numpy_dtype_promotion("standard"):
        (right, metrics), (wrong, other_metrics) = update(0.0), update(2.0)
    assert (wrong["critic"] - right["critic"] > 1).all()
    np.testing.assert_allclose(wrong["actor"], right["actor"], atol=1e-3)
    np.testing.assert_allclose(
        other_metrics["policy_loss"], metrics["policy_loss"], rtol=1e-3
    )
