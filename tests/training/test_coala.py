"""Training against naive learners over meta-games."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import envs, nets
from aajax.learners import across_episodes, group_relative, policy_gradient, presets
from aajax.ops import shaping as rules
from aajax.policies import categorical_policy
from aajax.training import PRESETS, RunConfig
from aajax.training.assemble import make_trainer
from aajax.training.shaping import MetaGames, meta_game, whole_meta_games
from aajax.types import Trajectory

NUM_META, NUM_EPISODES, NUM_STEPS, NUM_GAMES = 2, 3, 4, 8
NAIVE = categorical_policy(nets.tabular(5, 2))
RECURRENT = categorical_policy(nets.actor_critic(nets.gru(4), 5, 2))


@pytest.fixture(scope="module")
def played():
    """Meta-games of a recurrent shaper, [K, M, ...]."""
    learner = policy_gradient(
        NAIVE,
        presets.naive(group_relative(0.99), whiten=True),
        optax.sgd(5.0),
        [1],
    )
    play = meta_game(
        envs.make("ipd", num_steps=NUM_STEPS),
        RECURRENT,
        NAIVE,
        learner,
        num_games=NUM_GAMES,
        num_episodes=NUM_EPISODES,
    )
    params = RECURRENT.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), NUM_META)
    return params, jax.jit(jax.vmap(play, (0, None)))(keys, params)


def test_the_shapers_memory_goes_on_over_episodes(played):
    """What it recorded in play is what its network says of all episodes in a row."""
    params, games = played
    steps = whole_meta_games(games.trajectory)
    shape = (NUM_EPISODES * NUM_STEPS, NUM_META * NUM_GAMES, 1)
    assert steps.reward.shape == shape
    memory = RECURRENT.initial_memory(shape[1:])
    seen = RECURRENT.read_again(
        params, steps.observation, steps.action, steps.last, memory
    )
    np.testing.assert_allclose(seen.log_prob, steps.log_prob, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.value, steps.value, rtol=1e-3, atol=1e-4)
    # Each episode begins at the start.
    begins = np.asarray(steps.observation)[..., 0, 0].reshape(NUM_EPISODES, -1, 16)
    np.testing.assert_array_equal(begins.sum(1), np.ones((NUM_EPISODES, 16)))
    assert begins[:, 0].all()


def test_meta_games_end_after_their_last_episode(played):
    steps = whole_meta_games(played[1].trajectory)
    assert steps.last[-1].all() and not steps.last[:-1].any()
    np.testing.assert_array_equal(steps.discount, 1.0 - steps.last)
    np.testing.assert_array_equal(steps.next_value[:-1], steps.value[1:])
    assert not steps.next_value[-1].any()
    rewards = np.asarray(played[1].trajectory.reward)
    np.testing.assert_allclose(
        rewards.mean((2, 3, 4)), played[1].reward[..., 0], rtol=1e-5
    )


def test_advantages_are_of_each_meta_game_by_itself():
    rng = np.random.default_rng(0)
    num_steps, num_games = NUM_EPISODES * NUM_STEPS, NUM_META * NUM_GAMES
    reward, value = rng.normal(size=(2, num_steps, num_games, 1)).astype(np.float32)
    following = np.concatenate([value[1:], np.zeros_like(value[:1])])
    last = np.arange(num_steps) == num_steps - 1
    trajectory = Trajectory(
        *[jnp.zeros((num_steps, num_games, 1))] * 2,
        jnp.asarray(reward),
        jnp.broadcast_to(
            jnp.asarray(1.0 - last, jnp.float32)[:, None], reward.shape[:2]
        ),
        jnp.broadcast_to(jnp.asarray(last)[:, None], reward.shape[:2]),
        jnp.zeros(reward.shape),
        jnp.asarray(value),
        jnp.asarray(following),
        (),
    )
    estimate = across_episodes(
        rules.coala,
        num_meta_games=NUM_META,
        num_episodes=NUM_EPISODES,
        gamma=1.0,
        lambda_=1.0,
    )
    advantage, target = estimate(trajectory)
    delta = jnp.asarray(reward + following - value)[..., 0]
    for k in range(NUM_META):
        own = slice(k * NUM_GAMES, (k + 1) * NUM_GAMES)
        np.testing.assert_allclose(
            advantage[:, own, 0],
            rules.coala(delta[:, own], NUM_EPISODES),
            rtol=1e-4,
            atol=1e-5,
        )
    # With λ = 1 the target is a game's own return until the end.
    to_go = np.cumsum(reward[::-1], axis=0)[::-1]
    np.testing.assert_allclose(target, to_go, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "rule",
    [
        "coala",
        pytest.param("mfos", marks=pytest.mark.slow),
        pytest.param("batch_unaware", marks=pytest.mark.slow),
    ],
)
def test_an_update_of_the_preset(rule):
    config = dataclasses.replace(
        PRESETS["ipd-coala"][1],
        meta=MetaGames(2, 3, rule),
        num_games=4,
        num_steps=3,
        hidden_size=4,
        num_epochs=1,
    )
    trainer = make_trainer(config)({})
    with jax.numpy_dtype_promotion("standard"):
        state = jax.jit(trainer.init)(jax.random.key(0))
        after, metrics = jax.jit(trainer.update)(state)
    assert len(after.learners) == 1 and after.num_updates == 1
    moved = optax.tree.norm(
        jax.tree.map(
            lambda a, b: a - b, after.learners[0].params, state.learners[0].params
        )
    )
    assert 0 < moved < np.inf
    assert {"reward", "naive/reward", "reward_at_last", "naive/reward_at_last"} <= set(
        metrics
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "coin", "policy": "mlp"}, "a matrix game is needed, which coin is"),
        ({"options": ("continuation=0.9",)}, "episodes of num_steps = 10 steps are"),
        ({"game": "public_goods"}, "a game of two is needed"),
    ],
)
def test_games_that_it_cannot_learn_are_refused(changes, message):
    config = dataclasses.replace(PRESETS["ipd-coala"][1], **changes)
    with pytest.raises(ValueError, match=message):
        make_trainer(config)


def test_it_needs_a_critic_and_ppo():
    with pytest.raises(ValueError, match="learner is 'policy_gradient': 'ppo' is"):
        RunConfig(algorithm="coala", baseline="critic")
