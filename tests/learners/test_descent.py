"""One step down a loss: the same in chunks, and what a target critic follows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import envs, nets
from aajax.learners import (
    LoqaObjective,
    advantages,
    loqa,
    policy_gradient,
    ppo,
    presets,
)
from aajax.learners.descent import split_games
from aajax.ops import surrogate
from aajax.policies import action_value_policy, categorical_policy, distributions
from aajax.rollout import begin, rollout

NUM_GAMES, NUM_STEPS, GAMMA = 8, 7, 0.9
ENV = envs.AutoReset(envs.make("ipd", num_steps=4))
GRU = nets.gru(3)
POLICIES = {
    "gru": categorical_policy(nets.actor_critic(GRU, 5, 2)),
    "shared": categorical_policy(nets.actor_critic(nets.mlp(3), 5, 2, shared=True)),
    "table": categorical_policy(nets.tabular(5, 2)),
    "table of q": action_value_policy(
        nets.tabular(5, 2, num_values=2), distributions.categorical()
    ),
}
OBJECTIVE = presets.advantage_alignment(
    advantages.critic(GAMMA, 0.8), gamma=GAMMA, beta=1.0, entropy_bonus=0.1
)
LEARNERS = {
    "policy_gradient": functools.partial(policy_gradient, objective=OBJECTIVE),
    "ppo": functools.partial(
        ppo,
        objective=OBJECTIVE._replace(surrogate=surrogate.clipped(0.2)),
        num_epochs=2,
        num_minibatches=2,
    ),
    "loqa": functools.partial(loqa, objective=LoqaObjective(GAMMA)),
}
every_learner = pytest.mark.parametrize(
    ("name", "kind"),
    [("policy_gradient", "gru"), ("ppo", "table"), ("loqa", "table of q")],
)


def drawn(kind):
    """Parameters far from their start, so that memories matter."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(POLICIES[kind].init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


@functools.cache
def play(kind):
    """Games seen from the middle of an episode."""

    @jax.jit
    def go_on(key, tables):
        return rollout(key, ENV, POLICIES[kind], drawn(kind), tables, NUM_STEPS)

    tables = begin(jax.random.key(0), ENV, POLICIES[kind], NUM_GAMES)
    tables, _ = go_on(jax.random.key(1), tables)
    return go_on(jax.random.key(2), tables)[1]


def update(name, kind, optimizer, **options):
    learner = LEARNERS[name](POLICIES[kind], optimizer=optimizer, **options)
    state = learner.init(jax.random.key(0))._replace(params=drawn(kind))
    if state.target is not None:
        state = state._replace(target=jax.tree.map(lambda x: x + 1, state.target))
    after, metrics = jax.jit(learner.update)(jax.random.key(3), state, play(kind))
    return state, after, metrics


def assert_near(actual, expected):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5),
        actual,
        expected,
    )


@every_learner
def test_a_step_in_chunks_is_the_step(name, kind):
    """Momentum and a step that depends on the gradient's length included."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.1), optax.sgd(0.5, momentum=0.9)
    )
    before, whole, metrics = update(name, kind, optimizer)
    _, parts, part_metrics = update(name, kind, optimizer, num_chunks=4)
    moved = jax.tree.map(lambda x, y: np.abs(x - y).max(), whole.params, before.params)
    assert max(jax.tree.leaves(moved)) > 1e-2
    assert jax.tree.structure(parts) == jax.tree.structure(whole)
    assert_near(parts, whole)
    assert metrics.keys() == part_metrics.keys()
    assert_near(part_metrics, metrics)


@pytest.mark.parametrize(("name", "num_games"), [("policy_gradient", 8), ("ppo", 4)])
def test_chunks_that_do_not_divide_the_games_are_refused(name, num_games):
    """Those of a step: PPO's have already been divided into minibatches."""
    message = f"num_chunks is 3: a divisor of the {num_games} games is needed"
    with pytest.raises(ValueError, match=message):
        update(name, "table", optax.sgd(0.1), num_chunks=3)


