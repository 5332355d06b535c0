"""Scripted players of matrix games, against written sequences of moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs.matrix import players as matrix

POLICY = matrix.memory_one()
OPPONENT = "CCDDCDCC"
ANSWERS = {
    "always_cooperate": "CCCCCCCC",
    "always_defect": "DDDDDDDD",
    "tit_for_tat": "CCCDDCDC",
    "grim": "CCCDDDDD",
    # C until D is met; DD is won back with C; after CD and DC comes D.
    "win_stay_lose_shift": "CCCDCCDD",
}


@jax.jit
def act(table, observation):
    return POLICY.act(table, jax.random.key(0), observation, ())


@jax.jit
def step(env, state, action):
    return env.step(jax.random.key(0), state, action)


def answers(env, name, seat, others):
    """What a player in a seat does while the others play the letters of their row."""
    table = matrix.scripted_table(name, env.num_agents, 2)
    state, timestep = env.reset(jax.random.key(0))
    moves = ""
    for row in zip(*others, strict=True):
        output = act(table, timestep.observation[seat][None])
        moves += "CD"[output.action[0]]
        action = ["CD".index(letter) for letter in row]
        action.insert(seat, int(output.action[0]))
        state, timestep = step(env, state, jnp.array(action, jnp.int32))
    return moves


def test_every_player_is_expected_somewhere():
    assert set(ANSWERS) == set(matrix.RESPONSES)
    assert (*ANSWERS, "random") == matrix.SCRIPTED


@pytest.mark.parametrize("seat", [0, 1])
@pytest.mark.parametrize("name", matrix.RESPONSES)
def test_answers_to_one_opponent(name, seat):
    assert answers(envs.make("ipd"), name, seat, [OPPONENT]) == ANSWERS[name]


@pytest.mark.parametrize("seat", [0, 1, 2])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("always_cooperate", "CCCCCCC"),
        ("always_defect", "DDDDDDD"),
        # Echoes the worse of the two, and forgives when both do.
        ("tit_for_tat", "CCDDCDC"),
        ("grim", "CCDDDDD"),
        # Cooperates only after all three did alike, as in the first and fifth step.
        ("win_stay_lose_shift", "CCDDDCC"),
    ],
)
def test_answers_to_two_opponents(name, expected, seat):
    others = ["CCDCDCC", "CDCCDCC"]
    assert answers(envs.make("public_goods"), name, seat, others) == expected


def test_with_three_actions_tit_for_tat_echoes_and_others_take_the_ends():
    own_first = [(own, other) for own in range(3) for other in range(3)]
    for name, opening, answer in [
        ("always_cooperate", 0, lambda own, other: 0),
        ("always_defect", 2, lambda own, other: 2),
        ("tit_for_tat", 0, lambda own, other: other),
        ("grim", 0, lambda own, other: 0 if own == other == 0 else 2),
        ("win_stay_lose_shift", 0, lambda own, other: 0 if own == other else 2),
    ]:
        expected = [opening, *(answer(*joint) for joint in own_first)]
        table = matrix.scripted_table(name, 2, 3)
        np.testing.assert_array_equal(table, np.eye(3)[expected])


def test_random_plays_all_actions_equally_often():
    table = matrix.scripted_table("random", 2, 3)
    assert table.shape == (1 + 3 * 3, 3)
    observation = jnp.broadcast_to(jnp.eye(10), (2000, 10, 10))
    action = np.asarray(act(table, observation).action)
    error = np.sqrt(1 / 3 * 2 / 3 / action.size)
    for number in range(3):
        assert abs(np.mean(action == number) - 1 / 3) < 4 * error


def test_a_table_is_played_at_its_probabilities():
    p_cooperate = np.array([0.9, 0.5, 0.25, 0.75, 0.1], np.float32)
    table = matrix.memory_one_table(p_cooperate)
    np.testing.assert_allclose(table.sum(1), 1, rtol=1e-6)
    draws = 4000
    observation = jnp.broadcast_to(jnp.eye(5), (draws, 5, 5))
    output = act(table, observation)
    error = np.sqrt(p_cooperate * (1 - p_cooperate) / draws)
    shares = np.mean(np.asarray(output.action) == 0, axis=0)
    assert (np.abs(shares - p_cooperate) < 4 * error).all()
    chosen = np.where(output.action == 0, p_cooperate, 1 - p_cooperate)
    np.testing.assert_allclose(np.exp(output.log_prob), chosen, rtol=1e-5)
    np.testing.assert_array_equal(output.value, np.zeros((draws, 5)))


def test_a_sure_action_has_log_probability_zero():
    table = matrix.scripted_table("tit_for_tat", 2, 2)
    output = act(table, jnp.eye(5))
    np.testing.assert_array_equal(output.action, [0, 0, 1, 0, 1])
    np.testing.assert_array_equal(output.log_prob, np.zeros(5))


def test_scripted_players_have_nothing_to_learn():
    assert POLICY.evaluate is None
    assert POLICY.initial_memory((4, 2)) == ()
    value = POLICY.value(jnp.ones((5, 2)), jnp.zeros((4, 2, 5)), ())
    np.testing.assert_array_equal(value, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="not drawn"):
        POLICY.init(jax.random.key(0))


def test_an_unknown_player_is_named():
    with pytest.raises(ValueError, match="player is 'tat_for_tit'.*tit_for_tat"):
        matrix.scripted_table("tat_for_tit", 2, 2)
