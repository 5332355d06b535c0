"""Scripted negotiators: what they ask for, and what they earn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import negotiation as game
from aajax.envs.negotiation import players as negotiation
from aajax.policies import seated
from aajax.rollout import begin, rollout

NUM_GAMES, NUM_STEPS = 4096, 4


def observe(env, own, other, pool=(1, 1, 1), other_proposal=(0, 0, 0)):
    """What an agent would see, f32[O], of these numbers and zeros else."""
    seen = np.zeros(env.observation_shape, np.float32)
    for name, numbers in {
        "pool": pool,
        "own_utility": own,
        "other_utility": other,
        "utility_difference": np.subtract(own, other),
        "other_proposal": other_proposal,
    }.items():
        if name in env.layout():
            middle, far = (env.read(x + np.zeros_like(seen))[name] for x in (0, 1))
            seen[env.layout()[name]] = (numbers - middle) / (far - middle)
    return seen


@functools.cache
def compiled(env):
    return jax.jit(negotiation.scripted(env).act)


def act(env, name, observation, memory=None, key=0):
    policy = negotiation.scripted(env)
    observation = jnp.asarray(observation, jnp.float32)
    if memory is None:
        memory = policy.initial_memory(observation.shape[:-1])
    params = negotiation.scripted_params(name, env)
    return compiled(env)(params, jax.random.key(key), observation, memory)


@pytest.mark.parametrize("proposals", ["continuous", "discrete"])
@pytest.mark.parametrize("observation", ["raw", "utility_difference", "history"])
def test_cooperators_ask_for_what_they_value_more(observation, proposals):
    env = envs.make("negotiation", observation=observation, proposals=proposals)
    seen = [observe(env, [5, 1, 3], [1, 5, 2]), observe(env, [2, 3, 1], [3, 2, 5])]
    output = act(env, "always_cooperate", seen)
    np.testing.assert_array_equal(output.action, [[5, 0, 5], [0, 5, 0]])
    np.testing.assert_array_equal(output.log_prob, [0, 0])
    output = act(env, "always_defect", seen)
    np.testing.assert_array_equal(output.action, [[5, 5, 5], [5, 5, 5]])
    np.testing.assert_array_equal(output.log_prob, [0, 0])
    assert output.action.dtype == env.action_spaces[0].dtype
    np.testing.assert_array_equal(output.value, [0, 0])


@pytest.mark.parametrize("observation", ["raw", "utility_difference", "history"])
def test_ties_go_by_a_fair_coin(observation):
    """All utilities are worth scaling down and up again; equal ones must stay equal."""
    env = envs.make("negotiation", utilities="deal_or_no_deal", observation=observation)
    values = np.arange(9)
    seen = [observe(env, [v, v, v + 1], [v, v, v]) for v in values]
    draws = 2000
    output = act(
        env, "always_cooperate", np.broadcast_to(seen, (draws, *np.shape(seen)))
    )
    action = np.asarray(output.action)
    assert set(np.unique(action)) == {0, 5}
    assert (action[..., 2] == 5).all()
    both = [
        np.mean(np.all(action[..., :2] == pair, -1), 0)
        for pair in ([0, 0], [0, 5], [5, 0], [5, 5])
    ]
    np.testing.assert_allclose(both, 0.25, atol=4.5 * np.sqrt(0.25 * 0.75 / draws))
    np.testing.assert_allclose(output.log_prob, 2 * np.log(0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "observation"),
    [("exact_split", "raw"), ("exact_split", "history"), ("exact_match", "history")],
)
def test_an_exact_split_is_asked_for_in_items(rule, observation):
    env = envs.make("negotiation", rule=rule, observation=observation)
    for pool in ([4, 3, 2], [5, 1, 3]):
        seen = observe(env, [5, 1, 3], [1, 5, 2], pool)
        wanted = [pool[0], 0, pool[2]]
        np.testing.assert_array_equal(act(env, "always_cooperate", seen).action, wanted)
        np.testing.assert_array_equal(act(env, "always_defect", seen).action, pool)
        np.testing.assert_array_equal(act(env, "tit_for_tat", seen).action, wanted)


FIRST, SECOND, ALIKE = (
    ([5, 5, 1], [1, 1, 5]),
    ([1, 5, 1], [5, 1, 5]),
    ([3] * 3, [3] * 3),
)


@pytest.mark.parametrize("rule", ["divide_when_above", "exact_split"])
@pytest.mark.parametrize("observation", ["raw", "history"])
def test_tit_for_tat_answers_what_was_done_to_it(observation, rule):
    env = envs.make("negotiation", rule=rule, observation=observation)
    pool = [5, 5, 5]
    memory = None
    for (own, other), proposal, expected in [
        # Kind at first; a proposal that it did not see made is nothing to it.
        (FIRST, [5, 5, 5], [5, 5, 0]),
        # Of items 0 and 1, which it valued more, 2 + 2 of 10 were asked.
        (SECOND, [2, 2, 5], [0, 5, 0]),
        # All of item 1.
        (FIRST, [0, 5, 0], [5, 5, 5]),
        # Items 0 and 1 count together: 1 + 4 is half, and half is too much.
        (FIRST, [1, 4, 5], [5, 5, 5]),
        (FIRST, [1, 3.75, 5], [5, 5, 0]),
        (FIRST, [4, 4, 0], [5, 5, 5]),
        (ALIKE, [0, 0, 5], "coins"),
        # It wanted nothing more than the other did: its mood stays.
        (SECOND, [5, 5, 5], [0, 5, 0]),
        (FIRST, [0, 5, 0], [5, 5, 5]),
        (ALIKE, [5, 5, 0], [5, 5, 5]),
        (FIRST, [0, 0, 0], [5, 5, 5]),
    ]:
        seen = observe(env, own, other, pool, proposal)
        output = act(env, "tit_for_tat", seen, memory)
        memory = output.memory
        if expected == "coins":
            np.testing.assert_allclose(output.log_prob, 3 * np.log(0.5), rtol=1e-6)
        else:
            np.testing.assert_array_equal(output.action, expected)
            assert output.log_prob == 0


def test_random_proposals_are_uniform():
    env = envs.make("negotiation")
    seen = np.zeros((2000, 2, *env.observation_shape))
    output = act(env, "random", seen)
    action = np.asarray(output.action)
    assert action.min() >= 0 and action.max() <= 5
    levels = np.linspace(0.5, 4.5, 9)
    below = np.mean(action[..., None] <= levels, axis=(0, 1))
    error = np.sqrt(levels / 5 * (1 - levels / 5) / 4000)
    assert (np.abs(below - levels / 5) < 4.5 * error).all()
    np.testing.assert_allclose(output.log_prob, 3 * np.log(1 / 5), rtol=1e-6)
    correlations = np.corrcoef(action.reshape(2000, -1).T) - np.eye(6)
    assert np.abs(correlations).max() < 4.5 / np.sqrt(2000)

    env = envs.make("negotiation", proposals="discrete")
    output = act(env, "random", seen)
    assert output.action.dtype == jnp.int32
    action = np.asarray(output.action)
    assert set(np.unique(action)) == set(range(6))
    shares = np.stack([np.mean(action == n, axis=(0, 1)) for n in range(6)])
    error = np.sqrt(1 / 6 * 5 / 6 / 4000)
    np.testing.assert_allclose(shares, 1 / 6, atol=4.5 * error)
    np.testing.assert_allclose(output.log_prob, 3 * np.log(1 / 6), rtol=1e-6)


def meet(first, second, **options):
    """Rewards f64[T, B, N] of two named players, and the best totals f64[T, B]."""
    env = envs.make("negotiation", **options)
    policy = negotiation.scripted(env)
    table = seated([policy, policy], [[0], [1]])
    params = tuple(negotiation.scripted_params(name, env) for name in (first, second))

    @jax.jit
    def play(key):
        tables = begin(key, env, table, NUM_GAMES)
        return rollout(key, env, table, params, tables, NUM_STEPS)[1]

    trajectory = play(jax.random.key(0))
    stakes = game.stakes_seen(env, trajectory.observation[:, :, 0])
    best = game.best_total(env, stakes)
    return np.asarray(trajectory.reward, float), np.asarray(best, float)


@pytest.mark.parametrize(
    ("players", "expected", "efficiency"),
    [
        (("always_cooperate", "always_cooperate"), (0.5, 0.5), 1.0),
        (("always_cooperate", "always_defect"), (0.25, 0.55), 0.8),
        (("always_defect", "always_cooperate"), (0.55, 0.25), 0.8),
        (("always_defect", "always_defect"), (0.3, 0.3), 0.6),
        (("random", "random"), (0.25, 0.25), 0.5),
        (("tit_for_tat", "tit_for_tat"), (0.5, 0.5), 1.0),
    ],
)
def test_a_dilemma_in_the_mean(players, expected, efficiency):
    """High contrast, divided when above: T .55 > R .5 > P .3 > S .25."""
    reward, best = meet(*players)
    np.testing.assert_allclose(best, 1, rtol=1e-5)
    sample = reward.reshape(-1, 2)
    error = sample.std(0) / np.sqrt(len(sample))
    assert (error < 0.003).all()
    assert (np.abs(sample.mean(0) - expected) < 4 * error).all()
    total = sample.sum(1)
    error = total.std() / np.sqrt(len(total))
    assert abs(total.mean() - efficiency) < 4 * error + 1e-6
    if players[0] == players[1] != "random":
        # Two alike waste alike, whatever the stakes.
        np.testing.assert_allclose(total, efficiency, rtol=1e-5)


def test_tit_for_tat_is_exploited_once():
    """Against a defector it earns .25 until it first wants something, and then .3."""
    reward, _ = meet("tit_for_tat", "always_defect")
    # In one round of 8 it values nothing more than the other does, and learns nothing.
    chance_naive = (1 / 8) ** np.arange(NUM_STEPS)
    expected = chance_naive * 0.25 + (1 - chance_naive) * 0.3
    error = reward[:, :, 0].std(1) / np.sqrt(NUM_GAMES)
    assert (np.abs(reward[:, :, 0].mean(1) - expected) < 4 * error).all()


def test_players_are_numbers_that_stack():
    env = envs.make("negotiation")
    policy = negotiation.scripted(env)
    names = negotiation.scripted_names(env)
    assert names == negotiation.SCRIPTED == tuple(negotiation.RESPONSES)
    params = jnp.stack([negotiation.scripted_params(name, env) for name in names])
    assert params.shape == (4,) and params.dtype == jnp.int32
    observation = np.stack([observe(env, *stakes) for stakes in (FIRST, SECOND)])
    memory = policy.initial_memory((2,))
    key = jax.random.key(3)
    many = jax.vmap(policy.act, (0, None, None, None))(params, key, observation, memory)
    for member, name in enumerate(names):
        one = act(env, name, observation, key=3)
        np.testing.assert_array_equal(many.action[member], one.action)
        np.testing.assert_allclose(many.log_prob[member], one.log_prob, rtol=1e-6)


def test_scripted_players_have_nothing_to_learn():
    policy = negotiation.scripted(envs.make("negotiation"))
    assert policy.evaluate is None
    value = policy.value(0, jnp.zeros((4, 2, 15)), policy.initial_memory((4, 2)))
    np.testing.assert_array_equal(value, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="player"):
        policy.init(jax.random.key(0))


@pytest.mark.parametrize(
    ("observation", "rule", "names"),
    [
        ("raw", "proportion", negotiation.SCRIPTED),
        ("history", "exact_split", negotiation.SCRIPTED),
        (
            "utility_difference",
            "divide_when_above",
            ("always_cooperate", "always_defect", "random"),
        ),
        # Not even how much there is.
        ("utility_difference", "exact_split", ("random",)),
        ("private", "divide_when_above", ("always_defect", "random")),
        ("private", "exact_split", ("always_defect", "random")),
    ],
)
def test_who_cannot_see_cannot_play(observation, rule, names):
    env = envs.make("negotiation", observation=observation, rule=rule)
    assert negotiation.scripted_names(env) == names
    seen = observe(env, [5, 1, 3], [1, 5, 2])
    for name in negotiation.SCRIPTED:
        if name in names:
            action = act(env, name, seen).action
            assert action.shape == (3,)
            if name == "always_defect":
                whole = 1 if rule == "exact_split" else 5
                np.testing.assert_array_equal(action, [whole] * 3)
        else:
            with pytest.raises(ValueError, match=f"player is '{name}'.*{observation}"):
                negotiation.scripted_params(name, env)


def test_an_unknown_player_is_named():
    env = envs.make("negotiation")
    with pytest.raises(ValueError, match="player is 'tat_for_tit'.*tit_for_tat"):
        negotiation.scripted_params("tat_for_tit", env)
