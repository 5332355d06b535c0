"""The meta-game against naive learners, by what fixed policies earn in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import find_spec
from aajax.envs.meta_matrix import LIMIT
from aajax.learners.lola import start_values
from aajax.rollout import play_episodes

NUM_GAMES = 1024
SPEC = find_spec("meta_ipd")


@pytest.fixture(scope="module")
def of_fixed_policies():
    """(reward, the learner's, reward in the last step) by name, against learners that
    begin at random and have not learned yet."""
    env = SPEC.build()

    def play(own, key):
        begin, _ = env.reset(key)
        begin = begin._replace(logits=jax.random.normal(key, (5,)))

        def body(state, _):
            state, timestep = env.step(key, state, own[None])
            return state, (timestep.reward[0], state.reward)

        return jax.lax.scan(body, begin, length=env.num_steps)[1]

    keys = jax.random.split(jax.random.key(0), NUM_GAMES)
    of_games = jax.jit(jax.vmap(play, (None, 0)))
    found = {}
    for name in SPEC.player_names(env):
        own, learner = of_games(SPEC.player(env, name)[1], keys)
        found[name] = own.mean(), learner.mean(), own[:, -1].mean()
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("always_cooperate", (-2.980, -0.010, -2.998)),
        ("always_defect", (-1.979, -2.010, -1.998)),
        ("tit_for_tat", (-1.014, -1.012, -1.001)),
        ("extortion", (-0.727, -1.640, -0.690)),
    ],
)
def test_what_fixed_policies_bring_a_naive_learner_to(
    of_fixed_policies, name, expected
):
    """Computed apart from this package, over 1024 other learners."""
    np.testing.assert_allclose(of_fixed_policies[name], expected, atol=0.01)


def test_measures_tell_both_sides():
    env = SPEC.build(num_steps=3)
    policy, params = SPEC.player(env, "always_defect")
    episodes = play_episodes(jax.random.key(0), env, policy, params, 4, 3)
    found = SPEC.measures(env, episodes)
    earned = np.asarray(episodes.state.reward)[1:]
    np.testing.assert_allclose(
        found["reward of the naive learner"], earned.mean(), rtol=1e-6
    )
    np.testing.assert_allclose(
        found["reward of the naive learner in the last step"],
        earned[-1].mean(),
        rtol=1e-6,
    )
    own = np.asarray(episodes.trajectory.reward)[-1, :, 0]
    np.testing.assert_allclose(found["reward in the last step"], own.mean(), rtol=1e-6)
    assert (own > earned[-1]).all()


def test_a_step_by_hand():
    """The learner climbs its own value, and is seen as it was before."""
    env = envs.make("meta_ipd", learning_rate=0.5, discount=0.9)
    state, first = env.reset(jax.random.key(3))
    np.testing.assert_array_equal(first.observation[0], state.chances)
    assert first.reward == 0 and not first.last
    own = jnp.array([0.3, -0.2, 0.1, 0.0, -0.1])

    def value(other):
        pair = tuple(jnp.stack([x, jnp.zeros(5)], axis=1) for x in (own, other))
        return start_values(env.payoff, pair, 0.9)

    after, timestep = env.step(jax.random.key(0), state, own[None])
    before = state.logits
    slope = jax.grad(lambda x: value(x)[1])(before)
    np.testing.assert_allclose(after.logits, before + 0.5 * slope, rtol=1e-4)
    np.testing.assert_allclose(
        timestep.observation[0],
        jax.nn.sigmoid(jnp.concatenate([own, before])),
        rtol=1e-5,
    )
    np.testing.assert_allclose(timestep.reward, 0.1 * value(before)[:1], rtol=1e-4)
    np.testing.assert_allclose(after.reward, 0.1 * value(before)[1], rtol=1e-4)


def test_an_episode_stops_in_time():
    env = envs.make("meta_ipd", num_steps=2)
    state, _ = env.reset(jax.random.key(0))
    lasts = []
    for _ in range(2):
        state, timestep = env.step(jax.random.key(0), state, jnp.full((1, 5), LIMIT))
        lasts.append(bool(timestep.last))
    assert lasts == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discount": 1.0}, r"discount is 1\.0: a number in \[0, 1\) is needed"),
        ({"num_steps": 0}, "num_steps is 0: at least 1 is needed"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0: "),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("meta_ipd", **options)
