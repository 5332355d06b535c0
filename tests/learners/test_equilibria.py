"""Which equilibria advantage alignment keeps, over all games of three steps.

Both agents play an equilibrium of the stage game forever, whatever happened. Agent i
is 0, its co-player j is 1; policies are tables with a row for every step and
environment state. See https://arxiv.org/abs/2406.14662.
"""

import jax
import numpy as np
import pytest
from reference import short_games

from aajax.ops import alignment

NUM_STEPS = 3
LOGITS = np.random.default_rng(0).normal(size=(2, NUM_STEPS, 5, 2))
GAMES = {
    "prisoners_dilemma": [[-1.0, -3.0], [0.0, -2.0]],
    "stag_hunt": [[4.0, 0.0], [3.0, 3.0]],
    "chicken": [[0.0, -1.0], [1.0, -10.0]],
}
GAMES = {name: np.array([x, np.transpose(x)]) for name, x in GAMES.items()}
PENNIES = np.array([[[1.0, -1.0], [-1.0, 1.0]], [[-1.0, 1.0], [1.0, -1.0]]])
SEXES = np.array([[[3.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [0.0, 3.0]]])
GAMES |= {"matching_pennies": PENNIES, "battle_of_the_sexes": SEXES}
# Chances of action 0 of both.
MIXED = {
    "stag_hunt": (0.75, 0.75),
    "chicken": (0.9, 0.9),
    "matching_pennies": (0.5, 0.5),
    "battle_of_the_sexes": (0.6, 0.4),
}
PURE = [
    ("prisoners_dilemma", (1, 1)),
    ("stag_hunt", (0, 0)),
    ("stag_hunt", (1, 1)),
    ("chicken", (0, 1)),
    ("chicken", (1, 0)),
    ("battle_of_the_sexes", (0, 0)),
    ("battle_of_the_sexes", (1, 1)),
]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@jax.jit
def alignment_term(advantage, gamma, beta):
    """The credit's second part for both agents, f[G, T, 2]."""
    credit = jax.vmap(lambda a: alignment.alignment_credit(a, gamma, beta))
    return credit(advantage) - advantage


def forever(probs, num_steps):
    """Logits of the same chances of action 0, whatever happened."""
    row = np.log([[p, 1 - p] for p in probs])
    return np.broadcast_to(row[:, None, None], (2, num_steps, 5, 2))


def gradients(play, gamma, beta, own=None):
    """Agent 0's expected policy gradient, and the alignment term of it; the past that
    of `own` advantages, f[G, T], or of the joint action's."""
    naive, served = play.advantage[..., 0], play.advantage[..., 1]
    both = np.stack([naive if own is None else own, served], axis=-1)
    term = np.asarray(alignment_term(both, gamma, beta))[..., 0]
    return play.expected(naive), play.expected(term)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("beta", [-2.0, 5.0])
def test_a_first_step_has_no_past(name, beta):
    """Exactly, under any policies: one-shot games keep all of their equilibria, as the
    credit is the advantage itself."""
    logits = LOGITS[:, :1]
    play = short_games.play(GAMES[name], logits, 0.9)
    np.testing.assert_array_equal(alignment_term(play.advantage, 0.9, beta), 0)
    longer = short_games.play(GAMES[name], LOGITS, 0.9)
    term = alignment_term(longer.advantage, 0.9, beta)
    np.testing.assert_array_equal(term[:, 0], 0)
    assert np.abs(term[:, 1:]).max() > 0


@pytest.mark.parametrize(("name", "probs"), MIXED.items(), ids=MIXED)
def test_mixed_equilibria(name, probs):
    """Played forever, whatever happened: the gradient is zero exactly

    - for policies that cannot see the past (summed over states here), as
      E[A_i,k] = 0 and what follows is independent of it;
    - for any, if a past advantage is that of the agent's own action, the co-player's
      averaged out, since every action played is a best response.

    With joint advantages and policies that see the last outcome it is zero in
    zero-sum games, where E[A_j ∇ log π_i] = 0 as well, and not in general.
    """
    gamma, beta, payoff = 0.9, 2.0, GAMES[name]
    play = short_games.play(payoff, forever(probs, NUM_STEPS), gamma)
    naive, term = gradients(play, gamma, beta)
    np.testing.assert_allclose(naive, np.zeros_like(naive), atol=1e-12)
    np.testing.assert_allclose(term.sum(axis=1), np.zeros((NUM_STEPS, 2)), atol=1e-12)
    np.testing.assert_allclose(play.of_own_action, 0, atol=1e-12)
    _, averaged = gradients(play, gamma, beta, play.of_own_action)
    np.testing.assert_allclose(averaged, np.zeros_like(term), atol=1e-12)
    if name == "matching_pennies":
        np.testing.assert_allclose(term, np.zeros_like(term), atol=1e-12)
    else:
        assert np.abs(term).max() > 0.01


def test_a_mixed_equilibrium_that_moves_by_hand():
    """Chicken, swerving with chance 0.9, over two steps. After an outcome better than
    the value −0.1 an agent that sees it serves its co-player by swerving."""
    gamma, beta, p = 0.9, 2.0, 0.9
    play = short_games.play(GAMES["chicken"], forever((p, p), 2), gamma)
    _, term = gradients(play, gamma, beta)
    own = np.array([0.0, -1.0, 1.0, -10.0]) + 0.1
    chance = np.array([p * p, p * (1 - p), (1 - p) * p, (1 - p) ** 2])
    # The co-player expects 0.1 · 1 if one swerves, and −0.9 − 0.1 · 10 if not.
    pull = p * (1 - p) * (0.1 + 1.9)
    expected = beta * gamma**2 * chance * own * pull
    np.testing.assert_allclose(term[1, 1:, 0], expected, rtol=1e-10)
    np.testing.assert_allclose(term[0], 0, atol=1e-12)


def credit_of_actions(play, gamma, beta):
    """E[c_i,t | s_t, a_i,t] of agent 0 where states are reached, f[T, S, A]."""
    credit = play.advantage[..., 0] + np.asarray(
        alignment_term(play.advantage, gamma, beta)[..., 0]
    )
    total, chance = np.zeros((2, NUM_STEPS, 5, 2))
    for t in range(NUM_STEPS):
        place = t, play.games.state[:, t], play.games.action[:, t, 0]
        np.add.at(total, place, play.chance * credit[:, t])
        np.add.at(chance, place, play.chance)
    return np.where(chance > 1e-12, total / np.maximum(chance, 1e-300), np.nan)


@pytest.mark.parametrize(("name", "actions"), PURE)
@pytest.mark.parametrize("beta", [-2.0, 5.0])
def test_pure_equilibria(name, actions, beta):
    """In the limit of certainty. Nothing on the path is better or worse than expected,
    so that there is no past to align with: the gradient vanishes, and every deviation
    is credited with its own advantage, below zero, and nothing else."""
    gamma, payoff = 0.9, GAMES[name]
    path = 1 + 2 * actions[0] + actions[1]
    reward = payoff[0, :, actions[1]]
    own_advantage = np.broadcast_to(reward - reward[actions[0]], (NUM_STEPS, 2))
    sizes, errors = [], []
    for doubt in (1e-3, 1e-6):
        probs = [doubt if action else 1 - doubt for action in actions]
        play = short_games.play(payoff, forever(probs, NUM_STEPS), gamma)
        naive, term = gradients(play, gamma, beta)
        sizes.append(np.abs(naive + term).max())
        credit = credit_of_actions(play, gamma, beta)
        on_path = np.stack([credit[0, 0], credit[1, path], credit[2, path]])
        errors.append(np.abs(on_path - own_advantage).max())
    # Both are proportional to the doubt.
    assert 0 < sizes[1] < 2e-3 * sizes[0]
    assert 0 < errors[1] < 2e-3 * errors[0]
    np.testing.assert_allclose(on_path, own_advantage, atol=1e-2)
    assert (on_path[:, 1 - actions[0]] < -0.5).all()


def test_what_is_no_equilibrium_is_left():
    """Two that cooperate whatever happened: defecting is credited above zero."""
    payoff = GAMES["prisoners_dilemma"]
    play = short_games.play(payoff, forever((1 - 1e-6, 1 - 1e-6), NUM_STEPS), 0.9)
    credit = credit_of_actions(play, 0.9, 5.0)
    np.testing.assert_allclose(credit[[0, 1, 2], [0, 1, 1], 1], 1, atol=1e-3)
