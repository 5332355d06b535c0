"""Matrix games played by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import matrix

FOUR = ["CC", "CD", "DC", "DD"]
KEEP = 1.6 * 2 / 3  # each one's share of two contributions


@jax.jit
def step(env, state, action):
    return env.step(jax.random.key(0), state, action)


def play(env, actions):
    """Rewards [T, N] and observations [1 + T, N, O] of given joint actions."""
    state, timestep = env.reset(jax.random.key(0))
    rewards, observations = [], [timestep.observation]
    for action in actions:
        state, timestep = step(env, state, jnp.array(action, jnp.int32))
        rewards.append(timestep.reward)
        observations.append(timestep.observation)
    return np.stack(rewards), np.stack(observations)


def numbers(text):
    return ["CD".index(letter) for letter in text]


@pytest.mark.parametrize(
    ("name", "options", "rewards"),
    [
        ("ipd", {}, [(-1, -1), (-3, 0), (0, -3), (-2, -2)]),
        ("ipd", {"sucker": -9.0}, [(-1, -1), (-9, 0), (0, -9), (-2, -2)]),
        ("ipd_points", {}, [(3, 3), (0, 5), (5, 0), (1, 1)]),
        (
            "contribution",
            {},
            [(0.33, 0.33), (-0.335, 0.665), (0.665, -0.335), (0, 0)],
        ),
        (
            "contribution",
            {"multiplier": 1.5},
            [(0.5, 0.5), (-0.25, 0.75), (0.75, -0.25), (0, 0)],
        ),
        ("chicken", {}, [(0, 0), (-1, 1), (1, -1), (-10, -10)]),
        ("stag_hunt", {}, [(4, 4), (0, 3), (3, 0), (3, 3)]),
        ("battle_of_the_sexes", {}, [(3, 2), (0, 0), (0, 0), (2, 3)]),
        ("matching_pennies", {}, [(1, -1), (-1, 1), (-1, 1), (1, -1)]),
        (
            "public_goods",
            {"num_agents": 2, "multiplier": 1.5},
            [(0.5, 0.5), (-0.25, 0.75), (0.75, -0.25), (0, 0)],
        ),
    ],
)
def test_two_players(name, options, rewards):
    env = envs.make(name, **options)
    actual, observations = play(env, [numbers(joint) for joint in FOUR])
    np.testing.assert_allclose(actual, rewards, rtol=1e-6, atol=1e-6)
    # Seat 0 sees START, CC, CD, DC, DD; to seat 1 what was CD is DC.
    np.testing.assert_array_equal(observations[:, 0], np.eye(5)[[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(observations[:, 1], np.eye(5)[[0, 1, 3, 2, 4]])


def test_three_players():
    actions = ["CCC", "CCD", "CDC", "DCC", "CDD", "DDD"]
    rewards, observations = play(
        envs.make("public_goods"), [numbers(joint) for joint in actions]
    )
    expected = [
        (0.6, 0.6, 0.6),
        (KEEP - 1, KEEP - 1, KEEP),
        (KEEP - 1, KEEP, KEEP - 1),
        (KEEP, KEEP - 1, KEEP - 1),
        (1.6 / 3 - 1, 1.6 / 3, 1.6 / 3),
        (0, 0, 0),
    ]
    np.testing.assert_allclose(rewards, expected, rtol=1e-5, atol=1e-6)
    # After CCD seat 1 sees itself, seat 2, seat 0: CDC, which is number 2.
    numbers_seen = [
        (0, 0, 0),
        (1 + 0, 1 + 0, 1 + 0),
        (1 + 1, 1 + 2, 1 + 4),
        (1 + 2, 1 + 4, 1 + 1),
        (1 + 4, 1 + 1, 1 + 2),
        (1 + 3, 1 + 6, 1 + 5),
        (1 + 7, 1 + 7, 1 + 7),
    ]
    np.testing.assert_array_equal(observations, np.eye(9)[np.array(numbers_seen)])


def test_unequal_numbers_of_actions():
    env = matrix.matrix_game(
        [[[1, 2, 3], [4, 5, 6]], [[10, 20, 30], [40, 50, 60]]],
        action_names=("left", "middle", "right"),
    )
    assert [space.num_actions for space in env.action_spaces] == [2, 3]
    rewards, observations = play(env, [(0, 0), (0, 2), (1, 0), (1, 1)])
    np.testing.assert_array_equal(rewards, [(1, 10), (3, 30), (4, 40), (5, 50)])
    # Seat 0 numbers 3 a_0 + a_1, seat 1 numbers 2 a_1 + a_0.
    seen = np.array([(0, 0), (1, 1), (1 + 2, 1 + 4), (1 + 3, 1 + 1), (1 + 4, 1 + 3)])
    np.testing.assert_array_equal(observations, np.eye(7)[seen])


def test_matching_pennies_is_zero_sum():
    payoff = envs.make("matching_pennies").payoff
    np.testing.assert_array_equal(payoff.sum(0), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "name", ["ipd", "ipd_points", "contribution", "chicken", "stag_hunt"]
)
def test_the_seats_of_a_symmetric_game_are_alike(name):
    payoff = envs.make(name).payoff
    np.testing.assert_array_equal(payoff[0], payoff[1].T)


def test_payoffs_are_leaves():
    temptations = jnp.array([0.0, 1.0, 2.0])
    games = jax.vmap(lambda t: matrix.prisoners_dilemma(temptation=t))(temptations)
    state, _ = matrix.prisoners_dilemma().reset(jax.random.key(0))

    def defect_alone(game):
        action = jnp.array([1, 0], jnp.int32)
        return game.step(jax.random.key(0), state, action)[1].reward

    rewards = jax.vmap(defect_alone)(games)
    np.testing.assert_array_equal(rewards, [(0, -3), (1, -3), (2, -3)])


def test_continuations_are_leaves():
    games = jax.vmap(lambda p: matrix.prisoners_dilemma(continuation=p))(
        jnp.array([0.0, 1.0])
    )
    state, _ = matrix.prisoners_dilemma().reset(jax.random.key(0))
    action = jnp.zeros(2, jnp.int32)
    timestep = jax.vmap(lambda game: game.step(jax.random.key(0), state, action)[1])(
        games
    )
    np.testing.assert_array_equal(timestep.last, [True, False])
    np.testing.assert_array_equal(timestep.discount, [0, 1])


def play_at_random(env, num_games, cooperate):
    """Rewards [B, T, N] and last steps [B, T] of players without memory."""

    def play_one(key):
        def body(state, key):
            action_key, step_key = jax.random.split(key)
            defects = jax.random.uniform(action_key, (2,)) >= cooperate
            state, timestep = env.step(step_key, state, defects.astype(jnp.int32))
            return state, (timestep.reward, timestep.last, timestep.discount)

        reset_key, key = jax.random.split(key)
        keys = jax.random.split(key, env.num_steps)
        return jax.lax.scan(body, env.reset(reset_key)[0], keys)[1]

    keys = jax.random.split(jax.random.key(0), num_games)
    return jax.device_get(jax.jit(jax.vmap(play_one))(keys))


def test_games_end_at_the_stated_rate():
    continuation, num_games = 0.7, 20_000
    env = matrix.prisoners_dilemma(continuation=continuation, num_steps=8)
    _, last, discount = play_at_random(env, num_games, 0.5)
    playing = np.full(num_games, True)
    for t in range(env.num_steps):
        # At the last step of the window all stop, and the discount tells who ended.
        ended = discount[playing, t] == 0
        error = np.sqrt(continuation * (1 - continuation) / playing.sum())
        assert abs(ended.mean() - (1 - continuation)) < 4 * error
        np.testing.assert_array_equal(
            last[playing, t], ended | (t == env.num_steps - 1)
        )
        playing &= ~last[:, t]
    assert not playing.any()


def test_a_chance_to_go_on_is_a_discount():
    gamma, cooperate = 0.8, 0.3
    # Few of these games, γ^64 < 10^-6 of them, would go on for longer.
    env = matrix.prisoners_dilemma(continuation=gamma, num_steps=64)
    reward, last, _ = play_at_random(env, 10_000, cooperate)
    before_last = np.cumsum(last, 1) - last == 0
    returns = np.sum(reward * before_last[..., None], axis=1)
    expected = sum(
        chance * payoff
        for chance, payoff in [
            (cooperate**2, -1),
            (cooperate * (1 - cooperate), -3 + 0),
            ((1 - cooperate) ** 2, -2),
        ]
    ) / (1 - gamma)
    error = returns.std(0) / np.sqrt(len(returns))
    assert (error < 0.1).all()
    assert (np.abs(returns.mean(0) - expected) < 4 * error).all()


@pytest.mark.parametrize(
    ("argument", "value", "build"),
    [
        ("payoff", r"\(2, 2\)", lambda: matrix.matrix_game([[1, 2], [3, 4]])),
        (
            "payoff",
            r"\(3, 2, 2\)",
            lambda: matrix.matrix_game(np.zeros((3, 2, 2))),
        ),
        ("payoff", r"\(1, 2\)", lambda: matrix.matrix_game([[1, 2]])),
        (
            "payoff",
            r"\(2, 2, 0\)",
            lambda: matrix.matrix_game(np.zeros((2, 2, 0))),
        ),
        ("payoff", "nan", lambda: matrix.prisoners_dilemma(reward=np.nan)),
        ("payoff", "inf", lambda: matrix.chicken(crash=-np.inf)),
        ("num_steps", "0", lambda: matrix.prisoners_dilemma(num_steps=0)),
        ("num_steps", "-3", lambda: envs.make("chicken", num_steps=-3)),
        ("continuation", "1.5", lambda: matrix.stag_hunt(continuation=1.5)),
        ("continuation", "-0.5", lambda: matrix.stag_hunt(continuation=-0.5)),
        ("continuation", "nan", lambda: matrix.stag_hunt(continuation=np.nan)),
        (
            "action_names",
            r"\('one',\)",
            lambda: matrix.matrix_game(np.zeros((2, 2, 2)), action_names=["one"]),
        ),
        ("num_agents", "1", lambda: matrix.public_goods(num_agents=1)),
        ("game", "'chess'", lambda: envs.make("chess")),
        ("colour is 3: game 'ipd'", "", lambda: envs.make("ipd", colour=3)),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(argument, value, build):
    with pytest.raises(ValueError, match=rf"{argument}.*{value}"):
        build()


def test_an_unknown_game_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="ipd.*public_goods"):
        envs.make("chess")


def test_the_names_of_actions_default_to_their_numbers():
    assert matrix.matrix_game(np.zeros((2, 2, 3))).action_names == ("0", "1", "2")
    assert envs.make("ipd").action_names == ("C", "D")
