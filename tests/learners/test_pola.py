"""POLA: what steps of the co-player do to one's own gradient, and where it ends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import short_games

from aajax import envs, nets
from aajax.learners import (
    LearnerState,
    Lookahead,
    Outer,
    joint_learner,
    lola_dice,
    lola_exact,
    pola_dice,
    pola_exact,
)
from aajax.learners.lola import start_values
from aajax.learners.lookahead import Outcome
from aajax.policies import categorical_policy
from aajax.training.joint_play import fresh_games

DILEMMA = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
VIEW = np.array([[0, 1, 2, 3, 4], [0, 1, 3, 2, 4]])
POLICY = categorical_policy(nets.tabular(5, 2))
# Logits of cooperation against defection, after START CC CD DC DD, own action first.
THETA = np.array([0.5, 0.2, -0.3, 0.1, -0.4])
PSI = np.array([0.1, -0.2, 0.3, -0.1, 0.2])
NO_KEY = jax.random.key(0)


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def two_logits(x):
    """f[S, 2] of the logits of cooperation, f[S]."""
    return jnp.stack([x, jnp.zeros_like(x)], axis=1)


def divergence(before, now):
    """KL(before ‖ now) in every state, f[S]."""
    log_p, log_q = (jax.nn.log_softmax(two_logits(x)) for x in (before, now))
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=1)


def states_of(optimizer, *params):
    return tuple(LearnerState(p, optimizer.init(p)) for p in params)


def two_steps(pair, reference):
    """The prisoner's dilemma of two steps, undiscounted; divergences are averaged over
    the states that are visited."""
    rows = jnp.stack([two_logits(pair[i])[VIEW[i]] for i in range(2)])
    steps = jnp.broadcast_to(rows[:, None], (2, 2, 5, 2))
    value = short_games.start_values(DILEMMA, steps, 1.0)
    policy = jax.nn.softmax(jax.lax.stop_gradient(rows[:, 0]))
    second = (policy[0][:, None] * policy[1][None]).reshape(4)
    visits = jnp.append(1.0, second) / 2
    apart = [visits @ divergence(reference[i], pair[i])[VIEW[i]] for i in range(2)]
    return Outcome(value, jnp.stack(apart), value / 2)


@pytest.mark.parametrize(
    ("rate", "penalty", "num_steps", "value", "slope"),
    [
        (0.0, 7.0, 1, -3.053984, [-0.28814, -0.08088, -0.07228, -0.04943, -0.04309]),
        (0.5, 7.0, 1, -3.113519, [-0.29054, -0.05942, -0.09348, -0.03631, -0.05573]),
        (0.5, 0.0, 2, -3.173056, [-0.29277, -0.03794, -0.11469, -0.02318, -0.06837]),
        (0.5, 2.0, 2, -3.167100, [-0.29271, -0.04060, -0.11206, -0.02481, -0.06680]),
    ],
)
def test_gradients_through_the_co_players_steps(
    double_precision, rate, penalty, num_steps, value, slope
):
    """In all 16 games of two steps: enumerated apart from this package. A single
    imagined step does not feel the penalty, which is flat where it begins."""
    found = []

    def outcomes(key, pair, reference):
        outcome = two_steps(pair, reference)
        jax.debug.callback(lambda x: found.append(float(x)), outcome.value[0])
        return outcome

    optimizer = optax.sgd(1.0)
    lookahead = Lookahead(rate, num_steps, penalty)
    learner = joint_learner([None, None], outcomes, lookahead, Outer(optimizer, 1, 3.0))
    states = states_of(optimizer, jnp.asarray(THETA), jnp.asarray(PSI))
    learned, _ = jax.jit(learner.update)(NO_KEY, states)
    jax.effects_barrier()
    np.testing.assert_allclose(learned[0].params - THETA, slope, atol=6e-6)
    assert np.min(np.abs(np.array(found) - value)) < 6e-7


OLD = np.array([0.3, -0.2, 0.1, 0.0, -0.1])
OTHER = np.array([-0.1, 0.2, 0.0, 0.3, -0.2])
FIXED_POINTS = {
    20.0: [0.5070, 0.8835, 0.2324, 0.5012, 0.0551],
    100.0: [0.5632, 0.6141, 0.3718, 0.5894, 0.2030],
}
MIX = np.random.default_rng(3).normal(size=(5, 5)) + 2 * np.eye(5)


def slower(count):
    """Learning rates of steps that are to come to an end."""
    return 0.05 * jnp.exp2(-count / 400)


@partial(jax.jit, static_argnums=0)
def fixed_point(of, pair, penalty):
    """P(C) of agent 0 after one update whose own steps go on until they end, with
    parameters x of logits `of(x)`; the co-player's step is in logits."""

    def outcomes(key, pair, reference):
        now, before = (jnp.stack([of(x[0]), x[1]]) for x in (pair, reference))
        value = start_values(
            jnp.asarray(DILEMMA), tuple(two_logits(x) for x in now), 0.96
        )
        apart = jnp.stack(
            [divergence(*x).mean() for x in zip(before, now, strict=True)]
        )
        return Outcome(value, apart, value)

    optimizer = optax.adam(slower)
    learner = joint_learner(
        [None, None], outcomes, Lookahead(1.0), Outer(optimizer, 4000, penalty)
    )
    states = states_of(optimizer, *pair)
    return jax.nn.sigmoid(of(learner.update(NO_KEY, states)[0][0].params))


