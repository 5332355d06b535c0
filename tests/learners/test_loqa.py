"""LOQA's update against its closed form, on random stretches of several episodes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import loqa as reference

from aajax import nets
from aajax.learners import LearnerState, advantages, loqa, policy_gradient, presets
from aajax.learners.loqa import LoqaObjective, opponent_log_prob, prepare
from aajax.policies import action_value_policy, distributions
from aajax.types import Trajectory

NUM_STEPS, NUM_GAMES, NUM_STATES, NUM_ACTIONS = 7, 4, 4, 3
GAMMA, REACH = 0.8, 0.9
POLICY = action_value_policy(
    nets.tabular(NUM_STATES, NUM_ACTIONS, num_values=NUM_ACTIONS),
    distributions.categorical(),
)
# Games that end and games that are cut off, in the middle and at the end; and games
# under way when the stretch is over.
LAST = np.zeros((NUM_STEPS, NUM_GAMES), bool)
LAST[2, 0] = LAST[6, 0] = LAST[4, 1] = LAST[3, 2] = LAST[6, 2] = True
ENDED = LAST & (np.arange(NUM_GAMES) % 2 == 0)
RNG = np.random.default_rng(0)
PARAMS = {
    name: RNG.normal(size=(NUM_STATES, NUM_ACTIONS)).astype(np.float32)
    for name in ("actor", "critic")
}


@functools.cache
def trajectory(num_agents):
    """Random in all but where episodes stop."""
    rng = np.random.default_rng(num_agents)
    shape = NUM_STEPS, NUM_GAMES, num_agents
    state = rng.integers(NUM_STATES, size=shape)

    def normal(*more):
        return jnp.asarray(rng.normal(size=(*shape, *more)), jnp.float32)

    value, final_value = normal(), normal()
    next_value = jnp.concatenate([value[1:], final_value[-1:]])
    return Trajectory(
        observation=jax.nn.one_hot(state, NUM_STATES),
        action=jnp.asarray(rng.integers(NUM_ACTIONS, size=shape), jnp.int32),
        reward=normal(),
        discount=jnp.asarray(~ENDED, jnp.float32),
        last=jnp.asarray(LAST),
        log_prob=normal(),
        value=value,
        next_value=jnp.where(LAST[..., None], final_value, next_value),
        memory=(),
        action_value=normal(NUM_ACTIONS),
    )


@functools.cache
def games(num_agents):
    played = jax.device_get(trajectory(num_agents))
    return [reference.one_game(played, b, GAMMA) for b in range(NUM_GAMES)]


def descended(make, played):
    """Minus the gradient, and metrics, of one step."""
    optimizer = optax.sgd(1.0)
    state = LearnerState(PARAMS, optimizer.init(PARAMS))
    learner = make(optimizer=optimizer)
    after, metrics = jax.jit(learner.update)(jax.random.key(0), state, played)
    return jax.tree.map(lambda x, y: x - y, after.params, PARAMS), metrics


def slow_step(num_agents, seats, weight, temperature):
    """The same by hand: means over steps, games and seats, of a table's entries."""
    played = jax.device_get(trajectory(num_agents))
    policy = np.exp(PARAMS["actor"]) / np.exp(PARAMS["actor"]).sum(1, keepdims=True)
    step = {name: np.zeros(x.shape) for name, x in PARAMS.items()}
    judgement = 0.0
    for b, game in enumerate(games(num_agents)):
        for i in seats:
            credit = game["advantage"][:, i] + weight * reference.shaping(
                game, GAMMA, REACH, temperature, i
            )
            for t in range(NUM_STEPS):
                state = played.observation[t, b, i].argmax()
                action = played.action[t, b, i]
                score = np.eye(NUM_ACTIONS)[action] - policy[state]
                step["actor"][state] += credit[t] * score
                next_value = game["discount"][t] * game["next_value"][t, i]
                target = game["reward"][t, i] + GAMMA * next_value
                error = target - PARAMS["critic"][state, action]
                step["critic"][state, action] += np.clip(error, -1, 1)
            for j in set(range(num_agents)) - {i}:
                log_prob = reference.judged(game, GAMMA, temperature, j)
                judgement += log_prob @ game["advantage"][:, i]
    count = NUM_STEPS * NUM_GAMES * len(seats)
    return {name: x / count for name, x in step.items()}, -judgement / count


