"""JaxMARL's environments here, and ours there, against the real package."""

import functools

import jax
import jax.numpy as jnp
import jaxmarl as theirs
import numpy as np
import optax
import pytest
from jaxmarl.wrappers.baselines import LogWrapper

import aajax
from aajax import cli, envs
from aajax.envs.adapters import jaxmarl

# Options, and the step whose `done` is their time limit's.
LIMITED = {
    "coin_game": ({"num_inner_steps": 3, "num_outer_steps": 2}, 6),
    "storm_2p": ({"num_inner_steps": 5}, 5),
    "overcooked_v2": ({"max_steps": 4}, 4),
    "MPE_simple_spread_v3": ({"max_steps": 4}, 5),
    "MPE_simple_speaker_listener_v4": ({"max_steps": 4}, 5),
}
SLOW = "storm_2p", "MPE_simple_spread_v3"  # whose limits are told as others are
NUM_STEPS = 12
TELL = 2  # of the switch riddle, which ends it
NOTHING = 0


def joint_of(env, action):
    return dict(zip(env.agents, action, strict=True))


def actions_for(spaces, num_steps=NUM_STEPS):
    """Random joint actions, [T, N, ...]."""
    keys = jax.random.split(jax.random.key(7), len(spaces))
    sampled = [
        space.sample(key, (num_steps,)) for space, key in zip(spaces, keys, strict=True)
    ]
    return jnp.stack(sampled, axis=1)


@jax.jit
def play(env, action):
    """Our time steps: the first one, and [T, ...]."""
    keys = jax.random.split(jax.random.key(1), len(action))
    state, first = env.reset(jax.random.key(0))

    def body(state, x):
        state, timestep = env.step(x[0], state, x[1])
        return state, (state, timestep)

    return first, *jax.lax.scan(body, state, (keys, action))[1]


@functools.partial(jax.jit, static_argnums=0)
def play_theirs(env, action):
    """As `play`, by their own `step`, which resets."""
    keys = jax.random.split(jax.random.key(1), len(action))
    first, state = env.reset(jax.random.key(0))

    def body(state, x):
        key, action = x
        step_key, _ = jax.random.split(key)
        numbered = isinstance(env.agents[0], int)
        joint = (
            tuple(action) if numbered else dict(zip(env.agents, action, strict=True))
        )
        final = env.step_env(step_key, state, joint)[0]
        observation, state, rewards, dones, _ = env.step(key, state, joint)
        state = jax.tree.map(jnp.asarray, state)
        reward = jnp.stack([jnp.float32(rewards[a]) for a in env.agents])
        return state, (observation, final, reward, dones["__all__"])

    state = jax.tree.map(lambda x: jnp.asarray(x) + jnp.zeros_like(x), state)
    return first, *jax.lax.scan(body, state, (keys, action))[1]


def rows(env, observation):
    """Of their observations [..., T, ...], ours: f32[T, N, O]."""
    size = env.observation_shape[0]
    leaves = [jax.tree.leaves(observation[name]) for name in env.env.agents]
    axes = 1 if jax.tree.leaves(leaves)[0].shape[0] == NUM_STEPS else 0
    flat = [
        np.concatenate([x.reshape(*x.shape[:axes], -1) for x in own], axis=-1)
        for own in leaves
    ]
    return np.stack(
        [
            np.pad(x, [(0, 0)] * axes + [(0, size - x.shape[-1])]).astype(np.float32)
            for x in flat
        ],
        axis=-2,
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in LIMITED
    ],
)
def test_play_is_theirs_and_their_limit_is_a_cut(name):
    options, limit = LIMITED[name]
    env = envs.make(f"jaxmarl:{name}", **options)
    assert env.num_steps == env.episode_length == limit
    action = actions_for(env.action_spaces)
    first, _, played = play(envs.AutoReset(env), action)
    first_seen, seen, final, reward, done = play_theirs(env.env, action)
    np.testing.assert_allclose(first.observation, rows(env, first_seen), rtol=1e-6)
    np.testing.assert_allclose(played.observation, rows(env, seen), rtol=1e-5)
    np.testing.assert_allclose(played.final_observation, rows(env, final), rtol=1e-5)
    np.testing.assert_allclose(played.reward, reward, rtol=1e-5)
    np.testing.assert_array_equal(played.last, done)
    np.testing.assert_array_equal(
        np.flatnonzero(played.last), np.arange(limit - 1, NUM_STEPS, limit)
    )
    assert (played.discount == 1).all()


