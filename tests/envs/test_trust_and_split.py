"""Trust-and-Split: rounds played by hand, hands and roles that are drawn fairly."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import trust_and_split as game

ROCK, PAPER, SCISSORS = range(3)
BEATS = {(PAPER, ROCK), (SCISSORS, PAPER), (ROCK, SCISSORS)}
PAIRS = list(itertools.permutations(range(3), 2))


@jax.jit
def step(env, key, state, action):
    return env.step(key, state, action)


@jax.jit
def reset(env, key):
    return env.reset(key)


def begin(hands=(ROCK, PAPER), starter=0, **options):
    env = envs.make("trust_and_split", **options)
    state, timestep = reset(env, jax.random.key(0))
    state = state._replace(
        hands=jnp.array(hands, jnp.int32), starter=jnp.int32(starter)
    )
    return env, state, timestep


def play(env, state, *actions):
    """The state and the time step after these joint actions."""
    for number, action in enumerate(actions):
        key = jax.random.key(number)
        state, timestep = step(env, key, state, jnp.array(action, jnp.int32))
    return state, timestep


def seen(env, timestep):
    parts = env.read(timestep.observation)
    return {name: np.round(np.asarray(x), 3).tolist() for name, x in parts.items()}


def test_two_rounds_by_hand():
    """
    round  hands           said first    then         asked   points
    1      rock  paper     0: rock       1: paper      0 10      0    100
    2      rock  scissors  1: paper      0: rock      10  5    200/3  10/3
    """
    env, state, _ = begin(unit=10.0)
    # Whoever is not to speak is not heard, whatever it does.
    state, timestep = play(env, state, (ROCK, 7))
    assert not timestep.reward.any()
    assert state.said.tolist() == [[ROCK], [game.SILENT]]
    parts = seen(env, timestep)
    assert parts["own_hand"] == [[1, 0, 0], [0, 1, 0]]
    assert parts["own_said"] == [[1, 0, 0], [0, 0, 0]]
    assert parts["other_said"] == [[0, 0, 0], [1, 0, 0]]
    assert parts["my_turn"] == [[0], [1]] and parts["splits"] == [[0], [0]]
    state, timestep = play(env, state, (SCISSORS, PAPER))
    assert not timestep.reward.any()
    parts = seen(env, timestep)
    assert parts["own_said"] == [[1, 0, 0], [0, 1, 0]]
    assert parts["my_turn"] == [[0], [0]] and parts["splits"] == [[1], [1]]
    assert parts["played"] == [[0], [0]]
    state, timestep = play(env, state, (0, 10))
    np.testing.assert_allclose(timestep.reward, [0, 10])
    np.testing.assert_allclose(state.previous.points, [0, 100])
    assert state.previous.hands.tolist() == [ROCK, PAPER]
    assert state.dealt.tolist() == [game.NEVER, 0]
    assert state.said.tolist() == [[game.SILENT], [game.SILENT]]
    parts = seen(env, timestep)
    assert parts["own_said"] == parts["other_said"] == [[0, 0, 0], [0, 0, 0]]
    assert parts["my_turn"] == [[0], [1]]  # now 1 begins
    assert parts["played"] == [[1], [1]]
    assert parts["own_upper"] == [[0], [1]] == parts["other_upper"][::-1]
    assert parts["own_proposal"] == [[0], [10]] == parts["other_proposal"][::-1]
    assert parts["own_points"] == [[0], [100]] == parts["other_points"][::-1]
    state = state._replace(hands=jnp.array([ROCK, SCISSORS], jnp.int32))
    state, timestep = play(env, state, (0, PAPER), (ROCK, 0))
    assert not timestep.reward.any()
    assert state.said.tolist() == [[ROCK], [PAPER]]
    assert state.dealt.tolist() == [game.NEVER, 0]
    # What the last round was stays in view while they talk.
    assert seen(env, timestep)["own_proposal"] == [[0], [10]]
    state, timestep = play(env, state, (10, 5))
    np.testing.assert_allclose(state.previous.points, [200 / 3, 10 / 3], rtol=1e-6)
    np.testing.assert_allclose(timestep.reward, [20 / 3, 1 / 3], rtol=1e-6)
    assert int(state.starter) == 0 and int(state.time) == 6
    assert state.dealt.tolist() == [5, 0]


def test_observations_are_around_nought():
    env, state, first = begin()
    assert env.observation_shape == (18,)
    state, timestep = play(env, state, (ROCK, 0), (0, PAPER), (2, 5))
    assert np.abs(timestep.observation).max() <= 1
    start = env.layout()["played"].start
    # Played; lower, upper; 2 and 5 coins asked for; 2 points of 100 and 50.
    expected = [1, -1, 1, -0.6, 0, -0.96, 0]
    np.testing.assert_allclose(timestep.observation[0, start:], expected, rtol=1e-5)
    np.testing.assert_array_equal(first.observation[:, start:], np.full((2, 7), -1))


def test_a_hand_is_seen_by_its_holder_alone():
    """Until the coins are divided, and then the other learns whose were worth more."""
    talk = [(ROCK, 0), (0, ROCK)]
    env, state, _ = begin((ROCK, PAPER))
    other = state._replace(hands=jnp.array([ROCK, SCISSORS], jnp.int32))
    for actions in (talk[:1], talk):
        here, there = (play(env, s, *actions)[1].observation for s in (state, other))
        np.testing.assert_array_equal(here[0], there[0])
        assert (np.asarray(here[1]) != there[1]).any()
    here, there = (
        seen(env, play(env, s, *talk, (5, 5))[1])["other_upper"] for s in (state, other)
    )
    assert (here[0], there[0]) == ([1], [0])


def test_every_action_means_something_in_every_phase():
    for num_symbols, num_actions in ((3, 11), (2, 11), (16, 16), (1, 11)):
        env, state, _ = begin(num_symbols=num_symbols)
        assert env.action_spaces[0].num_actions == num_actions
        for action in range(num_actions):
            talked, _ = play(env, state, (action, 0))
            assert int(talked.said[0, 0]) == action % num_symbols
            _, timestep = play(env, talked, (0, 0), (action, 0))
            np.testing.assert_allclose(timestep.reward, [action % 11, 0], rtol=1e-6)


def test_no_talk_and_much_talk():
    env, state, _ = begin(num_messages=0)
    assert env.num_turns == 1
    state, timestep = play(env, state, (10, 10))
    np.testing.assert_allclose(timestep.reward, [5, 50])
    parts = seen(env, timestep)
    assert parts["splits"] == [[1], [1]] and parts["my_turn"] == [[0], [0]]
    assert parts["own_said"] == [[], []]

    env, state, _ = begin(num_messages=2, starter=1)
    assert env.num_turns == 5
    state, timestep = play(env, state, (0, 1), (2, 0), (0, 2))
    assert state.said.tolist() == [[2, game.SILENT], [1, 2]]
    parts = seen(env, timestep)
    assert parts["own_said"][0] == [0, 0, 1, 0, 0, 0] == parts["other_said"][1]
    assert parts["own_said"][1] == [0, 1, 0, 0, 0, 1] == parts["other_said"][0]
    assert parts["my_turn"] == [[1], [0]]
    state, timestep = play(env, state, (1, 0), (10, 0))
    np.testing.assert_allclose(timestep.reward, [10, 0])
    assert int(state.starter) == 0


@pytest.mark.parametrize(
    ("asked", "mean"),
    [
        # By who has the upper hand, and who has not.
        ({"first": (10, 0), "second": (10, 0)}, (50, 50)),
        ({"first": (10, 10), "second": (10, 10)}, (27.5, 27.5)),
        ({"first": (10, 0), "second": (10, 10)}, (25, 52.5)),
    ],
)
def test_a_dilemma_over_all_six_hands(asked, mean):
    env, start, _ = begin()
    rewards = []
    for hands in PAIRS:
        state = start._replace(hands=jnp.array(hands, jnp.int32))
        lower = [hands not in BEATS, hands[::-1] not in BEATS]
        assert lower[0] != lower[1]
        proposals = asked["first"][lower[0]], asked["second"][lower[1]]
        rewards.append(play(env, state, (0, 0), (0, 0), proposals)[1].reward)
        assert env.values(state.hands).tolist() == [1 if low else 10 for low in lower]
    np.testing.assert_allclose(np.mean(rewards, 0), mean, rtol=1e-6)
    assert game.best_total(env) == 100


@jax.jit
def rounds(env, keys, actions):
    """Hands and starters of every round, the environment being played with these
    actions."""

    def play_one(keys, actions):
        state, _ = env.reset(keys[0])

        def body(state, x):
            state, _ = env.step(x[0], state, x[1])
            return state, (state.hands, state.starter)

        rest = jax.lax.scan(body, state, (keys[1:], actions))[1]
        first = state.hands, state.starter
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    return jax.vmap(play_one)(keys, actions)


def episodes(num_rounds, seed=0, **options):
    """Hands i64[B, R, 2] and starters i64[B, R] of every round, under random play."""
    env = envs.make("trust_and_split", num_messages=0, **options)
    keys = jax.random.split(jax.random.key(1), (4000, 10))
    actions = env.action_spaces[0].sample(jax.random.key(seed), (4000, 9, 2))
    hands, starter = rounds(env, keys, actions)
    # As many as are asked for, of as many as are compiled once.
    return np.asarray(hands, int)[:, :num_rounds], np.asarray(starter)[:, :num_rounds]


def check_uniform(numbers, count):
    shares = np.bincount(np.ravel(numbers), minlength=count) / np.size(numbers)
    assert len(shares) == count
    error = np.sqrt((1 - 1 / count) / count / np.size(numbers))
    np.testing.assert_allclose(shares, 1 / count, atol=4.5 * error)


def winners(hands):
    """Whether seat 0 has the upper hand, bool[B, R]."""
    return np.array([[tuple(pair) in BEATS for pair in row] for row in hands.tolist()])


def test_hands_and_starters_are_drawn_fairly():
    hands, starter = episodes(4)
    assert (hands[..., 0] != hands[..., 1]).all()
    pair = 3 * hands[..., 0] + hands[..., 1]
    numbers = np.searchsorted([3 * a + b for a, b in PAIRS], pair)
    first = starter[:, :1]
    check_uniform(numbers[:, 0] * 2 + first[:, 0], 12)
    for i in range(3):
        # From round to round independent.
        check_uniform(6 * numbers[:, i] + numbers[:, i + 1], 36)
    np.testing.assert_array_equal(starter, (first + np.arange(4)) % 2)


def test_roles_can_alternate():
    hands, _ = episodes(4, alternating=1.0)
    wins = winners(hands)
    np.testing.assert_array_equal(wins[:, 1:], ~wins[:, :-1])
    check_uniform(wins[:, 0].astype(int), 2)
    # Of three hands that win, every round has each as often, whatever was before.
    check_uniform(9 * hands[:, 1, 0] + 3 * hands[:, 2, 0] + hands[:, 3, 0], 27)

    # Of a quarter of all episodes, and of the others in one of 2^9 by chance.
    hands, _ = episodes(10, alternating=0.25)
    wins = winners(hands)
    share = (wins[:, 1:] != wins[:, :-1]).all(1).mean()
    expected = 0.25 + 0.75 / 2**9
    assert abs(share - expected) < 4.5 * math.sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize("alternating", [0.0, 0.5])
def test_actions_do_not_touch_what_is_drawn(alternating):
    one, other = (episodes(6, seed, alternating=alternating) for seed in (2, 3))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    env = envs.make("trust_and_split", alternating=alternating)
    keys = jax.random.split(jax.random.key(9), 13)
    states = []
    for seed in (2, 3):
        state, _ = reset(env, keys[0])
        actions = env.action_spaces[0].sample(jax.random.key(seed), (12, 2))
        for key, action in zip(keys[1:], actions, strict=True):
            state, _ = step(env, key, state, action)
        states.append(state)
    np.testing.assert_array_equal(states[0].hands, states[1].hands)
    np.testing.assert_array_equal(states[0].previous.hands, states[1].previous.hands)
    assert (states[0].previous.proposals != states[1].previous.proposals).any()


def test_the_seats_are_alike():
    env, state, _ = begin((ROCK, SCISSORS))
    state, _ = play(env, state, (ROCK, 0), (0, PAPER), (7, 8), (0, 2))
    trade = {"hands": state.hands[::-1], "said": state.said[::-1]}
    previous = jax.tree.map(lambda x: x[::-1], state.previous)
    trade["dealt"] = state.dealt[::-1]
    swapped = state._replace(**trade, previous=previous, starter=1 - state.starter)
    here, there = (
        play(env, s, action)[1] for s, action in ((state, (1, 2)), (swapped, (2, 1)))
    )
    np.testing.assert_array_equal(there.observation, here.observation[::-1])
    assert (np.asarray(here.observation[0]) != here.observation[1]).any()


def test_hyperparameters_can_be_mapped_over():
    _, state, _ = begin(num_messages=0)

    @jax.jit
    @jax.vmap
    def reward(upper):
        env = envs.make("trust_and_split", num_messages=0, upper_value=upper)
        action = jnp.array([10, 10], jnp.int32)
        return env.step(jax.random.key(0), state, action)[1].reward

    np.testing.assert_allclose(reward(jnp.array([10.0, 4.0])), [[5, 50], [5, 20]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_symbols": 0}, "num_symbols is 0: a whole number from 1 on is needed"),
        ({"num_messages": -1}, "num_messages is -1: a whole number from 0 on"),
        ({"num_messages": 1.5}, "num_messages is 1.5: a whole number"),
        ({"upper_value": 0}, "upper_value is 0.0: a finite number > 0 is needed"),
        ({"lower_value": 11}, "lower_value is 11.0: a number from 0 to 10.0"),
        ({"lower_value": math.nan}, "lower_value is nan"),
        ({"alternating": 1.5}, "alternating is 1.5: a number from 0 to 1.0 is needed"),
        ({"unit": -1}, "unit is -1.0: a finite number > 0"),
        ({"num_steps": 0}, "num_steps is 0: a whole number from 1 on"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("trust_and_split", **options)
