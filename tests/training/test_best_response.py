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
    params, _ = best_responses(config, *victims)
    return np.asarray(jax.nn.softmax(params["actor"])[..., 0])


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