def logits_of(x):
    return x


def logits_of_mixed(x):
    return jnp.asarray(MIX) @ x


@pytest.mark.parametrize("penalty", FIXED_POINTS)
def test_an_update_ends_at_the_same_policy_whatever_the_parameters(
    double_precision, penalty
):
    mixed = np.linalg.solve(MIX, OLD)
    for of, own in ((logits_of, OLD), (logits_of_mixed, mixed)):
        pair = jnp.asarray(own), jnp.asarray(OTHER)
        with jax.numpy_dtype_promotion("standard"):  # of Adam, which counts in integers
            found = fixed_point(of, pair, penalty)
        np.testing.assert_allclose(found, FIXED_POINTS[penalty], atol=1e-4)


def tabular(logits):
    return {"actor": two_logits(jnp.asarray(logits)), "critic": jnp.zeros(5)}


def test_the_exact_learner_comes_to_the_same_fixed_point():
    """Half the rate: its tables have two logits a state, whose difference moves twice
    as fast."""
    optimizer = optax.adam(slower)
    learner = pola_exact(
        jnp.asarray(DILEMMA, jnp.float32),
        0.96,
        Lookahead(0.5),
        Outer(optimizer, 3000, 20.0),
    )
    pair = tabular(OLD.astype(np.float32)), tabular(OTHER.astype(np.float32))
    states = states_of(optimizer, *pair)
    with jax.numpy_dtype_promotion("standard"):  # likewise
        learned, metrics = jax.jit(learner.update)(NO_KEY, states)
    cooperates = jax.nn.softmax(learned[0].params["actor"])[:, 0]
    np.testing.assert_allclose(cooperates, FIXED_POINTS[20.0], atol=2e-3)
    assert set(metrics) == {
        "reward",
        *(f"learner_{i}/{x}" for i in range(2) for x in ("reward", "gradient_norm")),
    }


def test_without_penalties_a_single_step_is_lola():
    optimizer = optax.sgd(1.0)
    payoff = jnp.asarray(DILEMMA, jnp.float32)
    pair = tabular(OLD.astype(np.float32)), tabular(OTHER.astype(np.float32))
    states = states_of(optimizer, *pair)
    any_games = fresh_games(envs.make("ipd", num_steps=3), [POLICY] * 2, num_games=8)

    def play(key, pair):
        return any_games(NO_KEY, pair)  # the same whatever keys are split into

    both, lookahead, outer = [POLICY] * 2, Lookahead(0.7), Outer(optimizer, 1)
    options = {"lookahead_rate": 0.7}
    for pola, lola in (
        (
            pola_exact(payoff, 0.9, lookahead, outer),
            lola_exact(payoff, 0.9, optimizer, **options),
        ),
        (
            pola_dice(both, play, lookahead, outer, gamma=0.9),
            lola_dice(both, play, optimizer, gamma=0.9, **options),
        ),
    ):
        found, expected = (
            jax.jit(learner.update)(NO_KEY, states) for learner in (pola, lola)
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            found[0][0].params,
            expected[0][0].params,
        )
