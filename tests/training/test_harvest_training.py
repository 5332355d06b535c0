"""Training in Commons Harvest: memories, planes, past selves in some of the seats."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs import AutoReset, find_spec
from aajax.rollout import begin, rollout
from aajax.training import PRESETS, NetworkConfig, Opponents, RunConfig
from aajax.training.assemble import make_env, make_policy, make_trainer, seat_groups

TINY = RunConfig(
    game="harvest",
    options=("map=tiny", "view=(1,1,1,1)", "time_out=1"),
    hidden_size=4,
    network=NetworkConfig(encoder_layers=1, channels=(2,), blocks=1, heads=2),
    policy="mlp",
    baseline="critic",
    past="mean",
    learner="ppo",
    num_epochs=1,
    num_minibatches=1,
    num_games=4,
    num_steps=5,
)
every_kind = pytest.mark.parametrize("kind", ["mlp", "gru", "transformer"])


@every_kind
def test_what_was_recorded_in_play_is_what_is_read_again(kind):
    """With episodes that begin on the way, and a memory that goes on from before."""
    config = dataclasses.replace(TINY, policy=kind, episode_steps=7)
    env = make_env(config)
    policy, world = make_policy(config, env), AutoReset(env)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), "f"), shapes)
    tables = begin(jax.random.key(1), world, policy, config.num_games)
    play = jax.jit(lambda key, tables: rollout(key, world, policy, params, tables, 5))
    tables, _ = play(jax.random.key(2), tables)
    _, trajectory = play(jax.random.key(3), tables)
    assert np.flatnonzero(trajectory.last[:, 0]).tolist() == [1]
    again = jax.jit(policy.evaluate)(
        params,
        trajectory.observation,
        trajectory.action,
        trajectory.last,
        trajectory.memory,
    )
    for name in ("log_prob", "value"):
        np.testing.assert_allclose(
            getattr(again, name), getattr(trajectory, name), rtol=1e-3, atol=1e-3
        )
    assert np.std(trajectory.log_prob) > 0.1


def test_planes_are_the_environments():
    """Convolutions read C planes; without channels, dense layers read all of it."""
    env = make_env(TINY)
    assert np.prod(env.plane_shape) == env.observation_shape[0]
    for channels, first in [((2,), (9 * env.plane_shape[0], 2)), ((), (12 * 9, 4))]:
        network = dataclasses.replace(TINY.network, channels=channels)
        policy = make_policy(dataclasses.replace(TINY, network=network), env)
        params = jax.eval_shape(policy.init, jax.random.key(0))
        kernels = [x.shape for x in jax.tree.leaves(params["actor"]["encoder"])]
        assert first in kernels


@pytest.mark.slow
def test_a_run_with_past_selves_in_the_last_seat():
    config = dataclasses.replace(
        TINY,
        policy="transformer",
        opponents=Opponents(capacity=2, every=1, groups=1, seats=1),
        episode_steps=12,
        memory="update",
        hyperparameters=dataclasses.replace(TINY.hyperparameters, learning_rate=0.1),
    )
    assert seat_groups(config, make_env(config)) == [[0, 1]]
    trainer = make_trainer(config)({})
    state = jax.jit(trainer.init)(jax.random.key(0))
    update = jax.jit(trainer.update)
    first = jax.tree.map(jnp.copy, state.learners[0].params)
    for number in range(1, 4):
        state, metrics = update(state)
        assert all(np.isfinite(x).all() for x in metrics.values())
        # Episodes go on: in the third update the first of them come to their end.
        time = 5 * number if number < 3 else 3
        np.testing.assert_array_equal(state.tables.state.time, time)
    assert state.pool.filled == 3
    changes = jax.tree.map(
        lambda x, y: np.abs(x - y).max(), first, state.learners[0].params
    )
    assert max(jax.tree.leaves(changes)) > 0.01
    assert 0 <= metrics["apples"] <= 5
    assert 0 <= metrics["sustainability"] <= 12
    assert 0 <= metrics["zaps"] <= 5


def test_other_environments_have_no_more_to_measure():
    assert find_spec(RunConfig().game).training_measures is None


@pytest.mark.parametrize("preset", ["harvest-small", "harvest"])
def test_presets_differ_in_what_is_credited_alone(preset):
    config = PRESETS[preset][1]
    for suffix, algorithm in [("-ppo", "naive"), ("-sum", "sum_of_rewards")]:
        other = PRESETS[preset + suffix][1]
        assert other.algorithm == algorithm
        assert dataclasses.replace(other, algorithm=config.algorithm) == config