def test_contract_of_types():
    env = envs.AutoReset(envs.make("jaxmarl:storm_2p", num_steps=4))
    key, action = jax.random.key(0), actions_for(env.action_spaces, 1)[0]
    before = jax.eval_shape(env.reset, key)
    assert jax.eval_shape(env.step, key, before[0], action) == before
    assert env.is_symmetric and env.episode_length == 4


def riddle(**options):
    """Steps of a riddle and its last discount, if nobody tells, and if one does."""
    env = envs.make("jaxmarl:switch_riddle", **options)
    assert env.episode_length is None
    found = {}
    for told, at in (("nothing", None), ("tell", 1)):
        action = np.full((8, 3), NOTHING, np.int32)
        if at is not None:
            action[at] = TELL
        _, _, played = play(env, jnp.asarray(action))
        stop = int(np.flatnonzero(played.last)[0])
        found[told] = stop + 1, float(played.discount[stop])
    return found


def test_ends_and_cuts_are_told_apart():
    assert riddle() == {"nothing": (6, 1.0), "tell": (2, 0.0)}
    assert riddle(num_steps=4) == {"nothing": (4, 1.0), "tell": (2, 0.0)}
    raw = theirs.make("switch_riddle")
    env = jaxmarl.from_jaxmarl(raw, 20)  # which says nothing of a limit
    _, _, played = play(env, jnp.zeros((8, 3), jnp.int32))
    stop = int(np.flatnonzero(played.last)[0])
    assert (stop, played.discount[stop]) == (5, 0)


def test_final_observation_is_kept():
    env = envs.make("jaxmarl:coin_game", num_steps=4, num_inner_steps=50)
    action = actions_for(env.action_spaces)
    _, _, through = play(envs.make("jaxmarl:coin_game", num_inner_steps=50), action)
    _, _, played = play(envs.AutoReset(env), action)
    assert played.last[3] and played.discount[3] == 1
    assert (played.observation[3] != played.final_observation[3]).any()
    # Keys of steps differ under auto-reset, and in this game they place coins alone.
    agents = np.s_[:, np.arange(36) % 4 < 2]
    np.testing.assert_array_equal(
        played.final_observation[3][agents], through.observation[3][agents]
    )


def test_agents_of_storm_get_their_own_inventories():
    raw = theirs.make("storm", num_agents=3)
    observation, state = raw.reset(jax.random.key(0))
    state = state.replace(agent_inventories=jnp.arange(6.0).reshape(3, 2))
    observation = raw.get_obs(state)
    assert observation["inventory"].shape == (5, 3)
    each = jaxmarl._split(raw, observation)
    for i, own in enumerate(each):
        assert own["inventory"][:2].tolist() == [2 * i, 2 * i + 1]
        np.testing.assert_array_equal(
            own["observations"], observation["observations"][i]
        )


def test_unequal_seats():
    env = envs.make("jaxmarl:MPE_simple_speaker_listener_v4")
    assert [space.num_actions for space in env.action_spaces] == [3, 5]
    assert env.observation_sizes == (3, 11) and not env.is_symmetric
    _, first = env.reset(jax.random.key(0))
    assert not first.observation[0, 3:].any() and first.observation[1, 3:].any()
    assert not envs.make("jaxmarl:MPE_simple_facmac_v1").is_symmetric
    assert envs.make("jaxmarl:MPE_simple_facmac_v1", is_symmetric=True).is_symmetric


