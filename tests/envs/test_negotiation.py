"""The Negotiation Game, played by hand and against its slow twin."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import negotiation as reference

from aajax import envs
from aajax.envs.negotiation import env as module
from aajax.envs.negotiation import view as negotiation_words
from aajax.envs.negotiation.rules import RULES
from aajax.envs.negotiation.utilities import SAMPLERS, Stakes

NUM_DRAWS = 20_000
# What the fixed stakes put on the table, and one joint proposal.
POOL, UTILITY = [4, 4, 4], [[10, 3, 2], [3, 10, 2]]
PROPOSAL = [[1, 2, 3], [4, 5, 0]]
# Asked for 5, 7 and 3: shares 1/5 and 4/5, 2/7 and 5/7, 3/5 and 0.
EARNED = [(8 + 24 / 7 + 4.8) / 15, (9.6 + 200 / 7) / 15]


@jax.jit
def step(env, key, state, action):
    return env.step(key, state, action)


@jax.jit
def reset(env, key):
    return env.reset(key)


def begin(**options):
    env = envs.make("negotiation", **options)
    return env, *reset(env, jax.random.key(0))


def stakes_of(pool, utility):
    return Stakes(jnp.array(pool, jnp.float32), jnp.array(utility, jnp.float32))


def as_action(env, proposal):
    return jnp.array(proposal, env.action_spaces[0].dtype)


@pytest.mark.parametrize("proposals", ["continuous", "discrete"])
@pytest.mark.parametrize(
    ("rule", "proposal", "worth"),
    [
        # Items 0 and 1 whole to who asked; of item 2, 2/5 and 1/5: 3 · 2 · 2/5 = 2.4.
        ("divide_when_above", [[5, 0, 2], [0, 5, 1]], (5 + 2.4, 8 + 1.2)),
        # All in halves.
        ("divide_when_above", [[5, 5, 5], [5, 5, 5]], (13 / 2, 15 / 2)),
        ("divide_when_above", [[0, 0, 0], [0, 0, 0]], (0, 0)),
        # Of item 2, 2/3 and 1/3: nothing is lost.
        ("proportion", [[5, 0, 2], [0, 5, 1]], (5 + 4, 8 + 2)),
        ("proportion", [[0, 0, 0], [0, 0, 0]], (0, 0)),
        ("exact_split", [[1, 0, 2], [0, 2, 1]], (5 + 4, 8 + 2)),
        ("exact_split", [[0, 0, 1], [0, 1, 1]], (2, 4 + 2)),
        # 2 + 2 of item 2, of which there are 3.
        ("exact_split", [[1, 0, 2], [0, 2, 2]], (0, 0)),
        ("exact_match", [[1, 0, 2], [0, 2, 1]], (5 + 4, 8 + 2)),
        ("exact_match", [[1, 0, 2], [0, 2, 2]], (0, 0)),
        # An item 2 is left.
        ("exact_match", [[1, 0, 1], [0, 2, 1]], (0, 0)),
    ],
)
def test_rounds_by_hand(rule, proposal, worth, proposals):
    env, state, _ = begin(rule=rule, proposals=proposals)
    state = state._replace(stakes=stakes_of([1, 2, 3], [[5, 1, 2], [1, 4, 2]]))
    key = jax.random.key(1)
    _, timestep = step(env, key, state, as_action(env, proposal))
    np.testing.assert_allclose(timestep.reward, np.array(worth) / 15, rtol=1e-6)


def test_deal_or_no_deal_is_paid_in_tenths():
    env, state, _ = begin(utilities="deal_or_no_deal", rule="exact_split")
    state = state._replace(stakes=stakes_of([1, 2, 3], [[4, 0, 2], [0, 5, 0]]))
    action = as_action(env, [[1, 0, 3], [0, 2, 0]])
    _, timestep = step(env, jax.random.key(1), state, action)
    np.testing.assert_allclose(timestep.reward, [1, 1], rtol=1e-6)


def test_negative_utilities_are_paid():
    env, state, _ = begin(utilities="cooperative", rule="exact_split")
    state = state._replace(stakes=stakes_of([4, 4, 4], [[3, -2, 0], [-3, 2, 0]]))
    action = as_action(env, [[4, 1, 0], [0, 3, 4]])
    _, timestep = step(env, jax.random.key(1), state, action)
    np.testing.assert_allclose(timestep.reward, [10 / 15, 6 / 15], rtol=1e-6)


def test_rewards_in_points():
    options = {"rule": "exact_split", "observation": "history"}
    env, state, _ = begin(**options, unit=1.0)
    state = state._replace(stakes=stakes_of([1, 2, 3], [[5, 1, 2], [1, 4, 2]]))
    action = as_action(env, [[1, 0, 2], [0, 2, 1]])
    _, timestep = step(env, jax.random.key(1), state, action)
    np.testing.assert_allclose(timestep.reward, [9, 10], rtol=1e-6)
    # Seen as they are without a unit.
    seen = timestep.observation[:, env.layout()["own_reward"]][:, 0]
    np.testing.assert_allclose(seen, np.array([9, 10]) / 7.5 - 1, rtol=1e-5)
    own = env.read(timestep.observation)["own_reward"][:, 0]
    np.testing.assert_allclose(own, [9, 10], rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_rules_agree_with_loops(rule, maybe_jit):
    rng = np.random.default_rng(0)
    pool = rng.integers(1, 6, (60, 3)).astype(np.float32)
    utility = rng.integers(-5, 6, (60, 2, 3)).astype(np.float32)
    proposal = rng.uniform(0, 5, (60, 2, 3)).astype(np.float32)
    # Half of them small enough to fit, many of them to the item.
    proposal[::2] = np.floor(proposal[::2] / 3)
    # And of these some that leave nothing.
    proposal[:40:2, 1] = pool[:40:2] - proposal[:40:2, 0]
    rule_of_all = maybe_jit(jax.vmap(RULES[rule]))
    actual = rule_of_all(Stakes(jnp.array(pool), jnp.array(utility)), proposal)
    expected = [
        getattr(reference, rule)(*case)
        for case in zip(pool, utility, proposal, strict=True)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    paid = np.any(np.array(expected) != 0, axis=1)
    assert paid[::2].sum() >= 10
    assert not rule.startswith("exact") or not paid.all()


OBSERVED = {
    # pool, own utility and proposal, the other's
    "raw": [
        [0.4, 0.4, 0.4, 1, 0.3, 0.2, 0.1, 0.2, 0.3, 0.3, 1, 0.2, 0.4, 0.5, 0],
        [0.4, 0.4, 0.4, 0.3, 1, 0.2, 0.4, 0.5, 0, 1, 0.3, 0.2, 0.1, 0.2, 0.3],
    ],
    "utility_difference": [[7, -7, 0], [-7, 7, 0]],
    # pool, own utility, own and the other's proposal
    "private": [
        [0.4, 0.4, 0.4, 1, 0.3, 0.2, 0.1, 0.2, 0.3, 0.4, 0.5, 0],
        [0.4, 0.4, 0.4, 0.3, 1, 0.2, 0.4, 0.5, 0, 0.1, 0.2, 0.3],
    ],
    # pool, utilities, played, last utilities, proposals, rewards; then 2 x − 1
    "history": [
        [0.8, 0.8, 0.8, 1, 0.3, 0.2, 0.3, 1, 0.2, 1, 1, 0.3, 0.2, 0.3, 1, 0.2]
        + [0.2, 0.4, 0.6, 0.8, 1, 0, EARNED[0], EARNED[1]],
        [0.8, 0.8, 0.8, 0.3, 1, 0.2, 1, 0.3, 0.2, 1, 0.3, 1, 0.2, 1, 0.3, 0.2]
        + [0.8, 1, 0, 0.2, 0.4, 0.6, EARNED[1], EARNED[0]],
    ],
}


def test_every_observation_is_expected_somewhere():
    assert set(OBSERVED) == set(module.OBSERVATIONS)


@pytest.mark.parametrize("observation", OBSERVED)
def test_observations_by_hand(observation):
    env, state, first = begin(utilities="no_sampling", observation=observation)
    expected = np.array(OBSERVED[observation])
    centre = (lambda x: 2 * x - 1) if observation == "history" else (lambda x: x)
    assert env.observation_shape == expected.shape[1:]
    action = as_action(env, PROPOSAL)
    state, timestep = step(env, jax.random.key(1), state, action)
    seen = timestep.observation
    np.testing.assert_allclose(seen, centre(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(timestep.reward, EARNED, rtol=1e-6)
    # At the start nothing was proposed, and nothing played.
    for name, place in env.layout().items():
        if name.endswith(("proposal", "reward", "last_utility")) or name == "played":
            expected[:, place] = 0
    seen = first.observation
    np.testing.assert_allclose(seen, centre(expected), rtol=1e-5, atol=1e-6)
    # A reader gets the game's own units.
    parts = env.read(timestep.observation)
    if observation == "utility_difference":
        np.testing.assert_array_equal(
            parts["utility_difference"], np.array(UTILITY) - np.array(UTILITY)[::-1]
        )
    else:
        np.testing.assert_allclose(parts["pool"], [POOL, POOL], rtol=1e-6)
        np.testing.assert_allclose(parts["own_utility"], UTILITY, rtol=1e-6)
        np.testing.assert_allclose(parts["own_proposal"], PROPOSAL, rtol=1e-6)
        np.testing.assert_allclose(parts["other_proposal"], PROPOSAL[::-1], rtol=1e-6)


def test_the_past_stays_while_the_stakes_change():
    env, state, _ = begin(utilities="uniform", observation="history")
    before = np.asarray(state.stakes.utility)
    state, timestep = step(env, jax.random.key(5), state, as_action(env, PROPOSAL))
    parts = env.read(timestep.observation)
    np.testing.assert_allclose(parts["own_last_utility"], before, rtol=1e-6)
    np.testing.assert_allclose(parts["other_last_utility"], before[::-1], rtol=1e-6)
    now = np.asarray(state.stakes.utility)
    assert (now != before).any()
    np.testing.assert_allclose(parts["own_utility"], now, rtol=1e-6)
    np.testing.assert_allclose(parts["own_reward"][:, 0], timestep.reward, rtol=1e-5)


@pytest.mark.parametrize("observation", OBSERVED)
def test_the_seats_are_alike(observation):
    """Whoever swaps seats swaps what they see and earn."""
    limits = {"min_turns": 3, "mean_turns": 3.0, "max_turns": 3}
    env, state, _ = begin(utilities="uniform", observation=observation, **limits)
    action = as_action(env, [[1, 2.5, 3], [4, 5, 0]])

    def swap(state):
        stakes, previous = state.stakes, state.previous
        return state._replace(
            stakes=stakes._replace(utility=stakes.utility[::-1]),
            previous=jax.tree.map(lambda x: x[::-1], previous),
        )

    key = jax.random.key(1)
    _, there = step(env, key, swap(state), action[::-1])
    state, here = step(env, key, state, action)
    np.testing.assert_array_equal(there.observation, here.observation[::-1])
    assert (np.asarray(here.observation[0]) != here.observation[1]).any()
    # The last turn pays.
    state = state._replace(turn=jnp.array(2, jnp.int32))
    reward = step(env, key, state, action)[1].reward
    swapped = step(env, key, swap(state), action[::-1])[1].reward
    np.testing.assert_array_equal(swapped, reward[::-1])
    assert reward[0] != reward[1]


@jax.jit
def play(env, keys, action):
    """The first state, and states and time steps [T, ...] of actions f32[T, N, 3]."""

    def body(state, x):
        state, timestep = env.step(x[0], state, x[1])
        return state, (state, timestep)

    state, _ = env.reset(keys[0])
    return state, jax.lax.scan(body, state, (keys[1:], action))[1]


def test_rounds_of_three_turns_pay_at_the_end():
    limits = {"min_turns": 3, "mean_turns": 3.0, "max_turns": 3}
    env = envs.make("negotiation", utilities="uniform", num_steps=7, **limits)
    keys = jax.random.split(jax.random.key(3), 8)
    action = jax.random.uniform(jax.random.key(4), (7, 2, 3), maxval=5.0)
    first, (state, timestep) = play(env, keys, action)
    pays = np.array([False, False, True, False, False, True, False])
    assert (timestep.reward[pays] > 0).all()
    assert not timestep.reward[~pays].any()
    np.testing.assert_array_equal(state.turn, [1, 2, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(state.num_turns, [3] * 7)
    utility = np.concatenate([first.stakes.utility[None], state.stakes.utility])
    changes = np.any(utility[1:] != utility[:-1], axis=(1, 2))
    np.testing.assert_array_equal(changes, pays)
    # Only the last turn's proposals count, by the stakes that they were made for.
    for t in (2, 5):
        stakes = jax.tree.map(lambda x, t=t: x[t - 1], state.stakes)
        earned = reference.divide_when_above(*stakes, action[t]) / 15
        np.testing.assert_allclose(timestep.reward[t], earned, rtol=1e-5)
    # All proposals are seen once, in the turn after.
    np.testing.assert_array_equal(state.previous.proposal, action)
    seen = env.read(timestep.observation)["other_proposal"]
    np.testing.assert_allclose(seen, action[:, ::-1], rtol=1e-6)
    np.testing.assert_array_equal(timestep.last, [False] * 6 + [True])
    np.testing.assert_array_equal(timestep.discount, np.ones(7))


def test_the_number_of_turns():
    """clip(Poisson(3), 2, 5), drawn at the beginning."""
    options = {"min_turns": 2, "mean_turns": 3.0, "max_turns": 5}
    env = envs.make("negotiation", **options)
    keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
    turns = np.asarray(jax.jit(jax.vmap(env.reset))(keys)[0].num_turns)
    below = (1 + 3 + 9 / 2) * math.exp(-3)
    three, four = 27 / 6 * math.exp(-3), 81 / 24 * math.exp(-3)
    chances = {2: below, 3: three, 4: four, 5: 1 - below - three - four}
    assert set(np.unique(turns)) == set(chances)
    for count, chance in chances.items():
        error = np.sqrt(chance * (1 - chance) / NUM_DRAWS)
        assert abs(np.mean(turns == count) - chance) < 4 * error


@pytest.mark.parametrize("turns", [1, 4])
@pytest.mark.parametrize(
    "utilities", [name for name in SAMPLERS if not name.endswith("no_sampling")]
)
def test_keys_alone_draw_the_stakes(utilities, turns):
    """Games with the same keys put the same stakes on the table, however played."""
    options = {"mean_turns": 2.0, "max_turns": turns, "rule": "exact_split"}
    env = envs.make("negotiation", utilities=utilities, **options)
    keys = jax.random.split(jax.random.key(7), 21)
    ways = [jnp.zeros((20, 2, 3)), jnp.full((20, 2, 3), 5.0)]
    ways.append(jax.random.uniform(jax.random.key(8), (20, 2, 3)))
    (_, (state, _)), *others = (play(env, keys, action) for action in ways)
    for _, (other, _) in others:
        jax.tree.map(np.testing.assert_array_equal, other.stakes, state.stakes)
    assert (np.asarray(state.stakes.utility[1:]) != state.stakes.utility[:-1]).any()


def test_proposals_may_be_whole_numbers():
    env, state, first = begin(proposals="discrete")
    assert env.action_spaces == (envs.MultiDiscrete(3, 6),) * 2
    _, timestep = step(env, jax.random.key(1), state, as_action(env, PROPOSAL))
    for emitted in (first, timestep):
        assert emitted.observation.dtype == emitted.reward.dtype == jnp.float32
    twin, _, _ = begin()
    assert twin.action_spaces == (envs.Box(3, 0.0, 5.0),) * 2
    _, expected = step(twin, jax.random.key(1), state, as_action(twin, PROPOSAL))
    jax.tree.map(np.testing.assert_array_equal, timestep, expected)


def test_random_proposals_earn_a_quarter():
    """E[x / max(x + y, 1)] = 5/12 of each item, worth 3 in the mean: 15/12 · 3 / 15."""
    env = envs.make("negotiation")

    @jax.jit
    @jax.vmap
    def play_one(key):
        reset_key, action_key, step_key = jax.random.split(key, 3)
        state, _ = env.reset(reset_key)
        action = env.action_spaces[0].sample(action_key, (2,))
        return env.step(step_key, state, action)[1].reward

    reward = np.asarray(play_one(jax.random.split(jax.random.key(0), 40_000)))
    error = reward.std(0) / np.sqrt(len(reward))
    assert (error < 0.001).all()
    assert (np.abs(reward.mean(0) - 0.25) < 4 * error).all()


def test_a_table_in_words():
    limits = {"min_turns": 2, "mean_turns": 2.0, "max_turns": 2, "num_steps": 6}
    env, state, _ = begin(utilities="no_sampling", **limits)
    start = """\
