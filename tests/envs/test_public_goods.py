"""Public goods with amounts: what is earned and seen, and what scripted players do."""

import itertools

import jax
import numpy as np
import pytest

from aajax import envs
from aajax.envs import matrix
from aajax.envs.public_goods import best_total, others_of, public_goods_amounts
from aajax.envs.public_goods.players import SCRIPTED, players
from aajax.envs.public_goods.view import view
from aajax.rollout import play_episodes

SPEC = envs.find_spec("public_goods_amounts")


@jax.jit
def played(env, *actions):
    """States and time steps after each of the joint actions."""
    state, step = env.reset(jax.random.key(0))
    steps = [(state, step)]
    for action in actions:
        state, step = env.step(jax.random.key(0), state, action)
        steps.append((state, step))
    return steps


def test_what_is_earned_by_hand():
    env = public_goods_amounts(4, 2.0, num_steps=2)
    actions = np.array([[10, 0, 5, 1], [0, 0, 0, 0]], np.int32)
    (_, start), (_, first), (_, second) = played(env, *actions)
    # 16 coins times 2 are 8 for each of four.
    np.testing.assert_allclose(first.reward, [8, 18, 13, 17])
    np.testing.assert_allclose(second.reward, [10] * 4)
    assert (start.reward == 0).all() and not start.last and not first.last
    assert second.last and second.discount == 1
    parts = env.read(first.observation)
    assert (parts["played"] == 1).all()
    np.testing.assert_allclose(parts["own_contribution"][:, 0], actions[0], atol=1e-5)
    np.testing.assert_allclose(
        parts["others_contribution"],
        [[0, 5, 1], [5, 1, 10], [1, 10, 0], [10, 0, 5]],
        atol=1e-5,
    )
    np.testing.assert_allclose(parts["own_points"][:, 0], first.reward, rtol=1e-5)
    assert (env.read(start.observation)["played"] == 0).all()
    assert others_of(4)[2].tolist() == [3, 0, 1]


@pytest.mark.parametrize("num_agents", [2, 3])
def test_all_or_nothing_is_the_matrix_game(num_agents):
    """But for the coin that everybody has, and for which action is the first."""
    amounts = public_goods_amounts(num_agents, 1.6, num_levels=2, endowment=1.0)
    table = matrix.public_goods(num_agents, 1.6)
    for joint in itertools.product((0, 1), repeat=num_agents):
        gives = np.array(joint, np.int32)
        own, other = (
            played(env, action)[1][1].reward
            for env, action in ((amounts, gives), (table, 1 - gives))
        )
        np.testing.assert_allclose(own - 1, other, atol=1e-6)


@pytest.mark.parametrize(("multiplier", "best"), [(1.5, 15 * 3), (0.5, 10 * 3)])
def test_the_best_that_all_can_earn(multiplier, best):
    env = public_goods_amounts(3, multiplier, num_levels=3)
    assert best_total(env) == pytest.approx(best)
    joint = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    state, _ = env.reset(jax.random.key(0))
    step = jax.vmap(lambda action: env.step(jax.random.key(0), state, action)[1])
    assert step(joint).reward.sum(1).max() == pytest.approx(best)


def act(env, name, levels):
    """The first seat's action after these contributions; None at the start."""
    there = players(env)
    steps = played(env, *([] if levels is None else [np.array(levels, np.int32)]))
    observation = steps[-1][1].observation[None]
    output = there.policy.act(there.params(name), jax.random.key(0), observation, ())
    assert (output.log_prob == 0).all() == (name != "random")
    return int(output.action[0, 0])


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("always_cooperate", [10, 10, 10, 10, 10]),
        ("always_defect", [0, 0, 0, 0, 0]),
        ("tit_for_tat", [10, 0, 8, 5, 10]),  # halves are rounded up
        ("least", [10, 0, 7, 0, 10]),
    ],
)
def test_scripted_players(name, answers):
    env = public_goods_amounts(3)
    before = [None, (5, 0, 0), (0, 8, 7), (3, 0, 10), (0, 10, 10)]
    assert [act(env, name, levels) for levels in before] == answers


def test_random_gives_any_amount():
    env = public_goods_amounts(5, num_levels=4)
    there = players(env)
    observation = np.tile(played(env)[0][1].observation, (40, 1, 1))
    output = there.policy.act(
        there.params("random"), jax.random.key(1), observation, ()
    )
    assert set(np.unique(output.action)) == {0, 1, 2, 3}
    np.testing.assert_allclose(output.log_prob, -np.log(4), rtol=1e-6)
    assert SCRIPTED[-1] == "random"


def test_measures():
    env = public_goods_amounts(3, 1.5, num_steps=4)
    there = players(env)
    for name, share, efficiency in (
        ("always_cooperate", 1, 1),
        ("always_defect", 0, 2 / 3),
    ):
        episodes = play_episodes(
            jax.random.key(0), env, there.policy, there.params(name), 2, 4
        )
        found = SPEC.measures(env, episodes)
        assert found["contribution"] == pytest.approx(share)
        assert found["efficiency"] == pytest.approx(efficiency)
        training = SPEC.training_measures(env)(None, episodes.trajectory)
        assert training["contribution"] == pytest.approx(share)


def test_what_people_see():
    env = public_goods_amounts(3, num_steps=2)
    words = view(env)
    (start, _), (state, step) = jax.device_get(
        played(env, np.array([4, 0, 10], np.int32))
    )
    assert words.show(start) == "the start"
    assert words.show(state) == "last time 4 from 0, 0 from 1, 10 from 2"
    assert words.show_to(1, state, step.observation) == (
        "last time 0 from you, 10 from 2, 4 from 0; you earned 17"
    )
    assert words.question(0, state) == "a whole number from 0 to 10"
    assert words.read(0, state, " 7 ") == 7
    with pytest.raises(ValueError, match="a whole number from 0 to 10 is needed"):
        words.read(0, state, "11")
    half = view(public_goods_amounts(3, num_levels=21))
    assert half.question(0, state) == "a whole number from 0 to 20, 0.5 of 10 each"
    assert half.say(0, state, np.int32(3)) == "1.5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_agents": 1}, "num_agents is 1: a whole number from 2 to 12 is needed"),
        ({"num_agents": 13}, "num_agents is 13: a whole number from 2 to 12"),
        ({"num_levels": 1}, "num_levels is 1: a whole number from 2 to 101"),
        ({"multiplier": -1.0}, "multiplier is -1.0: a finite number > 0 is needed"),
        ({"endowment": 0.0}, "endowment is 0.0: a finite number > 0 is needed"),
        ({"unit": float("nan")}, "unit is nan: a finite number > 0 is needed"),
        ({"num_steps": 0}, "num_steps is 0: a whole number from 1 on is needed"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError) as error:
        public_goods_amounts(**options)
    assert str(error.value).startswith(message)
