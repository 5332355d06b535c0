"""gymnax's environments here, and ours there, against the real package."""

import functools

import gymnax as theirs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.wrappers.purerl import LogWrapper

import aajax
from aajax import cli, envs, records
from aajax.envs.adapters import gymnax

NUM_STEPS = 40
CASES = {
    "CartPole-v1": (12, {}),  # ends when the pole falls, or is cut off
    "Pendulum-v1": (9, {}),  # is only cut off; one real number
    "FrozenLake-misc": (30, {}),  # is seen as a number
    "Catch-bsuite": (50, {"rows": 4, "columns": 3}),  # ends in the bottom row
}


# Programs that are compiled apart round differently.
assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def actions_for(env):
    (space,) = env.action_spaces
    return space.sample(jax.random.key(7), (NUM_STEPS, 1))


@jax.jit
def play(env, action):
    """Our time steps: the first one, and [T, ...]."""
    keys = jax.random.split(jax.random.key(1), len(action))
    state, first = env.reset(jax.random.key(0))

    def body(state, x):
        state, timestep = env.step(x[0], state, x[1])
        return state, timestep

    return first, jax.lax.scan(body, state, (keys, action))[1]


@functools.partial(jax.jit, static_argnums=0)
def play_theirs(env, params, action):
    """The six values of their `step`, [T, ...]."""
    keys = jax.random.split(jax.random.key(1), len(action))
    first, state = env.reset(jax.random.key(0), params)
    shape = env.action_space(params).shape

    def body(state, x):
        seen, state, *others = env.step(x[0], state, x[1].reshape(shape), params)
        state = jax.tree.map(jnp.asarray, state)
        return state, (seen, state, *others)

    state = jax.tree.map(lambda x: jnp.asarray(x) + jnp.zeros_like(x), state)
    return first, jax.lax.scan(body, state, (keys, action))[1]


@pytest.mark.parametrize("name", CASES)
def test_play_is_theirs(name):
    num_steps, options = CASES[name]
    env = envs.make(f"gymnax:{name}", num_steps=num_steps, **options)
    raw, params = theirs.make(name, **options)
    params = params.replace(max_steps_in_episode=num_steps)
    action = actions_for(env)
    if name == "CartPole-v1":  # to one side until it falls, then to and fro
        time = jnp.arange(NUM_STEPS)[:, None]
        action = jnp.where(time < 10, 1, time % 2)
    first, played = play(envs.AutoReset(env), action)
    first_seen, (seen, _, reward, terminated, truncated, info) = play_theirs(
        raw, params, action
    )
    final = info["final_observation"]
    if name == "FrozenLake-misc":
        first_seen, seen, final = (np.eye(16)[x] for x in (first_seen, seen, final))
    np.testing.assert_array_equal(first.observation.ravel(), first_seen.ravel())
    for ours, other in (
        (played.observation, seen),
        (played.final_observation, final),
        (played.reward, reward),
    ):
        assert_close(ours.reshape(NUM_STEPS, -1), other.reshape(NUM_STEPS, -1))
    np.testing.assert_array_equal(played.discount == 0, terminated)
    np.testing.assert_array_equal(played.last, terminated | truncated)
    stops = {"ended": terminated.any(), "cut off": (truncated & ~terminated).any()}
    assert stops == {
        "ended": name != "Pendulum-v1",
        "cut off": name in ("CartPole-v1", "Pendulum-v1"),
    }


def test_contract_of_types():
    env = envs.AutoReset(envs.make("gymnax:CartPole-v1"))
    key, action = jax.random.key(0), jnp.zeros(1, jnp.int32)
    before = jax.eval_shape(env.reset, key)
    assert jax.eval_shape(env.step, key, before[0], action) == before
    assert before[1].observation.shape == (1, *env.observation_shape) == (1, 4)
    assert (env.num_agents, env.episode_length) == (1, None)


def test_options():
    spec = envs.find_spec("gymnax:Catch-bsuite")
    assert spec is envs.find_spec("gymnax:Catch-bsuite")
    assert list(spec.options) == ["num_steps", "rows", "columns"]
    assert spec.build(rows=4) == spec.build(rows=4) != spec.build()
    assert spec.build().num_steps == 1000  # as theirs says
    torque = np.float32([-2, 0, 2])
    params = aajax.make("gymnax:Acrobot-v1", available_torque=torque, dt=0.1).params
    assert (params.dt, params.available_torque.tolist()) == (0.1, [-2, 0, 2])
    assert (
        aajax.make("gymnax:CartPole-v1", num_steps=7).params.max_steps_in_episode == 7
    )


