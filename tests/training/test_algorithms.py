"""An algorithm is one entry: it says what it needs, and all else follows from it."""

import dataclasses

import jax
import numpy as np
import pytest

from aajax import envs
from aajax.errors import InputError
from aajax.learners import presets
from aajax.training import PRESETS, RunConfig, Sweep, sweep
from aajax.training.algorithms import ALGORITHMS, Algorithm, descending, find_algorithm
from aajax.training.assemble import make_env, make_trainer, seat_groups
from aajax.training.estimator import make_estimation
from aajax.training.memory import check_memory
from aajax.training.run import hyperparameter_values


def reversed_rewards(parts):
    """An objective that no entry of the table has: to earn as little as possible."""
    estimation = make_estimation(parts.config, parts.hyperparameters)
    return presets.naive(**estimation)._replace(rewards=lambda reward: -reward)


@pytest.fixture
def entry(monkeypatch):
    """Puts an entry into the table, with changes."""

    def put(**changes):
        own = Algorithm("own", "An own one.", learner=descending(reversed_rewards))
        own = dataclasses.replace(own, **changes)
        monkeypatch.setitem(ALGORITHMS, "own", own)
        return own

    return put


def test_an_own_entry_trains(entry):
    """With rewards reversed, cooperation is what defection was, and the other way."""
    entry()
    rewards = {}
    for name in ("naive", "own"):
        config = RunConfig(algorithm=name, num_updates=40, num_games=64, seeds=2)
        values = {"beta": np.ones(1, np.float32)}
        make = make_trainer(config)
        state = sweep.start(make, values, config.seed_list)
        _, metrics = sweep.advance(make, config.num_updates)(values, state)
        rewards[name] = float(metrics["reward"][-1].mean())
    assert rewards["own"] > rewards["naive"] + 0.2


def test_three_who_pay_back_each_other_cooperate():
    """In public goods, where naive learners keep all to themselves."""
    rewards = {}
    for name in ("naive", "pairwise_alignment"):
        config = dataclasses.replace(
            PRESETS["public-goods-3-pairs"][1], algorithm=name, seeds=2
        )
        values = {"beta": np.full(1, config.hyperparameters.beta, np.float32)}
        make = make_trainer(config)
        state = sweep.start(make, values, config.seed_list)
        _, metrics = sweep.advance(make, 60)(values, state)
        rewards[name] = metrics["reward"][-1].min()
    assert rewards["naive"] < 0.1
    assert rewards["pairwise_alignment"] > 0.3


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"settings": {"num_chunks": 1}},
            {"num_chunks": 2},
            "num_chunks is 2: 1 is needed with algorithm 'own'",
        ),
        (
            {"settings": {"hyperparameters.gamma": 0.5}},
            {},
            "hyperparameters.gamma is 0.96: 0.5 is needed with algorithm 'own'",
        ),
        (
            {"settings": {"hyperparameters.gamma": 0.5}},
            {"sweep": Sweep(gamma=(0.5, 0.9))},
            "sweep.gamma has 0.9: 0.5 is needed with algorithm 'own'",
        ),
        (
            {"settings": {"baseline": "critic"}},
            {"baseline": "critic", "sweep": Sweep(baseline=("critic", "group"))},
            "sweep.baseline has 'group': 'critic' is needed with algorithm 'own'",
        ),
        (
            {"num_agents": 3},
            {},
            "algorithm is 'own': a game of three is needed, and 'ipd' has 2 seats",
        ),
        (
            {"discrete": True},
            {"game": "negotiation", "policy": "mlp"},
            "algorithm is 'own': a game of few actions is needed, which negotiation is",
        ),
        (
            {"equal_actions": True},
            {"payoff": "[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,6]]]"},
            "algorithm is 'own': a game whose seats have equally many actions is",
        ),
    ],
)
def test_what_an_entry_needs_is_said_before_training(entry, changes, options, message):
    entry(**changes)
    with pytest.raises(InputError) as error:
        make_trainer(RunConfig(algorithm="own", **options))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_entry_checks_what_else_it_needs(entry):
    def check(config, env):
        raise InputError(f"game is {config.game!r}: {env.num_agents} are too many")

    entry(check=check)
    with pytest.raises(InputError, match="game is 'ipd': 2 are too many"):
        make_trainer(RunConfig(algorithm="own"))


def test_parameters_critics_and_memory_follow_from_the_entry(entry):
    config = RunConfig(policy="mlp", hidden_size=4, seeds=1)
    env = make_env(config)
    entry(separate=True, critic=True, plays=False)
    own = dataclasses.replace(config, algorithm="own")
    assert seat_groups(config, env) == [[0, 1]]
    assert seat_groups(own, env) == [[0], [1]]
    for each, has_critic in [(config, False), (own, True)]:
        state = jax.eval_shape(make_trainer(each)({}).init, jax.random.key(0))
        assert bool(state.learners[0].params["critic"]) == has_critic
    large = dataclasses.replace(own, num_games=2**30)
    check_memory(large)
    with pytest.raises(InputError, match=f"num_games is {2**30}"):
        check_memory(dataclasses.replace(large, algorithm="naive"))


def test_states_of_more_seeds_than_fit_in_memory_are_refused():
    exact = PRESETS["ipd-lola-exact"][1]
    check_memory(dataclasses.replace(exact, seeds=10_000))
    line = r"^seeds is 2147483647: states of 2147483647 seeds \(of all settings\) take "
    with pytest.raises(InputError, match=line):
        check_memory(dataclasses.replace(exact, seeds=2**31 - 1))


def test_seeds_in_parts_learn_what_all_of_them_at_once_do():
    """So many systems of linear equations at a time can be a deadlock of jaxlib's."""
    config = dataclasses.replace(
        PRESETS["ipd-lola-exact"][1], seeds=3, sweep=Sweep(lookahead_rate=(0.0, 1.0))
    )
    make, values = make_trainer(config), hyperparameter_values(config)
    found = []
    for at_once in (None, 2, 1):
        state = sweep.start(make, values, config.seed_list)
        advance = jax.jit(sweep.advance_all(make, 2, at_once))
        found.append(advance(values, state))
    (state, metrics), *others = found
    assert metrics["reward"].shape == (2, 2, 3)
    for other, numbers in others:
        for name, x in metrics.items():
            np.testing.assert_allclose(numbers[name], x, rtol=1e-5, atol=1e-6)
        for x, y in zip(state.acting, other.acting, strict=True):
            np.testing.assert_allclose(x["actor"], y["actor"], rtol=1e-5, atol=1e-5)


def test_the_critic_of_an_entry_values_actions_if_it_says_so(entry):
    entry(action_values=True)
    trainer = make_trainer(RunConfig(algorithm="own"))({})
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    num_actions = envs.make("ipd").action_spaces[0].num_actions
    assert state.learners[0].params["critic"].shape == (5, num_actions)


@pytest.mark.parametrize("given", [{}, {"trainer": lambda parts, policies: None}])
def test_an_entry_has_a_learner_or_a_trainer(entry, given):
    entry(**{"learner": given.get("trainer"), **given})
    with pytest.raises(
        InputError, match="algorithm is 'own': .* either a learner or a tr"
    ):
        RunConfig(algorithm="own")


def test_unknown_names_are_refused_with_those_that_there_are():
    needed = "algorithm is 'dqn': one of naive, sum_of_rewards, .*coala, or "
    with pytest.raises(InputError, match=needed):
        find_algorithm("dqn")
    with pytest.raises(InputError, match=needed):
        RunConfig(algorithm="dqn")
    assert all(find_algorithm(name).name == name for name in ALGORITHMS)