def test_parts_are_whole_games_in_the_order_asked_for():
    trajectory = play("gru")
    order = jnp.array([3, 1, 7, 5, 0, 2, 6, 4])
    parts = split_games(trajectory, order, 4, "parts")
    assert parts.action.shape == (4, NUM_STEPS, 2, 2)
    assert parts.last.shape == (4, NUM_STEPS, 2)
    assert parts.memory["actor"].shape == (4, 2, 2, 3)
    for i in range(4):
        chosen = order[2 * i : 2 * i + 2]
        for name in ("observation", "reward", "last"):
            expected = getattr(trajectory, name)[:, chosen]
            np.testing.assert_array_equal(getattr(parts, name)[i], expected)
        for branch in ("actor", "critic"):
            expected = trajectory.memory[branch][chosen]
            np.testing.assert_array_equal(parts.memory[branch][i], expected)
    assert np.any(trajectory.memory["actor"] != 0)


def adding_one():
    """An optimiser that adds 1 to every parameter, whatever the gradient."""
    return optax.GradientTransformation(
        init=lambda params: (),
        update=lambda gradient, state, params: (
            jax.tree.map(jnp.ones_like, gradient),
            state,
        ),
    )


@pytest.mark.parametrize(
    ("name", "kind", "num_chunks"),
    [
        ("policy_gradient", "table", 1),
        ("ppo", "table", 2),
        ("loqa", "table of q", 1),
    ],
)
def test_the_target_follows_after_every_step(name, kind, num_chunks):
    """target ← (1 − τ) target + τ critic: of four steps of PPO, one of the others."""
    rate, num_steps = 0.25, 4 if name == "ppo" else 1
    options = {"target_rate": rate, "num_chunks": num_chunks}
    before, after, _ = update(name, kind, adding_one(), **options)
    critic, target = before.params["critic"], before.target
    for _ in range(num_steps):
        critic = jax.tree.map(lambda x: x + 1, critic)
        target = jax.tree.map(
            lambda old, new: (1 - rate) * old + rate * new, target, critic
        )
    assert_near(after.params["critic"], critic)
    assert_near(after.target, target)


def test_the_target_of_a_shared_torso_averages_the_torso():
    policy = POLICIES["shared"]
    learner = policy_gradient(policy, OBJECTIVE, adding_one(), target_rate=0.5)
    state = jax.jit(learner.init)(jax.random.key(0))
    assert set(state.params["critic"]) == {"head"}
    assert set(state.target) == {"encoder", "cell", "readout", "head"}
    # At first it is the critic.
    assert_near(state.target, policy.critic_branch(state.params))
    after, _ = jax.jit(learner.update)(jax.random.key(1), state, play("shared"))
    expected = jax.tree.map(lambda x: x + 0.5, state.target)
    assert_near(after.target, expected)


def test_without_a_rate_there_is_no_target():
    state, after, _ = update("policy_gradient", "table", optax.sgd(0.1))
    assert state.target is None and after.target is None
    assert state.acting is state.params


def test_values_recorded_in_play_are_the_targets():
    """So then are what advantages are taken from, and where play is cut off."""
    policy = POLICIES["table"]
    learner = policy_gradient(policy, OBJECTIVE, optax.sgd(1.0), target_rate=0.25)
    state = learner.init(jax.random.key(0))
    values = jnp.array([10.0, 20.0, 30.0, 40.0, 50.0])
    state = state._replace(target=values)

    @jax.jit
    def play_and_learn(state):
        tables = begin(jax.random.key(0), ENV, policy, NUM_GAMES)
        played = rollout(jax.random.key(1), ENV, policy, state.acting, tables, 4)[1]
        return played, learner.update(jax.random.key(2), state, played)[0]

    trajectory, after = play_and_learn(state)
    seen = np.asarray(trajectory.observation) @ values
    np.testing.assert_array_equal(trajectory.value, seen)
    assert np.min(trajectory.next_value) >= 10
    # Learning moves the critic, from where it is and not from where the target is.
    critic = after.params["critic"]
    assert np.all(np.abs(critic) < 10) and np.any(critic != 0)
    np.testing.assert_allclose(after.target, 0.75 * values + 0.25 * critic, rtol=1e-5)
