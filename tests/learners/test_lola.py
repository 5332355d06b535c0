"""LOLA: through a co-player's step, exactly and from play."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import short_games

from aajax import envs, nets
from aajax.envs.matrix import seat_views
from aajax.learners import LearnerState
from aajax.learners.lola import lola_dice, lola_exact, start_values
from aajax.ops import memory_one
from aajax.policies import categorical_policy
from aajax.training.joint_play import fresh_games, joint_play
from aajax.training.self_play import train

DILEMMA = np.array([[[-1.0, -3.0], [0.0, -2.0]], [[-1.0, 0.0], [-3.0, -2.0]]])
# Environment state s (START, CC, CD, DC, DD) is row VIEW[i][s] of seat i's table.
VIEW = np.array([[0, 1, 2, 3, 4], [0, 1, 3, 2, 4]])
POLICY = categorical_policy(nets.tabular(5, 2))
GAMMA = 0.96


def states_of(logits, optimizer):
    params = [{"actor": x, "critic": jnp.zeros(5, x.dtype)} for x in logits]
    return tuple(LearnerState(p, optimizer.init(p)) for p in params)


@pytest.mark.parametrize("num_actions", [2, 3])
def test_each_player_numbers_outcomes_from_its_own_side(num_actions):
    rng = np.random.default_rng(0)
    payoff = rng.normal(size=(2, num_actions, num_actions))
    logits = rng.normal(size=(2, 1 + num_actions**2, num_actions))
    view = seat_views((num_actions, num_actions))
    world = np.stack([logits[i][view[i]] for i in range(2)])
    with jax.enable_x64(True):
        policies = jax.nn.softmax(jnp.asarray(world))
        expected = memory_one.memory_one_values(jnp.asarray(payoff), policies, GAMMA)
        actual = start_values(
            jnp.asarray(payoff), tuple(map(jnp.asarray, logits)), GAMMA
        )
    np.testing.assert_allclose(actual, expected[0], rtol=1e-12)


def test_tit_for_tat_is_exploited_once():
    """(−3 or 0) once, then mutual defection: −3 − 0.9 · 2 / 0.1 and −0.9 · 2 / 0.1."""
    # Chances after START, CC, CD, DC, DD, own action first.
    sure = 60.0
    tit_for_tat = sure * jnp.array([1.0, 1.0, -1.0, 1.0, -1.0])
    logits = [jnp.stack([x, -x], axis=1) for x in (tit_for_tat, -sure * jnp.ones(5))]
    payoff = jnp.asarray(DILEMMA, jnp.float32)
    values = start_values(payoff, tuple(logits), 0.9)
    np.testing.assert_allclose(values, [-21, -18], rtol=1e-5)
    np.testing.assert_allclose(
        start_values(payoff, tuple(logits[::-1]), 0.9), [-18, -21], rtol=1e-5
    )


@partial(jax.jit, static_argnums=0)
def co_player_slope(agent, logits):
    """∇ V_j by the co-player's own logits."""
    other = 1 - agent
    return jax.grad(lambda x: start_values(jnp.asarray(DILEMMA), x, GAMMA)[other])(
        logits
    )[other]


@partial(jax.jit, static_argnums=(0, 2))
def looked_ahead(agent, logits, num_lookahead, rate):
    """V_i after its co-player's imagined steps."""
    for _ in range(num_lookahead):
        learned = logits[1 - agent] + rate * co_player_slope(agent, logits)
        logits = (logits[0], learned) if agent == 0 else (learned, logits[1])
    return start_values(jnp.asarray(DILEMMA), logits, GAMMA)[agent]


@pytest.mark.parametrize("num_lookahead", [0, 2])
def test_an_update_climbs_what_the_co_player_will_have_learned(num_lookahead):
    logits = np.random.default_rng(1).normal(size=(2, 5, 2))
    rate, size = 0.3, 1e-5
    optimizer = optax.sgd(1.0)
    with jax.enable_x64(True):
        learner = lola_exact(
            DILEMMA, GAMMA, optimizer, lookahead_rate=rate, num_lookahead=num_lookahead
        )
        states = states_of(jnp.asarray(logits), optimizer)
        learned, metrics = jax.jit(learner.update)(jax.random.key(0), states)
        for agent, row, column in [(0, 0, 0), (0, 2, 1), (1, 3, 0), (1, 4, 1)]:
            ends = []
            for shift in (size, -size):
                moved = logits.copy()
                moved[agent, row, column] += shift
                pair = (jnp.asarray(moved[0]), jnp.asarray(moved[1]))
                ends.append(looked_ahead(agent, pair, num_lookahead, rate))
            moved = learned[agent].params["actor"] - logits[agent]
            slope = (ends[0] - ends[1]) / (2 * size)
            np.testing.assert_allclose(moved[row, column], slope, rtol=1e-6, atol=1e-9)
            norm = optax.tree.norm(moved)
            np.testing.assert_allclose(metrics[f"learner_{agent}/gradient_norm"], norm)
        value = start_values(jnp.asarray(DILEMMA), tuple(jnp.asarray(logits)), GAMMA)
        value = np.asarray(value)
    np.testing.assert_allclose(metrics["reward"], (1 - GAMMA) * value.mean())
    np.testing.assert_allclose(metrics["learner_1/reward"], (1 - GAMMA) * value[1])
    assert not np.any(learned[0].params["critic"])


