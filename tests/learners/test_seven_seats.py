"""Credit among seven: co-players' advantages add up, whoever learns."""

import jax
import jax.numpy as jnp
import numpy as np

from aajax.learners.objective import prepare
from aajax.learners.presets import advantage_alignment, naive, sum_of_rewards
from aajax.ops import alignment
from aajax.types import Trajectory

NUM_STEPS, NUM_GAMES, NUM_SEATS = 6, 3, 7
RNG = np.random.default_rng(0)
REWARD = RNG.normal(size=(NUM_STEPS, NUM_GAMES, NUM_SEATS)).astype(np.float32)
LAST = np.zeros((NUM_STEPS, NUM_GAMES), bool)
LAST[2, 1] = True


def trajectory():
    """One in which the advantage is taken to be the reward."""
    x = jnp.asarray(REWARD)
    return Trajectory(
        observation=x[..., None],
        action=jnp.zeros(x.shape, jnp.int32),
        reward=x,
        discount=jnp.ones(LAST.shape),
        last=jnp.asarray(LAST),
        log_prob=x,
        value=x,
        next_value=x,
        memory=(),
    )


def credit(objective, seats):
    batch = jax.jit(lambda x: prepare(objective, x, seats))(trajectory())
    return np.asarray(batch.credit)


def estimate(trajectory):
    return trajectory.reward, None


def aligned(t, game, seat, beta):
    """One entry of the credit, step by step and co-player by co-player."""
    begin = 3 if game == 1 and t > 2 else 0
    past = [REWARD[k, game, seat] for k in range(begin, t)]
    others = sum(REWARD[t, game, j] for j in range(NUM_SEATS) if j != seat)
    return REWARD[t, game, seat] + beta * np.mean(past or [0]) * others


def test_alignment_sums_over_all_co_players():
    """Also over those in the last two seats, who do not learn."""
    objective = advantage_alignment(
        estimate, gamma=0.9, beta=1.5, past=alignment.mean_past
    )
    actual = credit(objective, [0, 1, 2, 3, 4])
    assert actual.shape == (NUM_STEPS, NUM_GAMES, 5)
    for t, game, seat in np.ndindex(actual.shape):
        expected = aligned(t, game, seat, 1.5)
        np.testing.assert_allclose(
            actual[t, game, seat], expected, rtol=1e-4, atol=1e-5
        )


def test_baselines_among_seven():
    np.testing.assert_array_equal(credit(naive(estimate), [0, 6]), REWARD[..., [0, 6]])
    total = credit(sum_of_rewards(estimate), None)
    expected = np.broadcast_to(REWARD.sum(-1, keepdims=True), REWARD.shape)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)
