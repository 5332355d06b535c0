"""Earlier games come back as they were played, and are valued as of now."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aajax import envs, nets
from aajax.learners import Learner, LearnerState
from aajax.policies import (
    Evaluation,
    Policy,
    PolicyOutput,
    action_value_policy,
    categorical_policy,
    distributions,
)
from aajax.training import Replay, self_play
from aajax.training import replay as replays
from aajax.training.self_play import train
from aajax.training.transforms import replayed
from aajax.types import Trajectory

NUM_STEPS, NUM_GAMES, NUM_REPLAYED, CAPACITY = 3, 4, 2, 5


def numbered(update):
    """Games called 10 · update + b: every field of a game holds its name."""
    name = 10.0 * update + jnp.arange(NUM_GAMES)

    def field(*shape, dtype=jnp.float32):
        x = name.reshape(1, -1, *(1,) * len(shape))
        return jnp.broadcast_to(x, (NUM_STEPS, NUM_GAMES, *shape)).astype(dtype)

    # Steps differ as well, so that they are seen to stay in order.
    step = jnp.arange(NUM_STEPS) / 10
    return Trajectory(
        observation=field(2, 1),
        action=field(2, dtype=jnp.int32),
        reward=field(2) + step[:, None, None],
        discount=field(),
        last=jnp.zeros((NUM_STEPS, NUM_GAMES), bool),
        log_prob=field(2),
        value=field(2),
        next_value=field(2),
        memory={"actor": field(2, 4)[0]},
        action_value=field(2, 3),
    )


@functools.partial(jax.jit, static_argnames="num_replayed")
def mix(key, store, update, num_replayed=NUM_REPLAYED):
    return replays.mix(key, store, numbered(update), num_replayed)


def names(trajectory):
    """Of the games, by every field alike."""
    name = np.asarray(trajectory.discount[0], int)
    for field, x in trajectory._asdict().items():
        x = jax.tree.leaves(x)[0]
        x = x[None] if field == "memory" else x
        if field == "reward":
            x = x - jnp.arange(NUM_STEPS)[:, None, None] / 10
        if field != "last":
            flat = np.asarray(x).reshape(len(x), NUM_GAMES, -1)
            expected = np.broadcast_to(name[:, None], flat.shape)
            np.testing.assert_allclose(flat, expected, atol=1e-4)
    return name.tolist()


def stored(store):
    return np.asarray(store.games.discount[:, 0], int).tolist()


def test_a_ring_of_games_by_hand():
    """The last two of four games make way and are kept, in five places."""
    store = replays.create(numbered(0), CAPACITY)
    assert store.games.memory["actor"].shape == (CAPACITY, 2, 4)
    assert store.games.action.dtype == jnp.int32
    rows = [
        # Who may come back, and what is then kept.
        (set(), [12, 13, 0, 0, 0]),
        ({12, 13}, [12, 13, 22, 23, 0]),
        # Games 32 and 33 take the last place and the first, that of game 12.
        ({13, 22, 23}, [33, 13, 22, 23, 32]),
        ({23, 32, 33}, [33, 42, 43, 23, 32]),
    ]
    for update, (older, kept) in enumerate(rows, 1):
        seen = set()
        for key in range(20):
            after, mixed, is_old = mix(jax.random.key(key), store, update)
            *first, third, fourth = names(mixed)
            assert first == [10 * update, 10 * update + 1]
            if older:
                seen |= {third, fourth}
            else:
                assert [third, fourth] == [12, 13]
            np.testing.assert_array_equal(is_old, [False] * 2 + [bool(older)] * 2)
        assert seen == older
        store = after
        assert stored(store) == kept
        assert store.added == 2 * update


def test_all_that_are_kept_are_as_likely():
    store = replays.create(numbered(0), 9)
    for update in range(1, 4):
        store, _, _ = mix(jax.random.key(0), store, update)
    keys = jax.random.split(jax.random.key(1), 600)
    _, mixed, _ = jax.vmap(lambda key: mix(key, store, 4))(keys)
    drawn = np.asarray(mixed.discount[:, 0, 2:], int)
    counts = [np.sum(drawn == name) for name in (12, 13, 22, 23, 32, 33)]
    assert sum(counts) == drawn.size
    assert stats.chisquare(counts).pvalue > 1e-3


TABLE = nets.tabular(2, 3)
POLICIES = {
    "v": categorical_policy(TABLE),
    "q": action_value_policy(
        nets.tabular(2, 3, num_values=3), distributions.categorical()
    ),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_older_games_are_valued_by_the_present_critic(kind):
    """Of seat 1 alone, and not where an episode stopped."""
    rng = np.random.default_rng(0)
    shape = NUM_STEPS, NUM_GAMES, 2
    state = rng.integers(2, size=shape)
    last = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], bool)
    played = numbered(1)._replace(
        observation=jax.nn.one_hot(state, 2),
        action=jnp.zeros(shape, jnp.int32),
        last=jnp.asarray(last),
    )
    if kind == "v":
        played = played._replace(action_value=None)
        critic = np.array([0.5, -0.5], np.float32)
        value, action_value = critic[state], None
    else:
        critic = np.array([[1, 2, 3], [4, 5, 9]], np.float32)
        value, action_value = critic.mean(1)[state], critic[state]
    params = {"actor": jnp.zeros((2, 3)), "critic": jnp.asarray(critic)}
    is_old = jnp.array([False, True, True, False])
    after = replays.revalue(POLICIES[kind], params, played, (), [1], is_old)

    fresh = np.array([0, 3])
    changed = {"value", "next_value", "action_value"}
    for name, x in played._asdict().items():
        now = getattr(after, name)
        if x is None:
            assert now is None
        elif name not in changed:
            jax.tree.map(np.testing.assert_array_equal, now, x)
        else:
            np.testing.assert_array_equal(now[:, fresh], x[:, fresh])
            np.testing.assert_array_equal(now[:, :, 0], x[:, :, 0])
    np.testing.assert_allclose(after.value[:, 1:3, 1], value[:, 1:3, 1], rtol=1e-6)
    if kind == "q":
        actual = after.action_value[:, 1:3, 1]
        np.testing.assert_allclose(actual, action_value[:, 1:3, 1], rtol=1e-6)
    # Recorded were 11 and 12; both games end the stretch with what was recorded.
    first, second = value[:, 1, 1], value[:, 2, 1]
    np.testing.assert_allclose(after.next_value[:, 1, 1], [*first[1:], 11], rtol=1e-6)
    expected = [second[1], 12, 12]
    np.testing.assert_allclose(after.next_value[:, 2, 1], expected, rtol=1e-6)


def counter():
    """A random player whose one parameter, its value and the log-probability of what
    it does, is the number of its updates; and a learner that shows what it is given."""

    def act(params, key, observation, memory):
        shape = observation.shape[:-1]
        action = jax.random.bernoulli(key, shape=shape).astype(jnp.int32)
        x = jnp.full(shape, params)
        return PolicyOutput(action, x, x, memory)

    def value(params, observation, memory):
        return jnp.full(observation.shape[:-1], params)

    def evaluate(params, observation, action, last, memory):
        x = jnp.full(action.shape, params)
        return Evaluation(x + 100, x, x)

    def update(key, state, trajectory):
        shown = trajectory._replace(memory=(), action_value=None)._asdict()
        return state._replace(params=state.params + 1), shown

    policy = Policy(lambda key: jnp.zeros(()), lambda shape: (), act, value, evaluate)
    return policy, Learner(lambda key: LearnerState(jnp.zeros(()), ()), update)


def test_learners_are_given_older_games_among_those_just_played():
    policy, learner = counter()
    num_updates = 12
    trainer = self_play(
        envs.make("ipd", num_steps=NUM_STEPS),
        [policy],
        [learner],
        [[0, 1]],
        num_games=NUM_GAMES,
        transforms=[replayed(Replay(games=1, capacity=6))],
    )
    run = jax.jit(functools.partial(train, trainer, num_updates=num_updates))
    state, shown = run(jax.random.key(0))
    assert state.store.added == num_updates
    now = np.arange(num_updates)
    # Who acted then: log-probabilities stay those of play.
    who = np.asarray(shown["log_prob"][:, 0, :, 0], int)
    everywhere = np.broadcast_to(who[:, None, :, None], shown["log_prob"].shape)
    np.testing.assert_array_equal(shown["log_prob"], everywhere)
    np.testing.assert_array_equal(who[:, :-1], np.tile(now[:, None], (1, 3)))
    older = who[:, -1]
    assert older[0] == 0  # at first there is none
    assert (older[1:] < now[1:]).all()
    assert (older >= now - 5).all()
    assert len(set(now - older)) > 2
    # Valued now, but for where they ended.
    everywhere = np.broadcast_to(now[:, None, None, None], shown["value"].shape)
    np.testing.assert_array_equal(shown["value"], everywhere)
    np.testing.assert_array_equal(
        shown["next_value"][:, :-1, -1, 0], np.tile(now[:, None], (1, NUM_STEPS - 1))
    )
    np.testing.assert_array_equal(shown["next_value"][:, -1, -1, 0], older)
    # Rewards are of the actions, and actions are what was seen next.
    action = np.asarray(shown["action"])
    payoff = np.array([[-1, -3], [0, -2]])
    own, other = action, action[..., ::-1]
    np.testing.assert_array_equal(shown["reward"], payoff[own, other])
    outcome = 1 + 2 * own + other
    np.testing.assert_array_equal(
        shown["observation"][:, 1:], np.eye(5)[outcome[:, :-1]]
    )