@pytest.mark.parametrize(("lookahead_rate", "cooperates"), [(1.0, True), (0.0, False)])
def test_exact_lola_finds_tit_for_tat_and_naive_learning_defects(
    lookahead_rate, cooperates
):
    learner = lola_exact(
        jnp.asarray(DILEMMA, jnp.float32),
        GAMMA,
        optax.sgd(1.0),
        lookahead_rate=lookahead_rate,
    )
    run = jax.jit(jax.vmap(lambda key: train(joint_play(learner), key, 50)))
    state, metrics = run(jax.random.split(jax.random.key(0), 10))
    reward = metrics["reward"][:, -1]
    logits = np.stack([state.learners[i].params["actor"] for i in range(2)])
    cooperate = np.asarray(jax.nn.softmax(logits))[..., 0]
    if cooperates:
        assert (reward > -1.05).all()
        # After START, CC, CD, DC and DD, own action first.
        np.testing.assert_allclose(
            cooperate, np.broadcast_to([1.0, 1, 0, 1, 0], (2, 10, 5)), atol=0.1
        )
    else:
        assert (reward < -1.95).all()
        assert (cooperate[..., [0, 4]] < 0.1).all()


def sampled_learner(num_games, num_steps, optimizer, **options):
    env = envs.make("ipd", num_steps=num_steps)
    play = fresh_games(env, [POLICY, POLICY], num_games=num_games)
    return lola_dice([POLICY, POLICY], play, optimizer, **options)


def test_from_play_the_gradient_is_that_of_exact_look_ahead():
    """In games of three steps, over independent batches."""
    gamma, rate, num_batches = 0.8, 0.5, 32
    tables = np.random.default_rng(2).normal(size=(2, 5, 2))

    def value(own, other, agent, alpha):
        """V_i once the co-player has learned, in the environment's view."""

        def both(own, other):
            pair = (own, other) if agent == 0 else (other, own)
            rows = jnp.stack([pair[i][VIEW[i]] for i in range(2)])
            steps = jnp.broadcast_to(rows[:, None], (2, 3, 5, 2))
            return short_games.start_values(DILEMMA, steps, gamma)

        slope = jax.grad(lambda x: both(own, x)[1 - agent])(other)
        return both(own, other + alpha * slope)[agent]

    with jax.enable_x64(True):
        slope_of = jax.jit(jax.grad(value), static_argnums=2)
        shaped, naive = (
            np.stack([slope_of(tables[i], tables[1 - i], i, a) for i in range(2)])
            for a in (rate, 0.0)
        )
    optimizer = optax.sgd(1.0)
    learner = sampled_learner(2**10, 3, optimizer, gamma=gamma, lookahead_rate=rate)
    states = states_of(jnp.asarray(tables, jnp.float32), optimizer)
    keys = jax.random.split(jax.random.key(0), num_batches)
    learned, metrics = jax.jit(jax.vmap(learner.update, (0, None)))(keys, states)
    learned = np.stack([state.params["actor"] for state in learned])
    moved = learned - tables[:, None]
    assert metrics["reward"].shape == (num_batches,)
    error = moved.std(axis=1, ddof=1) / np.sqrt(num_batches)
    assert (np.abs(moved.mean(axis=1) - shaped) < 4 * error + 1e-6).all()
    # What shaping adds is large beside the error, so that it was indeed seen.
    assert (np.abs(shaped - naive) > 10 * error).any(axis=(1, 2)).all()


@pytest.mark.slow
def test_lola_dice_learns_to_cooperate():
    # With half as many games about one run in twelve ends elsewhere.
    learner = sampled_learner(512, 50, optax.sgd(1.0), gamma=GAMMA, lookahead_rate=1.0)
    run = jax.jit(jax.vmap(lambda key: train(joint_play(learner), key, 30)))
    _, metrics = run(jax.random.split(jax.random.key(0), 3))
    reward = metrics["reward"]
    assert (reward[:, 0] < -1.3).all()
    assert (reward[:, -10:].mean(axis=1) > -1.15).all()


@pytest.fixture(scope="module")
def recurrent_update():
    """States before and after an update, and the keys that games were played with."""
    policy = categorical_policy(nets.actor_critic(nets.gru(2), 5, 2))
    env = envs.make("ipd", num_steps=3)
    play, keys = fresh_games(env, [policy, POLICY], num_games=8), []

    def noted(key, pair):
        jax.debug.callback(
            lambda numbers: keys.append(tuple(numbers.tolist())),
            jax.random.key_data(key),
        )
        return play(key, pair)

    learner = lola_dice(
        [policy, POLICY], noted, optax.sgd(0.1), gamma=0.9, lookahead_rate=0.5
    )
    states = jax.jit(learner.init)(jax.random.key(0))
    learned, _ = jax.jit(learner.update)(jax.random.key(1), states)
    jax.effects_barrier()
    return states, learned, keys


def test_recurrent_policies_look_ahead_too(recurrent_update):
    for before, after in zip(*recurrent_update[:2], strict=True):
        moved = jax.tree.map(lambda a, b: a - b, after.params, before.params)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(moved))
        assert optax.tree.norm(moved["actor"]) > 0
        assert optax.tree.norm(moved["critic"]) == 0


def test_every_batch_is_played_with_a_key_of_its_own(recurrent_update):
    # An imagined step and the play after it, for either agent.
    assert len(recurrent_update[2]) == len(set(recurrent_update[2])) == 4


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"payoff has shape \(2, 2, 3\)"):
        lola_exact(jnp.zeros((2, 2, 3)), 0.9, optax.sgd(1.0), lookahead_rate=1.0)
    with pytest.raises(ValueError, match="num_lookahead is -1"):
        lola_exact(DILEMMA, 0.9, optax.sgd(1.0), lookahead_rate=1.0, num_lookahead=-1)
    with pytest.raises(ValueError, match="policies has 1 entries"):
        lola_dice([POLICY], lambda key, pair: None, None, gamma=0.9, lookahead_rate=1.0)
