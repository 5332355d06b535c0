"""What is added to the updates of self-play is a chain: in order, each with its key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.learners import Learner, LearnerState
from aajax.policies import Policy, PolicyOutput
from aajax.training import (
    Replay,
    Transform,
    measured,
    memory_reset,
    replayed,
    self_play,
)

NUM_GAMES, NUM_STEPS = 4, 2


def shown():
    """A policy that cooperates, and a learner that shows what it learns from."""

    def act(params, key, observation, memory):
        shape = observation.shape[:-1]
        zeros = jnp.zeros(shape)
        return PolicyOutput(jnp.zeros(shape, jnp.int32), zeros, zeros, memory)

    def value(params, observation, memory):
        return jnp.zeros(observation.shape[:-1])

    def update(key, state, trajectory):
        names = "log_prob", "value", "next_value"
        return state, {name: getattr(trajectory, name) for name in names}

    policy = Policy(lambda key: jnp.zeros(()), lambda shape: (), act, value)
    return policy, Learner(lambda key: LearnerState(jnp.zeros(()), ()), update)


def updated(*transforms):
    policy, learner = shown()
    env = envs.make("ipd", num_steps=NUM_STEPS)
    trainer = self_play(
        env, [policy], [learner], [[0, 1]], num_games=NUM_GAMES, transforms=transforms
    )
    return jax.jit(trainer.update)(trainer.init(jax.random.key(0)))


def changing(change):
    def apply(key, setting, state, trajectory):
        return state, change(key, trajectory)

    return Transform(change=apply)


def test_trajectories_are_changed_in_the_order_of_the_chain():
    add = changing(lambda key, x: x._replace(log_prob=x.log_prob + 1))
    double = changing(lambda key, x: x._replace(log_prob=2 * x.log_prob))
    for chain, expected in [((add, double), 2), ((double, add), 1), ((), 0)]:
        np.testing.assert_array_equal(updated(*chain)[1]["log_prob"], expected)


def test_every_change_has_a_key_of_its_own():
    def drawing(field):
        def draw(key, x):
            return x._replace(**{field: x.value * 0 + jax.random.uniform(key)})

        return changing(draw)

    _, metrics = updated(drawing("log_prob"), drawing("next_value"))
    first, second = metrics["log_prob"], metrics["next_value"]
    assert np.ptp(first) == np.ptp(second) == 0
    assert first[0, 0, 0] != second[0, 0, 0]


def test_play_is_measured_as_it_was_before_it_was_changed():
    def measure(before, trajectory):
        return {
            "most": trajectory.log_prob.max(),
            "began": before.timestep.reward.sum(),
        }

    add = changing(lambda key, x: x._replace(log_prob=x.log_prob + 1))
    for chain in [(add, measured(measure)), (measured(measure), add)]:
        _, metrics = updated(*chain)
        assert metrics["most"] == metrics["began"] == 0
        np.testing.assert_array_equal(metrics["reward"], -1)


def test_a_transform_keeps_what_it_needs_in_the_state():
    """Here, how often it saw an update, in place of past selves."""

    def init(setting, state, shapes):
        assert shapes(state).reward.shape == (NUM_STEPS, NUM_GAMES, 2)
        return state._replace(pool=jnp.zeros((), jnp.int32))

    def end(before, after):
        assert before.learners == after.learners
        return after._replace(pool=before.pool + after.num_updates)

    state, _ = updated(Transform(init=init, end=end), memory_reset())
    assert state.pool == state.num_updates == 1
    assert state.store is None


@pytest.mark.parametrize("size", [0, 3])
def test_what_is_not_asked_for_is_not_kept(size):
    policy, learner = shown()
    trainer = self_play(
        envs.make("ipd", num_steps=NUM_STEPS), [policy], [learner], [[0, 1]],
        num_games=NUM_GAMES, transforms=[replayed(Replay(games=size))] if size else (),
    )  # fmt: skip
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    assert state.pool is None
    assert (state.store is None) == (size == 0)
