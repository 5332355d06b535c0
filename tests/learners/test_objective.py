"""From trajectories to a loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import alignment, baselines

from aajax import nets
from aajax.learners import Objective, jointly_whitened, presets
from aajax.learners.objective import loss, prepare
from aajax.ops import values
from aajax.policies import categorical_policy
from aajax.types import Trajectory

T, B, N = 6, 4, 3
POLICY = categorical_policy(nets.tabular(5, 2))
RNG = np.random.default_rng(0)
ADVANTAGE = RNG.normal(size=(T, B, N))
TARGET = RNG.normal(size=(T, B, N))
LAST = np.isin(np.arange(T), (2,))[:, None] & (np.arange(B) < 2)
STATE = RNG.integers(0, 5, (T, B, N))
PARAMS = {
    "actor": jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32),
    "critic": jnp.asarray(RNG.normal(size=5), jnp.float32),
}
TRAJECTORY = Trajectory(
    observation=jnp.eye(5)[STATE],
    action=jnp.asarray(RNG.integers(0, 2, (T, B, N)), jnp.int32),
    reward=jnp.asarray(RNG.normal(size=(T, B, N)), jnp.float32),
    discount=jnp.ones((T, B)),
    last=jnp.asarray(LAST),
    log_prob=jnp.asarray(RNG.normal(size=(T, B, N)), jnp.float32),
    value=jnp.zeros((T, B, N)),
    next_value=jnp.zeros((T, B, N)),
    memory=(),
)


def given(games):
    return jnp.asarray(ADVANTAGE, jnp.float32), jnp.asarray(TARGET, jnp.float32)


def without_critic(games):
    return given(games)[0], None


@pytest.mark.parametrize("whiten", [False, True, jointly_whitened])
def test_credit_is_given_game_by_game_within_episodes(whiten):
    objective = presets.advantage_alignment(given, gamma=0.8, beta=1.5, whiten=whiten)
    batch = jax.jit(partial(prepare, objective, seats=None))(TRAJECTORY)
    advantage = baselines.whiten(ADVANTAGE) if whiten else ADVANTAGE
    for game in range(B):
        expected = alignment.alignment_credit(
            advantage[:, game], 0.8, 1.5, last=LAST[:, game]
        )
        np.testing.assert_allclose(
            batch.credit[:, game], expected, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(batch.target, TARGET, rtol=1e-6)


def test_only_the_learned_seats_are_kept():
    objective = presets.advantage_alignment(given, gamma=0.8, beta=1.5)
    whole = prepare(objective, TRAJECTORY, None)
    chosen = prepare(objective, TRAJECTORY, [2, 0])
    for name in ("observation", "action", "log_prob", "credit", "target"):
        np.testing.assert_array_equal(
            getattr(chosen, name), getattr(whole, name)[:, :, np.array([2, 0])]
        )
    np.testing.assert_array_equal(chosen.last, LAST)
    assert prepare(Objective(without_critic), TRAJECTORY, [1]).target is None


def test_rewards_are_transformed_before_they_are_judged():
    def by_reward(games):
        return games.reward, None

    total = prepare(presets.sum_of_rewards(by_reward), TRAJECTORY, None).credit
    own = prepare(presets.naive(by_reward), TRAJECTORY, None).credit
    np.testing.assert_array_equal(own, TRAJECTORY.reward)
    expected = np.asarray(TRAJECTORY.reward).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        total, np.broadcast_to(expected, (T, B, N)), rtol=1e-5, atol=1e-6
    )


def expected_parts():
    """Log-probabilities, entropies and values along the trajectory, in NumPy."""
    logits = np.asarray(PARAMS["actor"], float)
    log_pi = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    action = np.asarray(TRAJECTORY.action)
    entropy = -(np.exp(log_pi) * log_pi).sum(1)
    return log_pi[STATE, action], entropy[STATE], np.asarray(PARAMS["critic"])[STATE]


def test_the_loss_is_the_sum_of_its_parts():
    objective = Objective(given, value_loss=values.squared, entropy_bonus=0.25)
    batch = prepare(objective, TRAJECTORY, None)
    total, metrics = jax.jit(partial(loss, objective, POLICY))(PARAMS, batch)
    log_prob, entropy, value = expected_parts()
    parts = {
        "policy_loss": -np.mean(ADVANTAGE * log_prob),
        "entropy": np.mean(entropy),
        "value_loss": np.mean((value - TARGET) ** 2) / 2,
    }
    assert set(metrics) == set(parts)
    for name, expected in parts.items():
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-4)
    expected = parts["policy_loss"] - 0.25 * parts["entropy"] + parts["value_loss"]
    np.testing.assert_allclose(total, expected, rtol=1e-4)


def test_the_critic_descends_on_its_targets_and_the_actor_does_not_care():
    def gradient(estimator, **options):
        objective = Objective(estimator, value_loss=values.squared, **options)
        batch = prepare(objective, TRAJECTORY, None)
        of_loss = jax.grad(lambda params: loss(objective, POLICY, params, batch)[0])
        return jax.jit(of_loss)(PARAMS)

    with_critic, without = gradient(given), gradient(without_critic)
    np.testing.assert_array_equal(with_critic["actor"], without["actor"])
    np.testing.assert_array_equal(without["critic"], np.zeros(5))
    value = expected_parts()[2]
    expected = [
        np.sum((value - TARGET)[state == STATE]) / STATE.size for state in range(5)
    ]
    np.testing.assert_allclose(with_critic["critic"], expected, rtol=1e-4, atol=1e-6)


def test_an_entropy_bonus_pulls_towards_even_chances():
    def still(games):
        return jnp.zeros((T, B, N)), None

    objective = Objective(still, entropy_bonus=2.0)
    batch = prepare(objective, TRAJECTORY, None)
    of_loss = jax.grad(lambda params: loss(objective, POLICY, params, batch)[0])
    gradient = jax.jit(of_loss)(PARAMS)["actor"]
    logits = np.asarray(PARAMS["actor"])
    gap = logits[:, 0] - logits[:, 1]
    # Descent narrows the gap between the two logits of every state that was seen.
    assert set(np.unique(STATE)) == set(range(5))
    np.testing.assert_array_equal(np.sign(gradient[:, 0]), np.sign(gap))
    np.testing.assert_array_equal(np.sign(gradient[:, 1]), -np.sign(gap))


def reward_itself(games):
    return games.reward, None


def test_other_seats_do_not_change_what_a_learner_learns():
    """Not their number, nor what they earn, nor in what units."""
    reward = TRAJECTORY.reward
    scaled = TRAJECTORY._replace(reward=reward.at[:, :, 1].multiply(100.0))
    own = Objective(reward_itself, whiten=True)
    for seats in ([0], [0, 2]):
        before = prepare(own, TRAJECTORY, seats).credit
        np.testing.assert_allclose(before.std(), 1, rtol=1e-5)
        np.testing.assert_array_equal(prepare(own, scaled, seats).credit, before)
    # Nor does it change what is aligned with.
    aligned = presets.advantage_alignment(
        reward_itself, gamma=0.8, beta=1.5, whiten=True
    )
    before = prepare(aligned, TRAJECTORY, [0]).credit
    np.testing.assert_allclose(
        prepare(aligned, scaled, [0]).credit, before, rtol=1e-4, atol=1e-5
    )
    # In the published form it does.
    joint = own._replace(whiten=jointly_whitened)
    assert prepare(joint, scaled, [0]).credit.std() < 0.1


def test_a_value_loss_without_weight_moves_nothing():
    objective = presets.naive(given)
    batch = prepare(objective, TRAJECTORY, None)
    gradient = jax.grad(lambda p, o: loss(o, POLICY, p, batch)[0])
    moved = gradient(PARAMS, objective)
    held = gradient(PARAMS, objective._replace(value_weight=jnp.float32(0)))
    assert np.abs(moved["critic"]).max() > 0.01
    np.testing.assert_array_equal(held["critic"], np.zeros(5))
    np.testing.assert_array_equal(held["actor"], moved["actor"])
