"""Identities between learners on played games."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajax import envs, nets
from aajax.envs.matrix import matrix_game
from aajax.learners import LearnerState, advantages, policy_gradient, ppo, presets
from aajax.ops import surrogate
from aajax.policies import categorical_policy
from aajax.rollout import begin, rollout

NUM_GAMES = 8
NUM_STEPS = 12
GAMMA = 0.9
SELFISH = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
POLICIES = {
    "tabular": categorical_policy(nets.tabular(5, 2)),
    "gru": categorical_policy(nets.actor_critic(nets.gru(3), 5, 2)),
}
CRITIC = advantages.critic(GAMMA, 0.8)
GROUP = advantages.group_relative(GAMMA)


@functools.cache
def params_of(kind):
    """Far from their start, so that observations and memories matter."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(POLICIES[kind].init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


@functools.partial(jax.jit, static_argnames="kind")
def go_on(key, env, kind, tables):
    return rollout(key, env, POLICIES[kind], params_of(kind), tables, NUM_STEPS)


@functools.cache
def play(kind="tabular", summed=False):
    """Games of five steps, seen from the middle of one; all seats learn."""
    payoff = SELFISH.sum(0, keepdims=True).repeat(2, 0) if summed else SELFISH
    env = envs.AutoReset(matrix_game(payoff, num_steps=5))
    tables = begin(jax.random.key(0), env, POLICIES[kind], NUM_GAMES)
    tables, _ = go_on(jax.random.key(1), env, kind, tables)
    return go_on(jax.random.key(2), env, kind, tables)[1]


def update(learner, optimizer, trajectory, kind="tabular", key=0):
    """The learner's state and metrics after one update."""
    params = params_of(kind)
    state = LearnerState(params, optimizer.init(params))
    return jax.jit(learner.update)(jax.random.key(key), state, trajectory)


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def assert_near(first, second):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6),
        first,
        second,
    )