def test_options():
    spec = envs.find_spec("jaxmarl:coin_game")
    assert spec is envs.find_spec("jaxmarl:coin_game")
    assert spec.options["num_inner_steps"] is int and "max_steps" not in spec.options
    assert envs.find_spec("jaxmarl:MPE_simple_push_v3").options["max_steps"] is int
    payoff = np.float32([[1, 1, -3], [1, 1, -3]])
    env = spec.build(num_inner_steps=7, payoff_matrix=payoff)
    assert env == spec.build(num_inner_steps=7, payoff_matrix=payoff) != spec.build()
    assert env.env.payoff_matrix == payoff.tolist() and env.episode_length == 70


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: aajax.make("jaxmarl:coin"),
            "game is 'jaxmarl:coin': one of MPE_simple_v3, ",
        ),
        (
            lambda: aajax.make("jaxmarl:coin_game", speed=2),
            "speed is 2: game 'coin_game' has no such option, only num_st",
        ),
        (
            lambda: aajax.make("jaxmarl:coin_game", num_steps=0),
            "num_steps is 0: at least 1 is needed",
        ),
        (
            lambda: aajax.make("jaxmarl:overcooked_v2", layout="nowhere"),
            "game is 'jaxmarl:overcooked_v2' with layout=nowhere: it cannot be made (",
        ),
        (
            lambda: aajax.make("jaxmarl:jaxnav"),
            "action space of 'agent_0' is Box(low=[ 0.        -0.5235988], high=",
        ),
        (
            lambda: aajax.make("jaxmarl:MPE_simple_world_comm_v3"),
            "action spaces are Box(size=9, low=0.0, high=1.0), Box(size=5,",
        ),
        (
            lambda: jaxmarl.to_jaxmarl(envs.AutoReset(aajax.make("ipd"))),
            "env is AutoReset: an environment without auto-reset is needed",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:max_dist_to_goal")
def test_bad_input_is_one_line(make, line):
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value).startswith(line)
    assert len(str(raised.value).splitlines()) == 1


def test_trains_plays_and_resumes(tmp_path, capsys):
    out, file = tmp_path / "run", tmp_path / "mine.py"
    file.write_text(
        'from aajax.envs.adapters import jaxmarl\nSPEC = jaxmarl.spec("coin_game")\n'
    )
    words = f"train ipd --policy mlp --hidden-size 8 --game {file}:SPEC --seeds 1 "
    words += f"--num-games 4 --num-steps 4 --num-updates 2 --out {out}"
    assert cli.main(words.split()) == 0
    assert cli.main([*words.split(), "--resume"]) == 0
    assert cli.main(f"play {file}:SPEC --seat {out} {out} --pause 0".split()) == 0
    assert "after 4 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options"),
    [("ipd", {}), ("ipd", {"ends": True}), ("split", {}), ("negotiation", {})],
)
def test_ours_as_theirs_keeps_what_they_lose(name, options):
    env = envs.make(name, num_steps=3, **options)
    exported = jaxmarl.to_jaxmarl(env)
    action = actions_for(env.action_spaces, 7)
    first, inner, played = play(envs.AutoReset(env), action)
    observation, state = exported.reset(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(action))
    for t, (key, joint) in enumerate(zip(keys, action, strict=True)):
        if t == 0:
            seen = np.stack([observation[a] for a in exported.agents])
            np.testing.assert_array_equal(seen, first.observation)
        observation, state, rewards, dones, infos = exported.step(
            key, state, joint_of(exported, joint)
        )
        now = jax.tree.map(lambda x, t=t: x[t], played)
        for i, agent in enumerate(exported.agents):
            np.testing.assert_array_equal(observation[agent], now.observation[i])
            np.testing.assert_array_equal(rewards[agent], now.reward[i])
            assert dones[agent] == dones["__all__"] == now.last
            space = exported.action_space(agent)
            assert space.contains(joint[i]) and space.shape == joint[i].shape
            assert exported.observation_space(agent).shape == observation[agent].shape
        np.testing.assert_array_equal(state.final_observation, now.final_observation)
        ended = bool(now.last and now.discount == 0)
        assert infos["terminated"].tolist() == [ended] * env.num_agents
        assert infos["truncated"].tolist() == [bool(now.last) and not ended] * 2
        assert (state.terminated, state.truncated) == (ended, now.last and not ended)
        assert state.step == (t + 1) % 3 and not state.done
        jax.tree.map(
            lambda x, y, t=t: np.testing.assert_array_equal(x, y[t]), state.state, inner
        )
    assert played.last.sum() == 2
    assert (played.discount[played.last] == (0 if options else 1)).all()


