"""Who earns what against whom, against what can be worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aajax import envs
from aajax.envs.matrix.players import RESPONSES, memory_one, scripted_table
from aajax.tournament import (
    Group,
    LineUp,
    against_copies,
    match,
    play_line_ups,
    round_robin,
    with_itself,
)

NUM_STEPS = 16
ENV = envs.make("ipd", num_steps=NUM_STEPS)
KEY = jax.random.key(0)
POLICY = memory_one()
C, D, TFT, GRIM, WSLS = RESPONSES_IN_ORDER = (
    "always_cooperate",
    "always_defect",
    "tit_for_tat",
    "grim",
    "win_stay_lose_shift",
)
# What the first earns per step against the second, over 16 steps.
REWARD = {
    (C, C): -1,
    (C, D): -3,
    (C, TFT): -1,
    (C, GRIM): -1,
    (C, WSLS): -1,
    (D, C): 0,
    (D, D): -2,
    # DC once, DD for the other fifteen.
    (D, TFT): (0 - 2 * 15) / 16,
    (D, GRIM): (0 - 2 * 15) / 16,
    # DC and DD in turn.
    (D, WSLS): (0 * 8 - 2 * 8) / 16,
    (TFT, C): -1,
    (TFT, D): (-3 - 2 * 15) / 16,
    (TFT, TFT): -1,
    (TFT, GRIM): -1,
    (TFT, WSLS): -1,
    (GRIM, C): -1,
    (GRIM, D): (-3 - 2 * 15) / 16,
    (GRIM, TFT): -1,
    (GRIM, GRIM): -1,
    (GRIM, WSLS): -1,
    (WSLS, C): -1,
    (WSLS, D): (-3 * 8 - 2 * 8) / 16,
    (WSLS, TFT): -1,
    (WSLS, GRIM): -1,
    (WSLS, WSLS): -1,
}


def group(*players, names=None, num_agents=2):
    tables = jnp.stack([scripted_table(name, num_agents, 2) for name in players])
    return Group(names or players, (POLICY,) * num_agents, (tables,) * num_agents)


def test_every_line_up_earns_what_it_should():
    assert set(RESPONSES_IN_ORDER) == set(RESPONSES)
    first, second = group(*RESPONSES_IN_ORDER), group(*reversed(RESPONSES_IN_ORDER))
    # Three times over, which is more than are played side by side.
    members = np.tile(np.indices((5, 5)).reshape(2, -1).T, (3, 1))
    assert len(members) > match.TABLES_AT_ONCE
    reward = play_line_ups(KEY, ENV, [first, second], members, 3, NUM_STEPS)
    expected = [
        (
            REWARD[first.names[i], second.names[j]],
            REWARD[second.names[j], first.names[i]],
        )
        for i, j in members
    ]
    np.testing.assert_allclose(reward, expected, rtol=1e-6)


def test_every_seat_has_parameters_of_its_own():
    defect, cooperate = scripted_table(D, 2, 2)[None], scripted_table(C, 2, 2)[None]
    player = Group(("one",), (POLICY,) * 2, (defect, cooperate))
    reward = play_line_ups(KEY, ENV, [player] * 2, np.array([[0, 0]]), 2, NUM_STEPS)
    np.testing.assert_allclose(reward, [[0, -3]], rtol=1e-6)


def test_chance_averages_out():
    num_games = 500
    reward = play_line_ups(
        KEY,
        ENV,
        [group("random"), group("random", D)],
        np.array([[0, 0], [0, 1]]),
        num_games,
        NUM_STEPS,
    )
    # Payoffs −1, −3, 0, −2 have deviation √1.25; against a defector −3 and −2, ½.
    error = np.array([[1.25, 1.25], [0.25, 1.0]]) / (num_games * NUM_STEPS)
    expected = np.array([[-1.5, -1.5], [-2.5, -1.0]])
    assert (np.abs(np.asarray(reward) - expected) < 4 * np.sqrt(error)).all()


def test_against_copies():
    focal, opponents = group(TFT, D, WSLS), group(C, D)
    reward = against_copies(KEY, ENV, focal, opponents, 2, NUM_STEPS)
    expected = [[REWARD[i, j] for j in opponents.names] for i in focal.names]
    np.testing.assert_allclose(reward, expected, rtol=1e-6)


def test_against_two_copies():
    env = envs.make("public_goods", num_steps=4)
    focal, opponents = group(D, num_agents=3), group(C, TFT, num_agents=3)
    reward = against_copies(KEY, env, focal, opponents, 2, 4)
    share = 1.6 * 2 / 3
    np.testing.assert_allclose(reward, [[share, share / 4]], rtol=1e-5)


def test_with_itself():
    reward = with_itself(KEY, ENV, group(TFT, D, C), 2, NUM_STEPS)
    np.testing.assert_allclose(reward, [-1, -2, -1], rtol=1e-6)


def interval(numbers):
    half = stats.t.ppf(0.975, len(numbers) - 1)
    return half * np.std(numbers, ddof=1) / np.sqrt(len(numbers))


def test_round_robin_by_hand():
    """One player of three unlike seeds, and two scripted ones."""
    seeds = (C, TFT, D)
    learned = group(*seeds, names=("learned",) * 3)
    line_ups = round_robin(KEY, ENV, [learned, group(WSLS, D)], 2, NUM_STEPS)

    def mean(rows, columns):
        return np.array([[REWARD[i, j] for j in columns] for i in rows]).mean(1)

    # With itself different seeds meet; two remain when one is left out.
    cross = np.array([[REWARD[i, j] for j in seeds] for i in seeds])
    apart = ~np.eye(3, dtype=bool)
    without = [
        cross[np.ix_(keep, keep)][~np.eye(2, dtype=bool)].mean()
        for keep in ~np.eye(3, dtype=bool)
    ]
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 * np.var(without))
    own = (cross[apart].mean(),) * 2
    expected = [LineUp(("learned", "learned"), own, (half,) * 2)]
    for name in (WSLS, D):
        own, other = mean(seeds, [name]), mean([name], seeds)
        of_seeds = np.array([REWARD[name, seed] for seed in seeds])
        rewards = own.mean(), other.mean()
        # The player of one seed is measured over the seeds it meets.
        intervals = interval(own), interval(of_seeds)
        expected.append(LineUp(("learned", name), rewards, intervals))
        expected.append(LineUp((name, "learned"), rewards[::-1], intervals[::-1]))
    for first in (WSLS, D):
        for second in (WSLS, D):
            rewards = REWARD[first, second], REWARD[second, first]
            # Over games, which are all alike.
            expected.append(LineUp((first, second), rewards, (0.0, 0.0)))

    actual = {line_up.players: line_up for line_up in line_ups}
    assert len(actual) == len(line_ups) == len(expected)
    for line_up in expected:
        ours = actual[line_up.players]
        np.testing.assert_allclose(ours.reward, line_up.reward, rtol=1e-6)
        np.testing.assert_allclose(
            ours.interval, line_up.interval, rtol=1e-5, atol=1e-6
        )
    assert max(expected[0].interval) > 0.1


def test_too_many_line_ups_are_refused():
    players = Group(("one",) * 142, (POLICY,) * 2, (jnp.zeros((142, 5, 2)),) * 2)
    with pytest.raises(ValueError, match="players are 142 for 2 seats.*20000"):
        round_robin(KEY, ENV, [players], 1, NUM_STEPS)


def test_line_ups_have_chance_of_their_own_unless_they_are_paired():
    """Five equal seeds: only what games leave to chance tells them apart."""
    seeds = group(*["random"] * 5)
    members = np.stack([np.arange(5)] * 2, 1)
    own = play_line_ups(KEY, ENV, [seeds] * 2, members, 32, NUM_STEPS)
    assert len(np.unique(own[:, 0])) == 5
    paired = play_line_ups(KEY, ENV, [seeds] * 2, members, 32, NUM_STEPS, paired=True)
    assert len(np.unique(paired[:, 0])) == 1


@pytest.mark.slow
def test_chance_of_games_is_in_the_interval():
    """Of 60 leagues of equal seeds, at least nine tenths hold the truth, −1.5."""
    seeds = group(*["random"] * 5, names=("random",) * 5)
    held = 0
    for number in range(60):
        (line_up,) = round_robin(jax.random.key(number), ENV, [seeds], 8, 4)
        held += abs(line_up.reward[0] + 1.5) <= line_up.interval[0]
    assert held >= 54


def test_where_episodes_end_by_chance_nothing_is_played_beyond():
    """To cooperate at first and defect then: −1 and then −2 a step, two steps long."""
    env = envs.make("ipd", num_steps=50, continuation=0.5)
    table = jnp.eye(2)[jnp.array([0, 1, 1, 1, 1])]
    players = Group(("one",), (POLICY,) * 2, (table[None],) * 2)
    num_games = 4096
    reward = with_itself(KEY, env, players, num_games, 50)
    # Of a ratio of means: lengths have variance 2.
    np.testing.assert_allclose(reward, -1.5, atol=4 * np.sqrt(0.5 / 4 / num_games))
    (line_up,) = round_robin(KEY, env, [players], num_games, 50)
    np.testing.assert_allclose(line_up.reward, -1.5, atol=0.03)
    assert 0.001 < line_up.interval[0] < 0.03
