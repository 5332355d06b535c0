"""Credit over episodes in which a co-player learns, by enumeration.

Two episodes of the prisoner's dilemma of two steps, played by B games at once; the
naive player takes one policy-gradient step between them. All 16^(2B) courses are summed
over.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import short_games

from aajax.ops import shaping

DILEMMA = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
VIEW = np.array([[0, 1, 2, 3, 4], [0, 1, 3, 2, 4]])
# Logits of cooperation after START CC CD DC DD, own action first.
THETA = np.array([0.5, 0.2, -0.3, 0.1, -0.4])
PSI = np.array([0.1, -0.2, 0.3, -0.1, 0.2])
GAMES = short_games.all_games(DILEMMA, 2)
GAIN = np.cumsum(GAMES.reward[:, ::-1], axis=1)[:, ::-1]  # to go, [16, T, 2]


def played(player, logits):
    """log π(a_t) of every game f[16, T], and its gradient f[16, T, 5]."""
    rows = VIEW[player][GAMES.state]
    cooperate = 1 / (1 + np.exp(-logits))
    chosen = GAMES.action[..., player] == 0
    log_prob = np.log(np.where(chosen, cooperate[rows], 1 - cooperate[rows]))
    score = (chosen - cooperate[rows])[..., None] * np.eye(5)[rows]
    return log_prob, score


def chances(psi):
    """Of every game, f[16]."""
    return np.exp(sum(played(i, x)[0].sum(1) for i, x in ((0, THETA), (1, psi))))


def learned(games):
    """ψ after the games of the first episode."""
    of_games = np.einsum("gtp,gt->gp", played(1, PSI)[1], GAIN[..., 1])
    return PSI + 0.5 * of_games[list(games)].mean(0)


def expected_gradient(rule, num_games):
    """E[Σ_b Σ_l ∇ log π(a_l^b) c_l^b], f[5], and J, for credits c by the rule."""
    all_of = list(itertools.product(range(16), repeat=num_games))
    first = chances(PSI)
    courses, weights = [], []
    for games in all_of:
        second = chances(learned(games))
        for later in all_of:
            courses.append((games, later))
            weights.append(np.prod(first[list(games)]) * np.prod(second[list(later)]))
    courses, weights = np.array(courses), np.array(weights)  # [C, M, B]
    reward = np.moveaxis(GAMES.reward[courses, :, 0], -1, 2)  # [C, M, T, B]
    reward = reward.reshape(len(courses), 4, num_games)
    with jax.enable_x64(True):
        credit = jax.jit(jax.vmap(lambda x: rule(x, 2)))(jnp.asarray(reward))
    score = np.moveaxis(played(0, THETA)[1][courses], 3, 2)  # [C, M, T, B, 5]
    score = score.reshape(*reward.shape, 5)
    gradient = np.einsum("c,clb,clbp->p", weights, np.asarray(credit), score)
    return gradient, weights @ reward.sum(1).mean(1)


@pytest.mark.parametrize(
    ("num_games", "value", "slope"),
    [
        (1, -6.161436, [-0.57661, -0.14211, -0.16559, -0.08808, -0.09669]),
        (2, -6.163917, [-0.57778, -0.14163, -0.16531, -0.08674, -0.09794]),
    ],
)
def test_coala_is_the_gradient_through_the_learner(num_games, value, slope):
    """The numbers were computed apart from this package."""
    gradient, return_ = expected_gradient(shaping.coala, num_games)
    np.testing.assert_allclose(return_, value, atol=6e-7)
    np.testing.assert_allclose(gradient, slope, atol=6e-6)


def test_other_rules_weigh_shaping_less():
    """By the number of games, and both alike in expectation."""
    mfos, _ = expected_gradient(shaping.mfos, 2)
    unaware, _ = expected_gradient(shaping.batch_unaware, 2)
    np.testing.assert_allclose(mfos, unaware, atol=1e-12)
    expected = [-0.57750, -0.14988, -0.15673, -0.09169, -0.09313]
    np.testing.assert_allclose(mfos / 2, expected, atol=6e-6)


def test_a_mean_over_the_games_of_a_meta_game_removes_the_shaping():
    """Why a baseline may not be one: what later episodes bring is the same for all."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
    _, later = shaping.own_and_later(x, 3, 1.0)
    shared = jnp.mean(later, axis=1, keepdims=True)
    credit, own = shaping.mfos(x, 3), shaping.own_and_later(x, 3, 1.0)[0]
    np.testing.assert_allclose(credit, own + shared, rtol=1e-5)
    left = credit - credit.mean(1, keepdims=True)
    np.testing.assert_allclose(left, own - own.mean(1, keepdims=True), atol=1e-5)


def test_parts_by_hand():
    """Two episodes of two steps, γ ½."""
    x = jnp.array([[8.0], [4.0], [2.0], [16.0]])
    own, later = shaping.own_and_later(x, 2, 0.5)
    np.testing.assert_array_equal(own[:, 0], [10, 4, 10, 16])
    np.testing.assert_array_equal(later[:, 0], [2.5, 5, 0, 0])


def test_all_rules_agree_on_a_single_game():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(8, 1)), jnp.float32)
    expected = shaping.batch_unaware(x, 4, 0.9)
    for rule in (shaping.coala, shaping.mfos):
        np.testing.assert_allclose(rule(x, 4, 0.9), expected, rtol=1e-5)
    powers = 0.9 ** np.arange(8)
    np.testing.assert_allclose(expected[0, 0], powers @ np.asarray(x)[:, 0], rtol=1e-5)