def test_exported_from_a_given_state():
    exported = jaxmarl.to_jaxmarl(envs.make("coin", num_steps=1))
    _, start = exported.reset(jax.random.key(3))
    _, state = exported.reset(jax.random.key(0))
    action = dict.fromkeys(exported.agents, jnp.int32(0))
    seen, state, _, dones, _ = exported.step(jax.random.key(1), state, action, start)
    assert dones["__all__"] and state.truncated
    np.testing.assert_array_equal(seen["agent_1"], start.observation[1])
    assert (state.final_observation != start.observation).any()
    masks = exported.get_avail_actions(state)
    assert masks["agent_0"].shape == (4,) and masks["agent_0"].all()
    assert exported.agent_classes == {"agents": ["agent_0", "agent_1"]}
    assert exported.name == "CoinGame"
    other = jaxmarl.to_jaxmarl(envs.make("battle_of_the_sexes"))
    assert list(other.agent_classes) == ["agent_0", "agent_1"]
    boxes = jaxmarl.to_jaxmarl(envs.make("negotiation"))
    with pytest.raises(ValueError, match=r"^action space is Box\(size=3"):
        boxes.get_avail_actions(None)


def test_there_and_back():
    env = envs.make("coin", num_steps=5)
    back = jaxmarl.from_jaxmarl(
        jaxmarl.to_jaxmarl(env), 9, time_limit=5, ends=False, is_symmetric=True
    )
    assert (back.action_spaces, back.episode_length) == (env.action_spaces, 5)
    action = actions_for(env.action_spaces, 5)
    jax.tree.map(
        np.testing.assert_array_equal, play(env, action)[2], play(back, action)[2]
    )


def test_independent_learners_of_their_scripts_train_ours():
    """All that baselines/IPPO asks of an environment, on the way to defection."""
    env = LogWrapper(jaxmarl.to_jaxmarl(envs.make("ipd", num_steps=8)))
    num_envs, num_steps, num_updates = 32, 16, 60
    num_actors = env.num_agents * num_envs
    size = env.observation_space(env.agents[0]).shape[0]
    params = {
        "actor": jnp.zeros((size, env.action_space(env.agents[0]).n)),
        "critic": jnp.zeros(size),
    }
    optimizer = optax.adam(0.1)

    def batchify(x):
        return jnp.stack([x[a] for a in env.agents]).reshape(num_actors, -1)

    def unbatchify(x):
        x = x.reshape(env.num_agents, num_envs, -1)
        return {a: x[i] for i, a in enumerate(env.agents)}

    def act(params, carry, key):
        state, seen = carry
        logits = seen @ params["actor"]
        action = jax.random.categorical(key, logits)
        seen_next, state, reward, done, info = jax.vmap(env.step)(
            jax.random.split(key, num_envs), state, unbatchify(action)
        )
        info = jax.tree.map(lambda x: x.reshape(num_actors), info)
        step = seen, action, batchify(reward)[:, 0], batchify(done)[:, 0], info
        return (state, batchify(seen_next)), step

    def loss(params, steps, last_seen):
        seen, action, reward, done, _ = steps
        value = jnp.concatenate([seen, last_seen[None]]) @ params["critic"]
        target = reward + 0.9 * jax.lax.stop_gradient(value[1:]) * (1 - done)
        log_prob = jax.nn.log_softmax(seen @ params["actor"])
        log_prob = jnp.take_along_axis(log_prob, action[..., None], -1)[..., 0]
        advantage = jax.lax.stop_gradient(target - value[:-1])
        return jnp.mean((target - value[:-1]) ** 2 - advantage * log_prob)

    def update(carry, key):
        params, optimizer_state, running = carry
        running, steps = jax.lax.scan(
            functools.partial(act, params), running, jax.random.split(key, num_steps)
        )
        gradient = jax.grad(loss)(params, steps, running[1])
        change, optimizer_state = optimizer.update(gradient, optimizer_state)
        params = optax.apply_updates(params, change)
        info = jax.tree.map(jnp.mean, steps[-1])
        return (params, optimizer_state, running), info

    @jax.jit
    def train(key):
        seen, state = jax.vmap(env.reset)(jax.random.split(key, num_envs))
        carry = params, optimizer.init(params), (state, batchify(seen))
        return jax.lax.scan(update, carry, jax.random.split(key, num_updates))[1]

    info = train(jax.random.key(0))
    returns = info["returned_episode_returns"] / 8
    assert set(info) >= {"truncated", "terminated", "returned_episode_lengths"}
    assert info["truncated"][-1] == 2 / num_steps and not info["terminated"].any()
    assert info["returned_episode_lengths"][-1] == 8
    assert returns[1] > -1.7 and returns[-1] < -1.95  # from chance to mutual defection
