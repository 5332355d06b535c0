"""Scripted players of Split and Trust-and-Split: what they do, and what they earn."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import centred, find_spec
from aajax.envs.split import players as split
from aajax.envs.trust_and_split import players as trust_and_split
from aajax.policies import seated
from aajax.rollout import begin, play_episodes, rollout

NUM_GAMES = 1024
NUM_STEPS = {"split": 4, "trust_and_split": 6}
PLAYERS = {"split": split, "trust_and_split": trust_and_split}
ROCK, PAPER, SCISSORS = range(3)
every_game = pytest.mark.parametrize("game", PLAYERS)


def observe(env, **numbers):
    """What an agent would see, f32[O], of these numbers and zeros else."""
    given = {name: np.atleast_1d(x)[None] for name, x in numbers.items()}
    parts = {
        name: given.get(name, np.zeros((1, p.size))) for name, p in env.parts.items()
    }
    return centred.write(env.parts, {n: jnp.asarray(x) for n, x in parts.items()})[0]


@functools.cache
def compiled(game, options=()):
    env = envs.make(game, **dict(options))
    policy = PLAYERS[game].scripted(env)
    return env, policy, jax.jit(policy.act)


def act(game, name, observation, memory=None, key=0, **options):
    env, policy, play = compiled(game, tuple(options.items()))
    if memory is None:
        memory = policy.initial_memory(observation.shape[:-1])
    params = PLAYERS[game].scripted_params(name)
    return play(params, jax.random.key(key), observation, memory)


@functools.cache
def table(game):
    env, policy, _ = compiled(game)
    both = seated([policy, policy], [[0], [1]])

    @jax.jit
    def play(key, params):
        tables = begin(key, env, both, NUM_GAMES)
        return rollout(key, env, both, params, tables, NUM_STEPS[game])[1]

    return play


@functools.cache
def meet(game, first, second):
    """The trajectory of two named players."""
    params = tuple(PLAYERS[game].scripted_params(name) for name in (first, second))
    return table(game)(jax.random.key(0), params)


def mean_of_cases(cases, rewards):
    """Mean over equally likely cases, each met, of what is earned in each, f64[N].

    Exact where the case decides: all of one case must earn the same.
    """
    cases, index = np.unique(cases, axis=0, return_inverse=True)
    means = []
    for number in range(len(cases)):
        sample = rewards[index.ravel() == number]
        np.testing.assert_allclose(sample, np.broadcast_to(sample[0], sample.shape))
        means.append(sample[0])
    return len(cases), np.mean(means, axis=0)


# Split.


def test_split_welfare_and_greed():
    env, *_ = compiled("split")
    for own, other, expected in [
        ([10, 1, 1], [1, 10, 1], [10, 0, 5]),
        ([10, 10, 1], [1, 10, 10], [10, 5, 0]),
    ]:
        seen = observe(env, own_values=own, other_values=other)
        for name, action in (
            ("always_cooperate", expected),
            ("tit_for_tat", expected),
            ("always_defect", [10, 10, 10]),
        ):
            output = act("split", name, seen)
            np.testing.assert_array_equal(output.action, action)
            assert output.action.dtype == jnp.int32 and output.log_prob == 0


@pytest.mark.parametrize("values", ["ties", "one_to_twenty"])
def test_values_that_are_alike_stay_alike_when_scaled(values):
    options = {"values": values, "num_items": 2}
    env, *_ = compiled("split", tuple(options.items()))
    for value in (1, 10) if values == "ties" else range(1, 20):
        both = [value, value + (value < 10 or values == "one_to_twenty")]
        seen = observe(env, own_values=both, other_values=[value, value])
        action = act("split", "always_cooperate", seen, **options).action
        np.testing.assert_array_equal(action, [5, 10 if both[1] > value else 5])


@pytest.mark.parametrize(
    ("asked", "robbed"),
    [
        # It had valued items 0 and 2 more, item 1 less and item 3 the same.
        ([0, 10, 0, 10], False),
        ([5, 10, 5, 10], False),
        ([6, 0, 0, 0], True),
        ([0, 0, 6, 0], True),
        ([5, 0, 10, 0], True),
    ],
)
def test_split_tit_for_tat_answers_the_last_round(asked, robbed):
    options = {"num_items": 4}
    env, *_ = compiled("split", tuple(options.items()))
    seen = observe(
        env,
        own_values=[1, 10, 1, 10],
        other_values=[10, 1, 1, 10],
        played=1,
        own_last_values=[10, 1, 10, 1],
        other_last_values=[1, 10, 1, 1],
        other_proposal=asked,
    )
    expected = [10] * 4 if robbed else [0, 10, 5, 5]
    action = act("split", "tit_for_tat", seen, **options).action
    np.testing.assert_array_equal(action, expected)


def test_split_random_proposals_are_uniform():
    env, *_ = compiled("split")
    output = act("split", "random", jnp.zeros((3000, *env.observation_shape)))
    shares = np.stack([np.mean(output.action == n, axis=0) for n in range(11)])
    np.testing.assert_allclose(shares.sum(0), 1)
    error = np.sqrt(1 / 11 * 10 / 11 / 3000)
    np.testing.assert_allclose(shares, 1 / 11, atol=4.5 * error)
    correlations = np.corrcoef(np.asarray(output.action).T) - np.eye(3)
    assert np.abs(correlations).max() < 4.5 / np.sqrt(3000)
    np.testing.assert_allclose(output.log_prob, -3 * np.log(11), rtol=1e-6)


@pytest.mark.parametrize(
    ("players", "expected"),
    [
        (("always_cooperate", "always_cooperate"), (127.5, 127.5)),
        (("always_defect", "always_defect"), (82.5, 82.5)),
        (("always_cooperate", "always_defect"), (205 / 3, 425 / 3)),
        (("always_defect", "always_cooperate"), (425 / 3, 205 / 3)),
        (("tit_for_tat", "tit_for_tat"), (127.5, 127.5)),
    ],
)
def test_a_split_is_a_dilemma(players, expected):
    """Exact over the twelve configurations of values."""
    env, *_ = compiled("split")
    trajectory = meet("split", *players)
    parts = env.read(trajectory.observation)
    values = np.round(parts["own_values"]).astype(int).reshape(-1, 6)
    rewards = np.asarray(trajectory.reward, float).reshape(-1, 2)
    count, mean = mean_of_cases(values, rewards)
    assert count == 12
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


def test_split_tit_for_tat_is_exploited_once():
    """Values of every round favour somebody, so that it always learns."""
    trajectory = meet("split", "tit_for_tat", "always_defect")
    asked = np.asarray(trajectory.action)[:, :, 0]
    assert (asked[0] != 10).any(-1).all()
    assert (asked[1:] == 10).all()


# Trust-and-Split.


def one_hot(symbol, size=3):
    return np.eye(size)[symbol] if symbol is not None else np.zeros(size)


def trust(env, hand, heard=None, splits=0, **more):
    return observe(
        env,
        own_hand=one_hot(hand),
        other_said=one_hot(heard, env.num_symbols),
        splits=splits,
        my_turn=1 - splits,
        **more,
    )


@pytest.mark.parametrize("hand", range(3))
def test_cooperators_tell_the_truth_and_believe(hand):
    env, *_ = compiled("trust_and_split")
    beaten, winning = (hand - 1) % 3, (hand + 1) % 3
    for name in ("always_cooperate", "tit_for_tat"):
        for heard in (None, 0, 1, 2):
            output = act("trust_and_split", name, trust(env, hand, heard))
            assert (int(output.action), float(output.log_prob)) == (hand, 0)
        for heard, coins in [(beaten, 10), (winning, 0), (hand, 5), (None, 5)]:
            seen = trust(env, hand, heard, splits=1)
            output = act("trust_and_split", name, seen)
            assert (int(output.action), float(output.log_prob)) == (coins, 0)


def test_what_cannot_be_understood_is_no_hand():
    few, *_ = compiled("trust_and_split", (("num_symbols", 2),))
    for hand, heard in itertools.product(range(3), range(2)):
        seen = trust(few, hand, heard)
        assert (
            act("trust_and_split", "always_cooperate", seen, num_symbols=2).action == 0
        )
        seen = trust(few, hand, heard, splits=1)
        assert (
            act("trust_and_split", "always_cooperate", seen, num_symbols=2).action == 5
        )
    options = {"num_symbols": 4, "num_messages": 2}
    env, *_ = compiled("trust_and_split", tuple(options.items()))
    for messages, coins, claim in [
        # The last word counts: paper holds rock, scissors, and what is no hand.
        ((SCISSORS, ROCK), 10, PAPER),
        ((ROCK, SCISSORS), 0, ROCK),
        ((ROCK, 3), 5, ROCK),
        ((ROCK, None), 10, PAPER),
    ]:
        said = np.concatenate([one_hot(symbol, 4) for symbol in messages])
        seen = {"own_hand": one_hot(PAPER), "other_said": said}
        asks = observe(env, splits=1, **seen)
        says = observe(env, my_turn=1, **seen)
        output = act("trust_and_split", "always_cooperate", asks, **options)
        assert output.action == coins
        assert act("trust_and_split", "liar", says, **options).action == claim


def test_liars_claim_to_win():
    env, *_ = compiled("trust_and_split")
    for hand in range(3):
        for heard, claim in [
            (None, ROCK),
            (ROCK, PAPER),
            (PAPER, SCISSORS),
            (SCISSORS, ROCK),
        ]:
            seen = trust(env, hand, heard)
            assert act("trust_and_split", "liar", seen).action == claim
            seen = trust(env, hand, heard, splits=1)
            assert act("trust_and_split", "liar", seen).action == 10


def test_tit_for_tat_minds_greed_where_coins_were_its_own():
    env, *_ = compiled("trust_and_split")
    memory = None
    # Scissors, told that the other has paper: all coins are for itself.
    for own_upper, asked, expected in [
        (1, 5, (SCISSORS, 10)),
        (0, 10, (SCISSORS, 10)),  # the coins were for the other
        (1, 6, ("any", 10)),
        (0, 0, ("any", 10)),  # its mood stays
        (1, 0, (SCISSORS, 10)),
        (1, 10, ("any", 10)),
    ]:
        last = {"played": 1, "own_upper": own_upper, "other_proposal": asked}
        seen = trust(env, SCISSORS, PAPER, **last)
        output = act("trust_and_split", "tit_for_tat", seen, memory)
        if expected[0] == "any":
            np.testing.assert_allclose(output.log_prob, -np.log(3), rtol=1e-6)
        else:
            assert output.action == expected[0] and output.log_prob == 0
        # Scissors against rock: none, if it is believed and forgiven.
        seen = trust(env, SCISSORS, ROCK, splits=1, **last)
        output = act("trust_and_split", "tit_for_tat", seen, output.memory)
        assert output.action == (10 if expected[0] == "any" else 0)
        memory = output.memory


@pytest.mark.parametrize(("name", "count"), [("always_defect", 3), ("random", 11)])
def test_chance_is_fair(name, count):
    env, *_ = compiled("trust_and_split")
    seen = jnp.broadcast_to(trust(env, PAPER), (4000, *env.observation_shape))
    output = act("trust_and_split", name, seen)
    shares = np.bincount(output.action, minlength=count) / 4000
    assert len(shares) == count
    error = np.sqrt((1 - 1 / count) / count / 4000)
    np.testing.assert_allclose(shares, 1 / count, atol=4.5 * error)
    np.testing.assert_allclose(output.log_prob, -np.log(count), rtol=1e-6)


@pytest.mark.parametrize(
    ("players", "cases", "expected"),
    [
        (("always_cooperate", "always_cooperate"), 12, (50, 50)),
        (("tit_for_tat", "always_cooperate"), 12, (50, 50)),
        (("always_defect", "always_defect"), 12 * 9, (27.5, 27.5)),
        (("liar", "liar"), 12, (27.5, 27.5)),
        # What it hears is its own hand, the truth, or neither. With the upper hand it
        # asks for 5, 10 or 0, with the lower one for 5, 0 or 10, of coins that the
        # other asks for in any case.
        (("always_cooperate", "always_defect"), 18, (275 / 18, 715 / 18)),
        # The liar has the last word: it gets all, 10 or 100. It has the first: "rock"
        # is as good as anything.
        (("always_cooperate", "liar"), 12, (275 / 36, (55 + 715 / 18) / 2)),
    ],
)
def test_trust_and_split_is_a_dilemma(players, cases, expected):
    """Exact over six hands, who began, and all that is said at random."""
    env, *_ = compiled("trust_and_split")
    trajectory = meet("trust_and_split", *players)
    parts = {
        name: np.round(part).astype(int)
        for name, part in env.read(trajectory.observation).items()
    }
    assert (parts["splits"][2::3] == 1).all() and parts["splits"].mean() == 1 / 3
    ends = slice(2, None, 3)
    case = [
        parts["own_hand"][ends].argmax(-1),
        parts["my_turn"][::3, :, :1, 0],
        parts["own_said"][ends].argmax(-1),
    ]
    case = np.concatenate(case, -1).reshape(-1, 5)
    if "always_cooperate" in players and "always_defect" in players:
        case = case[:, [0, 1, 3, 4]]  # who began is nothing to these
    rewards = np.asarray(trajectory.reward[ends], float).reshape(-1, 2)
    count, mean = mean_of_cases(case, rewards)
    assert count == cases
    np.testing.assert_allclose(mean, expected, rtol=1e-5)


# Both.


def measured(game, name, num_steps):
    """Of a named player among its like."""
    env, policy, _ = compiled(game)
    params = (PLAYERS[game].scripted_params(name),) * 2
    both = seated([policy] * 2, [[0], [1]])
    episodes = play_episodes(jax.random.key(0), env, both, params, NUM_GAMES, num_steps)
    return find_spec(game).measures(env, episodes)


@every_game
def test_efficiency_is_measured(game):
    # Greed is worth 60 of 210 and 105 of 300 in Split; in the sum 165 · 2 of 510.
    greedy = {"split": 330 / 510, "trust_and_split": 0.55}
    numbers = measured(game, "always_cooperate", NUM_STEPS[game])
    np.testing.assert_allclose(numbers["efficiency"], 1, rtol=1e-5)
    numbers = measured(game, "always_defect", NUM_STEPS[game])
    np.testing.assert_allclose(numbers["efficiency"], greedy[game], rtol=0.01)


def test_a_game_without_a_whole_round_has_no_efficiency():
    numbers = measured("trust_and_split", "random", 2)
    assert numbers == {}


@every_game
def test_players_are_numbers_that_stack(game):
    env, policy, _ = compiled(game)
    players = find_spec(game).players(env)
    assert players.names == PLAYERS[game].SCRIPTED == tuple(PLAYERS[game].RESPONSES)
    met = {"always_cooperate", "always_defect", "tit_for_tat"}
    assert met <= set(find_spec(game).opponent_names(env)) <= set(players.names)
    params = jnp.stack([players.params(name) for name in players.names])
    assert params.dtype == jnp.int32
    seen = meet(game, "random", "random").observation[-1]
    memory = policy.initial_memory(seen.shape[:-1])
    key = jax.random.key(3)
    many = jax.vmap(policy.act, (0, None, None, None))(params, key, seen, memory)
    for member, name in enumerate(players.names):
        one = act(game, name, seen, key=3)
        np.testing.assert_array_equal(many.action[member], one.action)
        np.testing.assert_allclose(many.log_prob[member], one.log_prob, rtol=1e-6)


@every_game
def test_scripted_players_have_nothing_to_learn(game):
    env, policy, _ = compiled(game)
    assert policy.evaluate is None
    seen = jnp.zeros((4, 2, *env.observation_shape))
    value = policy.value(0, seen, policy.initial_memory((4, 2)))
    np.testing.assert_array_equal(value, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="player"):
        policy.init(jax.random.key(0))
    with pytest.raises(ValueError, match="player is 'nobody'.*tit_for_tat"):
        PLAYERS[game].scripted_params("nobody")