@pytest.mark.parametrize(
    ("num_agents", "seats", "weight", "temperature"),
    [
        (2, None, 1.0, 1.0),
        (2, [1], 2.0, 0.5),
        (3, None, 1.5, 1.0),
        (3, [2, 0], 1.0, 1.0),
        (2, None, 0.0, 1.0),
    ],
)
def test_a_step_is_the_closed_form(num_agents, seats, weight, temperature):
    """Steps of the policy and of Q, and the sum over all co-players."""
    objective = LoqaObjective(GAMMA, REACH, weight, temperature)
    make = functools.partial(loqa, POLICY, objective, seats=seats)
    step, metrics = descended(make, trajectory(num_agents))
    seats = range(num_agents) if seats is None else seats
    expected, judgement = slow_step(num_agents, seats, weight, temperature)
    for name in ("actor", "critic"):
        np.testing.assert_allclose(step[name], expected[name], rtol=1e-4, atol=1e-5)
        assert np.abs(expected[name]).max() > 0.01
    np.testing.assert_allclose(metrics["opponent_loss"], judgement, rtol=1e-4)
    alone, _ = slow_step(num_agents, seats, 0.0, temperature)
    shaped = np.abs(expected["actor"] - alone["actor"]).max()
    assert (shaped > 0.01) == (weight > 0)


def test_without_weight_it_is_an_actor_critic():
    """The policy's step is that of advantages of one step, entropy bonus included."""
    # Its value loss would move the policy too, through v = Σ π Q.
    objective = presets.naive(
        advantages.critic(GAMMA, 0.0),
        entropy_bonus=0.3,
        value_loss=lambda value, target: jnp.zeros_like(value),
    )
    expected, _ = descended(
        functools.partial(policy_gradient, POLICY, objective), trajectory(3)
    )
    alone = LoqaObjective(GAMMA, weight=0.0, entropy_bonus=0.3)
    make = functools.partial(loqa, POLICY, alone)
    step, _ = descended(make, trajectory(3))
    np.testing.assert_allclose(step["actor"], expected["actor"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "discount", "taken"),
    [
        (True, 0.0, 1.0),  # ended: the reward alone
        (True, 1.0, 1.0 + 0.5 * 4.0),  # cut off: and the value of where it led
        (False, 1.0, 1.0 + 0.5 * 4.0),  # under way when the stretch is over: likewise
    ],
)
def test_the_last_action_taken_is_worth(last, discount, taken):
    """γ = ½, a reward of 1, a next value of 4; the other action is worth 2."""
    one = jnp.ones((1, 1, 2))
    played = Trajectory(
        observation=jnp.ones((1, 1, 2, 1)),
        action=jnp.ones((1, 1, 2), jnp.int32),
        reward=one,
        discount=jnp.full((1, 1), discount),
        last=jnp.full((1, 1), last),
        log_prob=-one,
        value=0 * one,
        next_value=4 * one,
        memory=(),
        action_value=jnp.stack([2 * one, -9 * one], -1),
    )
    batch = prepare(0.5, played, [0])
    np.testing.assert_allclose(batch.target, np.full((1, 1, 1), taken))
    log_prob = opponent_log_prob(-one[..., :1], batch, 0.5, 0.9)
    expected = np.full((1, 1, 1, 1), -np.log1p(np.exp(2 - taken)))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-6)


def test_a_trajectory_without_action_values_is_refused():
    learner = loqa(POLICY, LoqaObjective(GAMMA), optax.sgd(0.1))
    state = learner.init(jax.random.key(0))
    played = trajectory(2)._replace(action_value=None)
    with pytest.raises(ValueError, match="trajectory has no action values: action_val"):
        learner.update(jax.random.key(0), state, played)