def differ(first, second):
    return any(
        np.any(x != y)
        for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


@pytest.mark.parametrize("make_learner", [policy_gradient, ppo])
def test_without_weight_alignment_is_the_naive_update_to_the_bit(make_learner):
    optimizer = optax.sgd(0.1, momentum=0.9)
    policy, params = POLICIES["tabular"], params_of("tabular")
    state = LearnerState(params, optimizer.init(params))
    arguments = jax.random.key(0), state, play()

    # β is a number known only at run time, as in a sweep.
    @jax.jit
    def aligned(beta, *arguments):
        objective = presets.advantage_alignment(CRITIC, gamma=GAMMA, beta=beta)
        return make_learner(policy, objective, optimizer).update(*arguments)

    naive = jax.jit(make_learner(policy, presets.naive(CRITIC), optimizer).update)
    expected = naive(*arguments)
    assert_same(aligned(0.0, *arguments), expected)
    assert differ(aligned(1.0, *arguments)[0].params, expected[0].params)


def test_for_the_sum_of_rewards_is_for_oneself_in_a_summed_game():
    optimizer = optax.sgd(0.1)
    naive, total = (
        policy_gradient(POLICIES["tabular"], preset(CRITIC), optimizer)
        for preset in (presets.naive, presets.sum_of_rewards)
    )
    assert_same(play().action, play(summed=True).action)
    expected = update(naive, optimizer, play(summed=True))
    assert_same(update(total, optimizer, play()), expected)
    assert differ(update(naive, optimizer, play()), expected)


def test_a_learner_of_one_seat_learns_from_that_seat():
    optimizer = optax.sgd(0.1)
    objective = presets.naive(GROUP, surrogate=surrogate.clipped(0.2))
    learner = policy_gradient(POLICIES["tabular"], objective, optimizer, seats=[1])
    # With behaviour that differs from the policy, its log-probabilities matter.
    trajectory = play()._replace(log_prob=play().log_prob - 0.1)
    run = jax.jit(learner.update)
    params = params_of("tabular")
    state = LearnerState(params, optimizer.init(params))

    def moved(name, seat, new):
        field = getattr(trajectory, name)
        changed = trajectory._replace(**{name: field.at[:, :, seat].set(new(field))})
        return run(jax.random.key(0), state, changed)[0].params

    before = run(jax.random.key(0), state, trajectory)[0].params
    changes = {
        "log_prob": lambda x: x[:, :, 0] * 2,
        "observation": lambda x: jnp.roll(x[:, :, 0], 1, axis=-1),
        "action": lambda x: 1 - x[:, :, 0],
        "reward": lambda x: x[:, :, 0] ** 2,
    }
    for name, new in changes.items():
        assert_same(moved(name, 0, new), before)
        assert differ(moved(name, 1, new), before)


def test_the_other_seat_speaks_through_its_advantages_alone():
    optimizer = optax.sgd(0.1)
    objective = presets.advantage_alignment(GROUP, gamma=GAMMA, beta=1.0)
    learner = policy_gradient(POLICIES["tabular"], objective, optimizer, seats=[1])
    run = jax.jit(learner.update)
    params = params_of("tabular")
    state = LearnerState(params, optimizer.init(params))

    def moved(**fields):
        changed = play()._replace(**fields)
        return run(jax.random.key(0), state, changed)[0].params

    log_prob, reward = play().log_prob, play().reward
    before = moved()
    assert_same(moved(log_prob=log_prob.at[:, :, 0].add(-1.0)), before)
    assert differ(moved(reward=reward.at[:, :, 0].set(reward[:, :, 0] ** 2)), before)


def test_one_pass_over_all_games_is_a_policy_gradient():
    """At ratio 1 nothing is clipped, and ∇ρ = ∇ log π."""
    optimizer = optax.sgd(0.1)
    aligned = functools.partial(
        presets.advantage_alignment, CRITIC, gamma=GAMMA, beta=1.0, whiten=True
    )
    plain = policy_gradient(POLICIES["tabular"], aligned(), optimizer)
    proximal = ppo(
        POLICIES["tabular"],
        aligned(surrogate=surrogate.clipped(0.2)),
        optimizer,
        num_epochs=1,
        num_minibatches=1,
    )
    expected, metrics = update(plain, optimizer, play())
    actual, proximal_metrics = update(proximal, optimizer, play())
    assert differ(expected.params["actor"], params_of("tabular")["actor"])
    assert_near(actual.params, expected.params)
    for name in ("entropy", "value_loss", "gradient_norm"):
        assert_near(proximal_metrics[name], metrics[name])


def adding_up():
    """An optimiser that stays where it is and adds up the gradients."""
    return optax.GradientTransformation(
        init=lambda params: jax.tree.map(jnp.zeros_like, params),
        update=lambda gradient, total, params: (
            jax.tree.map(jnp.zeros_like, gradient),
            jax.tree.map(jnp.add, total, gradient),
        ),
    )


def test_every_epoch_goes_over_every_game_once():
    """A gradient is the mean of those of the minibatches, memories included."""
    objective = presets.naive(CRITIC, surrogate=surrogate.clipped(0.2))
    policy, optimizer = POLICIES["gru"], adding_up()
    whole = policy_gradient(policy, objective, optimizer)
    parts = ppo(policy, objective, optimizer, num_epochs=3, num_minibatches=4)
    gradient = update(whole, optimizer, play("gru"), "gru")[0].opt_state
    total = update(parts, optimizer, play("gru"), "gru")[0].opt_state
    assert_near(jax.tree.map(lambda x: x / 12, total), gradient)


def test_minibatches_are_drawn_by_the_key():
    optimizer = optax.sgd(0.5)
    objective = presets.naive(CRITIC, surrogate=surrogate.clipped(0.2))
    learner = ppo(POLICIES["tabular"], objective, optimizer)
    first, again, other = (
        update(learner, optimizer, play(), key=key)[0].params for key in (0, 0, 1)
    )
    assert_same(first, again)
    assert differ(first, other)


@pytest.mark.parametrize("num_minibatches", [3, 16])
def test_minibatches_that_do_not_divide_the_games_are_refused(num_minibatches):
    optimizer = optax.sgd(0.1)
    learner = ppo(
        POLICIES["tabular"],
        presets.naive(GROUP),
        optimizer,
        num_minibatches=num_minibatches,
    )
    message = f"num_minibatches is {num_minibatches}.*{NUM_GAMES} games"
    with pytest.raises(ValueError, match=message):
        update(learner, optimizer, play())


@pytest.mark.parametrize("make_learner", [policy_gradient, ppo])
@pytest.mark.parametrize("estimator", [GROUP, CRITIC], ids=["group", "critic"])
def test_metrics_are_numbers_by_name(make_learner, estimator):
    optimizer = optax.sgd(0.1, momentum=0.9)
    learner = make_learner(POLICIES["tabular"], presets.naive(estimator), optimizer)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.update, jax.random.key(0), state, play())
    assert after == state
    names = {"policy_loss", "entropy", "gradient_norm"}
    assert set(metrics) == names | ({"value_loss"} if estimator is CRITIC else set())
    number = jax.ShapeDtypeStruct((), jnp.float32)
    assert all(metric == number for metric in metrics.values())
