"""A fresh learner finds out what a frozen policy gives away."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs.matrix import players as matrix
from aajax.training import Final, RunConfig
from aajax.training.best_response import best_responses

VICTIMS = "always_cooperate", "always_defect", "tit_for_tat"
CONFIG = RunConfig(num_games=64, num_updates=120)


@pytest.fixture(scope="module")
def victims():
    tables = [matrix.scripted_table(name, 2, 2) for name in VICTIMS]
    return matrix.memory_one(), jnp.stack([jnp.asarray(x) for x in tables])


def p_cooperate(config, victims):
    """f32[M, 5]: after start, CC, CD, DC, DD, own action first."""
    found = best_responses(config, *victims)
    assert found.reward.shape == found.frozen_reward.shape == (3, config.num_updates)
    return np.asarray(jax.nn.softmax(found.params["actor"])[..., 0])


def test_it_takes_what_the_frozen_policy_gives_away(victims):
    config = dataclasses.replace(
        CONFIG,
        hyperparameters=dataclasses.replace(CONFIG.hyperparameters, exploration=0.1),
    )
    cooperator, defector, reciprocator = p_cooperate(config, victims)
    assert (cooperator[[0, 3]] < 0.1).all()  # DC: it meets nothing else
    assert (defector[[0, 4]] < 0.1).all()
    assert reciprocator[0] > 0.9 and reciprocator[1] > 0.9


def test_hyperparameters_move_to_their_final_values(victims):
    random = dataclasses.replace(CONFIG.hyperparameters, entropy_bonus=10.0)
    config = dataclasses.replace(CONFIG, hyperparameters=random)
    np.testing.assert_allclose(p_cooperate(config, victims), 0.5, atol=0.2)
    config = dataclasses.replace(config, final=Final(entropy_bonus=0.0))
    assert (p_cooperate(config, victims)[0, [0, 3]] < 0.3).all()


def test_what_both_earn_while_it_learns(victims):
    found = best_responses(dataclasses.replace(CONFIG, num_updates=60), *victims)
    # Payoffs of CC, CD, DC, DD: −1, −3, 0, −2. Against a cooperator either both earn −1
    # or the learner 0 and the cooperator −3, against a defector −3 and 0, or both −2.
    np.testing.assert_allclose(
        found.frozen_reward[0], -1 - 2 * (found.reward[0] + 1), atol=1e-5
    )
    np.testing.assert_allclose(
        found.frozen_reward[1], -2 * (found.reward[1] + 3), atol=1e-5
    )
    assert found.reward[0, -1] > found.reward[0, 0]
