"""Configs: what they keep, what they refuse, and what becomes of them."""

import dataclasses
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs.coin import CoinGame
from aajax.errors import InputError
from aajax.training import (
    PRESETS,
    Final,
    Hyperparameters,
    NetworkConfig,
    Opponents,
    Replay,
    RunConfig,
    Sweep,
    Trainer,
    assemble,
)
from aajax.training.algorithms import ALGORITHMS, Algorithm
from aajax.training.assemble import make_env, make_policy, make_trainer
from aajax.training.shaping import MetaGames

# Between them they set every field to something else than its default.
ALL_SET = [
    RunConfig(
        game="coin",
        options=("width=4", "coins=each"),
        payoff="payoff.npy",
        policy="gru",
        hidden_size=7,
        network=NetworkConfig(3, 1, 5, 9, "relu", False, 2.0, (4, 3), 2, 1),
        proposals="normal",
        num_bins=4,
        explore="greedy",
        algorithm="loqa",
        past="sign",
        num_epochs=3,
        num_minibatches=2,
        baseline="critic",
        target_rate=0.01,
        whiten=True,
        whiten_over="table",
        opponents=Opponents(8, 5, 3, 0.5, 1),
        replay=Replay(6, 50),
        meta=MetaGames(2, 3, "mfos"),
        num_games=12,
        num_steps=9,
        episode_steps=27,
        memory="update",
        num_updates=11,
        num_lookahead=2,
        num_outer=5,
        num_chunks=3,
        optimizer="sgd",
        max_gradient_norm=0.5,
        seeds=3,
        first_seed=4,
        devices=2,
        shard="games",
        hyperparameters=Hyperparameters(
            *[0.123] * len(dataclasses.fields(Hyperparameters))
        ),
        final=Final(0.01, 0.02, 9),
        sweep=Sweep(
            **{field.name: (0.1, 0.2) for field in dataclasses.fields(Hyperparameters)},
            past=("mean", "sign"),
            baseline=("group", "critic"),
        ),
    ),
    RunConfig(
        network=NetworkConfig(shared=True),
        parameters="separate",
        learner="ppo",
        num_games=12,
        group_size=3,
    ),
]