def test_params_are_leaves():
    def fall(gravity):
        env = aajax.make("gymnax:CartPole-v1", gravity=gravity)
        _, timestep = play(env, jnp.zeros((5, 1), jnp.int32))
        return timestep.observation[-1, 0, 3]  # the speed of the pole

    speeds = jax.vmap(fall)(jnp.array([1.0, 9.8, 90.0]))
    assert speeds[0] != speeds[1] != speeds[2] and speeds[1] == fall(9.8)


def test_there_and_back():
    raw, params = theirs.make("CartPole-v1")
    params = params.replace(max_steps_in_episode=15)
    back = gymnax.to_gymnax(gymnax.from_gymnax(raw, params))
    assert back.action_space().n == back.num_actions == 2
    assert back.observation_space().shape == (4,)
    action = actions_for(aajax.make("gymnax:CartPole-v1"))
    for wrap in (lambda env: env, LogWrapper):
        first, values = play_theirs(wrap(raw), params, action)
        first_back, back_values = play_theirs(wrap(back), back.default_params, action)
        assert len(values) == len(back_values) == 6
        np.testing.assert_array_equal(first, first_back)
        for i in (0, 2, 3, 4, 5):  # all but the state
            jax.tree.map(assert_close, values[i], back_values[i])


@pytest.mark.parametrize("ends", [False, True])
def test_ours_as_theirs_tells_ends_from_cuts(ends):
    env = aajax.make("stag_hunt", num_steps=3, ends=ends)
    exported = gymnax.to_gymnax(env)
    action = jnp.stack(
        [space.sample(jax.random.key(3), (7,)) for space in env.action_spaces], axis=1
    )
    first, played = play(envs.AutoReset(env), action)
    first_seen, values = play_theirs(exported, exported.default_params, action)
    seen, _, reward, terminated, truncated, info = values
    np.testing.assert_array_equal(first_seen, first.observation)
    np.testing.assert_array_equal(seen, played.observation)
    np.testing.assert_array_equal(reward, played.reward)
    np.testing.assert_array_equal(info["final_observation"], played.final_observation)
    np.testing.assert_array_equal(info["discount"], played.discount)
    stops = [False, False, True] * 2 + [False]
    assert (terminated.tolist(), truncated.tolist()) == (
        (stops, [False] * 7) if ends else ([False] * 7, stops)
    )
    assert reward.shape == (7, 2) and seen.shape == (7, 2, 5)
    assert exported.action_space().shape == (2,)


def test_their_limit_cuts_ours_off():
    exported = gymnax.to_gymnax(aajax.make("ipd", num_steps=4, ends=True))
    params = exported.default_params
    action = jnp.zeros((8, 2), jnp.int32)
    _, values = play_theirs(exported, params.replace(max_steps_in_episode=2), action)
    assert values[4].tolist() == [False, True] * 4 and not values[3].any()
    _, values = play_theirs(exported, params.replace(max_steps_in_episode=4), action)
    assert values[3].tolist() == [False, False, False, True] * 2
    assert not values[4].any()  # it ended, in the very step of the limit


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: aajax.make("gymnax:Cart"),
            "game is 'gymnax:Cart': one of CartPole-v1, ",
        ),
        (
            lambda: aajax.make("gymnax:CartPole-v1", rows=2),
            "rows is 2: game 'CartPole-v1' has no such option, only num_s",
        ),
        (
            lambda: aajax.make("gymnax:CartPole-v1", num_steps=0),
            "num_steps is 0: at least 1 is needed",
        ),
        (
            lambda: aajax.make("gymnax:FrozenLake-misc", map_name="9x9"),
            "game is 'gymnax:FrozenLake-misc' with map_name=9x9: it cannot be made (",
        ),
        (
            lambda: gymnax.to_gymnax(envs.AutoReset(aajax.make("ipd"))),
            "env is AutoReset: an environment without auto-reset is needed",
        ),
        (
            lambda: gymnax.to_gymnax(aajax.make("negotiation")).num_actions,
            "action space is Box(size=3, low=0.0, high=5.0): a discrete one is needed",
        ),
    ],
)
def test_bad_input_is_one_line(make, line):
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value).startswith(line)
    assert len(str(raised.value).splitlines()) == 1


def test_trains_and_measures_returns(tmp_path, capsys):
    out = tmp_path / "run"
    words = (
        "train ipd --policy mlp --hidden-size 8 --game gymnax:Catch-bsuite --seeds 1"
    )
    words += " --num-games 4 --num-steps 6 --episode-steps 20 --num-updates 2"
    assert cli.main([*words.split(), "--out", str(out)]) == 0
    summary = records.read_json(out / "summary.json")
    assert summary["measures"]["episode length"] == [9]  # rows, but for the first