turn 1 of 2 in this round, 0 of 6 turns played
item              1     2     3
there are         4     4     4
worth to 0       10     3     2
worth to 1        3    10     2"""
    assert negotiation_words.describe(env, state) == start
    key, action = jax.random.key(1), as_action(env, [[1, 2.5, 3], [4, 5, 0]])
    state, _ = step(env, key, state, action)
    text = negotiation_words.describe(env, state).splitlines()
    assert text[0] == "turn 2 of 2 in this round, 1 of 6 turns played"
    assert text[5:] == [
        "0 last asked      1   2.5     3  and earned 0.000",
        "1 last asked      4     5     0  and earned 0.000",
    ]
    # Item 2 now goes by 2.5 and 5 of 7.5: 4 · 3 / 3 = 4, and 80 / 3.
    state, _ = step(env, key, state, action)
    earned = f"{(8 + 4 + 4.8) / 15:.3f}", f"{(9.6 + 80 / 3) / 15:.3f}"
    for line, reward in zip(
        negotiation_words.describe(env, state).splitlines()[5:], earned, strict=True
    ):
        assert line.endswith(f"and earned {reward}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utilities": "low"}, "utilities is 'low': one of uniform, high_contrast,"),
        ({"rule": "fair"}, "rule is 'fair': one of divide_when_above, proportion"),
        ({"proposals": "words"}, "proposals is 'words': one of continuous, discrete"),
        ({"observation": "all"}, "observation is 'all': one of raw, utility_diff"),
        ({"utilities": "cooperative"}, "rule is 'divide_when_above': 'exact_split'"),
        (
            {"utilities": "cooperative", "rule": "proportion"},
            "rule is 'proportion': 'exact_split' is needed.*negative",
        ),
        ({"min_turns": 0}, "min_turns is 0 and max_turns is 1: 1 <= min_turns"),
        ({"min_turns": 2}, "min_turns is 2 and max_turns is 1"),
        ({"mean_turns": 0}, "mean_turns is 0: a finite mean > 0"),
        ({"mean_turns": math.nan}, "mean_turns is nan: a finite number is"),
        ({"num_steps": 0}, "num_steps is 0: at least 1"),
        ({"unit": 0}, "unit is 0.0: a finite number > 0 is needed"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("negotiation", **options)