def leaves(config, prefix=""):
    """Every field by name, those of its parts too."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


@pytest.mark.parametrize("config", ALL_SET)
def test_a_config_round_trips_through_json(config):
    record = json.loads(json.dumps(config.to_json()))
    again = RunConfig.from_json(record)
    assert again == config
    assert hash(again) == hash(config)


def test_no_field_is_forgotten_here():
    default = dict(leaves(RunConfig()))
    for name, value in default.items():
        assert any(dict(leaves(config))[name] != value for config in ALL_SET), name


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_be_made(preset):
    config = PRESETS[preset][1]
    assert RunConfig.from_json(config.to_json()) == config
    assert isinstance(make_trainer(config)({}), Trainer)


def part(name, **options):
    return {name: options}


BAD = [
    *[
        ({name: 0}, f"{name} is 0: at least 1")
        for name in ("hidden_size", "num_games", "group_size", "num_steps")
    ],
    *[
        ({name: 0}, f"{name} is 0: at least 1")
        for name in ("num_updates", "num_chunks", "num_epochs", "num_minibatches")
    ],
    (part("network", encoder_layers=-1), "network.encoder_layers is -1: at least 0"),
    (part("network", readout_layers=-1), "network.readout_layers is -1: at least 0"),
    (part("network", readout_size=0), "network.readout_size is 0: at least 1"),
    (part("network", critic_size=-1), "network.critic_size is -1: at least 0"),
    (
        part("network", shared=True, critic_size=2),
        "network.critic_size is 2: 0 is needed",
    ),
    (part("network", value_scale=math.inf), "network.value_scale is inf: a number"),
    ({"num_bins": 1}, "num_bins is 1: at least 2"),
    ({"first_seed": 2**32}, "first_seed is 4294967296: a whole number in [0, 2^32)"),
    ({"target_rate": 1.5}, "target_rate is 1.5: a number in [0, 1]"),
    ({"target_rate": math.nan}, "target_rate is nan: a number in [0, 1]"),
    ({"max_gradient_norm": -1.0}, "max_gradient_norm is -1.0: a number of at"),
    ({"max_gradient_norm": math.inf}, "max_gradient_norm is inf: a number of at"),
    ({"group_size": 5}, "group_size is 5: a divisor of the 512 games"),
    ({"num_chunks": 3}, "num_chunks is 3: a divisor of the 512 games"),
    (
        {"learner": "ppo", "num_chunks": 256},
        "num_chunks is 256: a divisor of the 128 games",
    ),
    ({"num_games": 3, "group_size": 3, "learner": "ppo"}, "num_games is 3: a multiple"),
    (part("opponents", capacity=-1), "opponents.capacity is -1: at least 0"),
    (part("opponents", capacity=4, every=0), "opponents.every is 0: at least 1"),
    (part("opponents", capacity=4, groups=0), "opponents.groups is 0: at least 1"),
    (part("opponents", seats=-1), "opponents.seats is -1: at least 0"),
    (part("network", channels=[4, 0]), "network.channels has 0: at least 1"),
    (part("network", blocks=0), "network.blocks is 0: at least 1"),
    (part("network", heads=0), "network.heads is 0: at least 1"),
    (
        {"policy": "transformer", "hidden_size": 12},
        "hidden_size is 12: a multiple of twice the 4 heads is needed",
    ),
    (
        {"episode_steps": 3, "num_steps": 4},
        "episode_steps is 3: 0, or at least the 4 steps of an update",
    ),
    (part("opponents", capacity=4, groups=5), "opponents.groups is 5: a divisor of"),
    (
        part("opponents", current=1.5),
        "opponents.current is 1.5: a number in [0, 1]",
    ),
    (part("replay", games=-1), "replay.games is -1: at least 0"),
    (part("replay", games=512), "replay.games is 512: fewer than the 512 games"),
    (
        part("replay", games=8, capacity=8),
        "replay.capacity is 8: more than the 8 games",
    ),
    (part("replay", capacity=0), "replay.capacity is 0: at least 1"),
    (
        part("replay", games=8) | {"group_size": 2},
        "replay.games is 8: 0 is needed where",
    ),
    (part("final", exploration=1.5), "final.exploration is 1.5: a number in"),
    (part("final", entropy_bonus=-1.0), "final.entropy_bonus is -1.0: a number"),
    (
        part("hyperparameters", dice_lambda=2.0),
        "hyperparameters.dice_lambda is 2.0: a number in [0, 1]",
    ),
    (
        part("hyperparameters", lookahead_rate=-1.0),
        "hyperparameters.lookahead_rate is -1.0: a number in",
    ),
    (part("sweep", clip=[0.1, -1.0]), "sweep.clip has -1.0: a number in"),
    (part("sweep", past=["sign", "bright"]), "sweep.past has 'bright': one of disc"),
    (part("sweep", baseline=["none"]), "sweep.baseline has 'none': one of group, c"),
    (
        {"algorithm": "loqa", "learner": "ppo"},
        "learner is 'ppo': 'policy_gradient' is needed with algorithm 'loqa'",
    ),
    (
        {"algorithm": "lola", "group_size": 2},
        "group_size is 2: 1 is needed with algorithm 'lola'",
    ),
    (
        {"algorithm": "lola"} | part("replay", games=2),
        "replay.games is 2: 0 is needed with algorithm 'lola'",
    ),
    (
        {"seeds": 3, "first_seed": 2**32 - 2},
        "first_seed is 4294967294: at most 4294967",
    ),
    (part("sweep", beta=[1, 2, 1]), "sweep.beta has 1.0 twice: once is needed"),
    ({"game": None}, "game is None: a text is needed"),
    ({"num_games": 2.5}, "num_games is 2.5: a whole number of at least 1 is needed"),
    ({"whiten": "yes"}, "whiten is 'yes': true or false is needed"),
    ({"policy": "lstm"}, "policy is 'lstm': one of tabular, mlp, gru, transformer"),
    ({"world": "width=4"}, "options is 'width=4': a tuple (in JSON, a list) is needed"),
    ({"world": [4]}, "options has 4: a text is needed"),
    ({"gama": 0.9}, "gama is 0.9: there is no such key, only game, options, pay"),
    (part("network", layers=2), "network.layers is 2: there is no such key, only enc"),
    ({"hyperparameters": [1.0]}, "hyperparameters is [1.0]: an object is needed"),
]


@pytest.mark.parametrize(("record", "message"), BAD)
def test_bad_values_are_named_in_one_line(record, message):
    with pytest.raises(InputError) as error:
        RunConfig.from_json(record)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RunConfig(num_games=0), "num_games is 0: at least 1"),
        (lambda: RunConfig(policy="lstm"), "policy is 'lstm': one of tabular"),
        (lambda: RunConfig(network=3), "network is 3: an object is needed"),
        (lambda: NetworkConfig(heads=0), "heads is 0: at least 1"),
        (lambda: Opponents(current=1.5), "current is 1.5: a number in [0, 1]"),
        (lambda: Replay(8, 8), "capacity is 8: more than the 8 games"),
        (
            lambda: Hyperparameters(beta=math.nan),
            "beta is nan: a number in [-1e+06, 1e+06]",
        ),
        (lambda: Sweep(past=("bright",)), "past has 'bright': one of disc"),
        (lambda: Final(exploration=2.0), "exploration is 2.0: a number in [0, 1]"),
        (
            lambda: dataclasses.replace(RunConfig(), num_games=5, group_size=2),
            "group_size is 2: a divisor of the 5 games",
        ),
    ],
)
def test_the_same_in_python(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)


def test_the_last_seeds():
    config = RunConfig(seeds=1, first_seed=2**32 - 1)
    assert config.seed_list == [2**32 - 1]


def test_what_a_record_lacks_has_its_default():
    record = {"beta": 2.0, "network": {"heads": 2}, "hyperparameters": {"beta": 3}}
    del record["beta"]
    config = RunConfig.from_json(record)
    assert config == RunConfig(
        network=NetworkConfig(heads=2), hyperparameters=Hyperparameters(beta=3.0)
    )


PAST_SELVES = Opponents(capacity=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "chess"}, "game is 'chess': one of ipd"),
        ({"options": ("continuation",)}, "options has 'continuation': name=value is"),
        ({"options": ("=1",)}, "options has '=1': name=value is needed"),
        (
            {"options": ("width=4",)},
            "options has width=4: game 'ipd' has no such option, only",
        ),
        (
            {"game": "coin", "options": ("width=x",)},
            "options has width=x: a whole number is",
        ),
        ({"options": ("ends=no",)}, "options has ends=no: true or false is needed"),
        (
            {"options": ("reward=nan",)},
            "options has reward=nan: a finite number is needed",
        ),
        (
            {"options": ("reward=1", "reward=2")},
            "options has reward twice: once is needed",
        ),
        (
            {"game": "harvest", "options": ("view=1,2",)},
            "options has view=1,2: 4 values with commas between them are needed",
        ),
        (
            {"game": "coin", "payoff": "[[[1,2],[3,4]],[[1,2],[3,4]]]"},
            "payoff is '[[[1,2],[3,4]],[[1,2],[3,4]]]': none is needed with game",
        ),
        (
            {"payoff": "{}"},
            "payoff is '{}': nested lists of numbers, or a .json or .npy",
        ),
        ({"payoff": "[[[1e300]]]"}, "payoff is '[[[1e300]]]': finite numbers of float"),
        (
            {"game": "coin", "options": ("width=2.5",)},
            "options has width=2.5: a whole number",
        ),
        ({"options": ("num_steps=5",)}, "options has num_steps=5: num_steps of"),
        (
            {"payoff": "[[[1,2],[3,4]],[[1,2],[3,4]]]", "options": ("width=4",)},
            "options has width=4: game 'ipd' has no such option, only ends, ",
        ),
        ({"options": ("continuation=2",)}, "continuation is 2.0: a probability in"),
        (
            {"game": "negotiation", "policy": "mlp", "algorithm": "loqa"},
            "algorithm is 'loqa': a game of few actions is needed",
        ),
        ({"game": "negotiation"}, "policy is 'tabular': 'mlp' or 'gru' is needed"),
        (
            {"game": "negotiation", "options": ("proposals=discrete",)},
            "policy is 'tabular': 'mlp' or 'gru' is needed",
        ),
        (
            {"game": "public_goods", "algorithm": "lola"},
            "algorithm is 'lola': a game of two is needed, and 'public_goods' has 3",
        ),
        (
            {"algorithm": "lola_exact", "policy": "mlp"},
            "algorithm is 'lola_exact': a tabular policy of a matrix game is needed",
        ),
        (
            {"opponents": PAST_SELVES, "parameters": "separate"},
            "opponents.capacity is 4: 0 is needed where every seat learns on its own",
        ),
        (
            {"opponents": PAST_SELVES, "algorithm": "lola"},
            "opponents.capacity is 4: 0 is needed where every seat learns on its own",
        ),
        (
            {"opponents": PAST_SELVES, "options": ("continuation=0.9",)},
            "opponents is Opponents(capacity=4",
        ),
        (
            {"opponents": Opponents(capacity=4, seats=2)},
            "opponents.seats is 2: fewer than the 2 seats are needed",
        ),
        (
            {"game": "harvest", "policy": "mlp", "options": ("view=(4,1,3,3)",)}
            | {"network": NetworkConfig(channels=(2, 2, 2))},
            "network.channels is (2, 2, 2): at most 2 numbers are needed for planes "
            "of 6 x 7 cells",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named_in_one_line(options, message):
    config = RunConfig(**options)
    with pytest.raises(ValueError) as error:
        make_trainer(config)({})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_options_of_a_environment_are_numbers_or_words():
    env = make_env(
        RunConfig(
            game="coin",
            options=("width=4", "gain=0.5", "coins=each"),
            num_steps=6,
        )
    )
    assert isinstance(env, CoinGame)
    assert (env.width, env.height, env.coins, env.num_steps) == (4, 3, "each", 6)
    np.testing.assert_allclose(env.gain, 0.5)
    assert make_env(RunConfig(game="coin", num_steps=9)).num_steps == 9


@pytest.mark.parametrize("proposals", ["binned", "normal"])
@pytest.mark.parametrize("explore", ["soft", "greedy"])
def test_real_numbers_are_drawn_and_explored_as_asked(proposals, explore):
    """All of it at random: that is in log π, or in play alone."""
    config = RunConfig(
        game="negotiation",
        policy="mlp",
        hidden_size=4,
        proposals=proposals,
        explore=explore,
        num_bins=3,
    )
    env = make_env(config)
    policy = make_policy(config, env, 1.0)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), "f"), shapes)
    observation = jnp.ones((50, 2, *env.observation_shape))
    output = jax.jit(policy.act)(params, jax.random.key(1), observation, {})
    assert output.action.shape == (50, 2, 3)
    assert np.min(output.action) >= 0 and np.max(output.action) <= 5
    levels = np.unique(output.action)
    if proposals == "binned":
        np.testing.assert_allclose(levels, [0, 2.5, 5])
    else:
        assert len(levels) > 250
    uniform = -3 * np.log(3 if proposals == "binned" else 5)
    is_uniform = np.allclose(output.log_prob, uniform, rtol=1e-4)
    assert is_uniform == (explore == "soft")


def test_hyperparameters_move_from_30_to_90_percent_of_a_run(monkeypatch):
    config = RunConfig(
        num_updates=100,
        hyperparameters=Hyperparameters(exploration=0.5, entropy_bonus=1.0),
        final=Final(exploration=0.1, entropy_bonus=0.4),
    )

    def show_hyperparameters(env, policies, learners, seats, **options):
        return Trainer(lambda key: learners[0], lambda state: (state, learners[0]))

    def learner(parts, policy, seats):
        return policy, parts.hyperparameters

    shown = Algorithm("shown", "Shows what it is built from.", learner=learner)
    monkeypatch.setitem(ALGORITHMS, config.algorithm, shown)
    monkeypatch.setattr(
        assemble, "make_policy", lambda config, env, epsilon, i: epsilon
    )
    monkeypatch.setattr(assemble, "self_play", show_hyperparameters)
    trainer = make_trainer(config)({"beta": 7.0})
    assert trainer.init(None)[0] == 0.5
    for done, exploration, entropy_bonus in [
        (0, 0.5, 1.0),
        (30, 0.5, 1.0),
        (45, 0.4, 0.85),
        (60, 0.3, 0.7),
        (90, 0.1, 0.4),
        (99, 0.1, 0.4),
    ]:
        state = types.SimpleNamespace(num_updates=jnp.int32(done))
        epsilon, hyperparameters = trainer.update(state)[1]
        np.testing.assert_allclose(epsilon, exploration, rtol=1e-6)
        np.testing.assert_allclose(
            hyperparameters["exploration"], exploration, rtol=1e-6
        )
        np.testing.assert_allclose(
            hyperparameters["entropy_bonus"], entropy_bonus, rtol=1e-6
        )
        assert hyperparameters["beta"] == 7.0
        assert hyperparameters["gamma"] == config.hyperparameters.gamma
