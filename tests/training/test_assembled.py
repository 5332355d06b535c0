"""What configs are assembled into: memories, sweeps, and exact values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.policies import seated
from aajax.rollout import begin, rollout
from aajax.training import Hyperparameters, NetworkConfig, RunConfig, Sweep, sweep
from aajax.training.assemble import make_env, make_policy, make_trainer
from aajax.training.run import hyperparameter_values

SMALL = NetworkConfig(encoder_layers=1, blocks=1, heads=2)


def drawn(policy):
    """Parameters of a policy whose critic says something."""
    leaves, structure = jax.tree.flatten(jax.jit(policy.init)(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(9), len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            x + 0.3 * jax.random.normal(k, x.shape)
            for x, k in zip(leaves, keys, strict=True)
        ],
    )


def finished(config):
    trainer, hyperparameters = make_trainer(config), hyperparameter_values(config)
    state = sweep.start(trainer, hyperparameters, config.seed_list)
    return sweep.advance(trainer, config.num_updates)(hyperparameters, state)


@pytest.mark.parametrize("memory", ["episode", "update"])
def test_a_transformer_values_the_final_observation_by_all_that_it_saw(memory):
    """Not as if the episode had just begun."""
    config = RunConfig(
        policy="transformer", baseline="critic", hidden_size=8, network=SMALL,
        num_steps=4, episode_steps=4 if memory == "episode" else 8, memory=memory,
    )  # fmt: skip
    env, policy = make_env(config), make_policy(config, make_env(config), 0.3)
    table = seated([policy], [[0, 1]])

    @jax.jit
    def valued(params):
        """The final observation: as played, by all before it, and by itself."""
        tables = begin(jax.random.key(1), env, table, 3)
        end, played = rollout(jax.random.key(2), env, table, (params,), tables, 4)
        final = end.timestep.observation
        observation = jnp.concatenate([played.observation, final[None]])
        zeros = jnp.zeros(observation.shape[:-1], jnp.int32)
        begun = policy.initial_memory((3, 2))
        last = jnp.zeros((5, 3), bool)
        values = policy.evaluate(params, observation, zeros, last, begun).value
        return played.next_value[-1], values[-1], policy.value(params, final, begun)

    found, expected, empty = valued(drawn(policy))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - empty).max() > 1e-3


def test_after_training_a_memory_is_as_long_as_it_was_in_training():
    """In episodes of six steps, where every update began with an empty one."""
    config = RunConfig(
        policy="gru", baseline="critic", hidden_size=4, network=SMALL,
        num_steps=2, episode_steps=6, memory="update",
    )  # fmt: skip
    env = make_env(config)
    policy, plain = make_policy(config, env), make_policy(config, env, 0.0)
    params = drawn(policy)
    observation = jax.random.normal(jax.random.key(1), (6, 3, 2, 5))
    action = jnp.zeros((6, 3, 2), jnp.int32)
    last = jnp.zeros((6, 3), bool).at[0, 0].set(True)  # one begins again on its own
    memory, begun = policy.initial_memory((3, 2)), plain.initial_memory((3, 2))
    act, value_of, plain_value = map(jax.jit, (policy.act, policy.value, plain.value))
    read = jax.jit(policy.evaluate)(params, observation, action, last, memory)
    for t in range(6):
        out = act(params, jax.random.key(t), observation[t], memory)
        value = value_of(params, observation[t], memory)
        np.testing.assert_allclose(value, out.value, rtol=1e-5)
        if t % 2 == 0:
            fresh = plain_value(params, observation[t], begun)
            np.testing.assert_allclose(value, fresh, rtol=1e-5)
        memory = out.memory
        if t != 0:
            np.testing.assert_allclose(read.value[t, 1:], value[1:], rtol=1e-4)
    assert (
        np.abs(read.value[1, 1] - plain_value(params, observation[1], begun)[1]).max()
        > 1e-4
    )


LANES = Sweep(baseline=("group", "critic"))


def test_every_lane_of_a_sweep_does_what_a_plain_run_does():
    """The lane of the group baseline is not whitened because another has a critic."""
    config = RunConfig(num_games=32, num_steps=8, num_updates=5, seeds=2)
    (swept, _), (alone, _), (critic, _) = (
        finished(dataclasses.replace(config, **changes))
        for changes in ({"sweep": LANES}, {}, {"baseline": "critic"})
    )
    actor = swept.learners[0].params["actor"]
    np.testing.assert_allclose(
        actor[0], alone.learners[0].params["actor"][0], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        actor[1], critic.learners[0].params["actor"][0], rtol=1e-5, atol=1e-6
    )
    # And it has no critic to learn.
    np.testing.assert_array_equal(
        swept.learners[0].params["critic"][0], alone.learners[0].params["critic"][0]
    )


@pytest.mark.parametrize(("over", "learns"), [("learner", True), ("table", False)])
def test_what_another_seat_earns_does_not_stop_a_learner(over, learns):
    """Seat 1 is paid a hundred times as much; both are to come to defection."""
    payoff = "[[[-1,-3],[0,-2]],[[-100,0],[-300,-200]]]"
    config = RunConfig(
        payoff=payoff, algorithm="naive", learner="ppo", parameters="separate",
        num_games=32, num_updates=40, seeds=2, num_epochs=2, num_minibatches=1,
        whiten_over=over,
        hyperparameters=Hyperparameters(
            gamma=0.9, learning_rate=0.05, exploration=0.0, entropy_bonus=0.05
        ),
    )  # fmt: skip
    state, _ = finished(config)
    defects = jax.nn.softmax(state.learners[0].params["actor"])[..., 1].mean()
    assert (defects > 0.85) == learns


EXACT = RunConfig(
    algorithm="lola_exact", optimizer="sgd", parameters="separate", num_updates=20,
    seeds=1,
    hyperparameters=Hyperparameters(gamma=0.9, learning_rate=1.0, exploration=0.0),
)  # fmt: skip


def test_exact_values_know_that_a_game_may_end():
    """An end by chance is a discount."""
    shorter = dataclasses.replace(EXACT.hyperparameters, gamma=0.9 * 0.5)
    ending, _ = finished(dataclasses.replace(EXACT, options=("continuation=0.5",)))
    discounted, _ = finished(dataclasses.replace(EXACT, hyperparameters=shorter))
    endless, _ = finished(EXACT)
    actors = [s.learners[0].params["actor"] for s in (ending, discounted, endless)]
    np.testing.assert_allclose(actors[0], actors[1], rtol=1e-4, atol=1e-5)
    assert np.abs(actors[0] - actors[2]).max() > 0.01
    # Undiscounted it can be played where it ends.
    whole = dataclasses.replace(EXACT.hyperparameters, gamma=1.0)
    state, _ = finished(
        dataclasses.replace(EXACT, options=("continuation=0.5",), hyperparameters=whole)
    )
    assert np.isfinite(state.learners[0].params["actor"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hyperparameters": Hyperparameters(gamma=1.0)},
            "gamma is 1.0: a number below 1 is needed",
        ),
        ({"sweep": Sweep(gamma=(0.9, 1.0))}, "gamma is 1.0: a number below 1"),
        ({"options": ("ends=true",)}, "options is .*a game that goes on is needed"),
    ],
)
def test_values_that_are_not_finite_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(dataclasses.replace(EXACT, **changes))({})
