"""Configs of language models' runs: what they keep, and what they refuse."""

import dataclasses
import json
import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from reference import alignment

from aajax import schema
from aajax.dialogue.endpoints.api_config import Endpoints
from aajax.dialogue.play.seating import Seating
from aajax.dialogue.pocket import PocketConfig
from aajax.errors import InputError
from aajax.lm.model.lora import LoraConfig
from aajax.training.lm_assemble import adam, random_numbers
from aajax.training.lm_config import (
    Evaluation,
    LmConfig,
    LmPast,
    Lora,
    PastSelves,
    Speaking,
    Sweep,
    game_options,
    make_game,
    member_names,
)
from aajax.training.lm_iteration import shares
from aajax.training.lm_presets import LM_PRESETS

OWN = Path(__file__).parents[1] / "data" / "own_parts.py"
# Every field is something else than its default, in this or in OF_CRITIC.
ALL_SET = LmConfig(
    game="split",
    options=("num_rounds=3", "num_items=2"),
    prompts="short",
    model=Path("some/model"),
    pocket=PocketConfig(
        family="llama", vocab_size=300, hidden_size=16, layers=1, heads=1,
        text=Path("a.txt"), rules="trust-and-split", honesty=0.5,
        steps=3, batch=2, length=64,
        learning_rate=0.1, seed=1,
    ),
    system="Be brief.",
    dtype="bfloat16",
    algorithm="naive",
    beta=0.5,
    past="mean",
    past_gamma=0.8,
    gamma=0.7,
    baseline="critic",
    gae_lambda=0.6,
    reward_scale=5.0,
    num_matches=12,
    group_size=4,
    num_iterations=7, final_num_iterations=9,
    seating=Seating("alternate", 0.5, "group", 0.25),
    past_selves=PastSelves(every=3, most=5),
    guest="greedy",
    api=Endpoints(
        key_variable=None, concurrency=2, timeout=3.5, temperature=0.5, max_tokens=7,
        reasoning_effort="low", tries=1, max_requests=9, max_total_tokens=8,
    ),
    speaking=Speaking(0.5, 20, 2, 900, 64, 32),
    lora=Lora(2, 3.0, ("down", "query")),
    initial_adapter=Path("some/adapter"),
    learning_rate=0.1,
    final_learning_rate=0.05,
    critic_learning_rate=0.2,
    max_gradient_norm=0.3,
    ratio_cap=1.5,
    kl=0.01, kl_gradient="reverse", final_kl=0.001,
    entropy_bonus=0.02,
    final_entropy_bonus=0.01,
    num_microbatches=2,
    remat=True,
    data=2,
    fsdp=3,
    tensor=4,
    play_tensor=8,
    seed=5,
    save_every=6,
    matches_every=8,
    eval=Evaluation(6),
    chat_template="chatml",
    matmul_precision="bfloat16",
    seeds=2,
    sweep=Sweep(
        algorithm=("naive",), past=("mean",), baseline=("group",), beta=(1.0, 2.0),
        gamma=(0.5,), past_gamma=(0.5,), learning_rate=(0.1,), kl=(0.01,),
        entropy_bonus=(0.01,), reward_scale=(2.0,), group_size=(2, 6),
        past_share=(0.0, 1.0),
    ),
)  # fmt: skip
# What goes with the critic alone.
OF_CRITIC = dataclasses.replace(ALL_SET, sweep=Sweep(critic_learning_rate=(0.1,)))


def leaves(config, prefix=""):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


@pytest.mark.parametrize("config", [LmConfig(), ALL_SET, OF_CRITIC])
def test_a_config_round_trips_through_json(config):
    again = LmConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert hash(again) == hash(config)
    assert [type(x) for _, x in leaves(again)] == [type(x) for _, x in leaves(config)]


@pytest.mark.parametrize("preset", LM_PRESETS)
def test_presets_are_valid(preset):
    config = LM_PRESETS[preset][1]
    schema.check_all(config)
    assert LmConfig.from_json(config.to_json()) == config


def test_no_field_is_forgotten_here():
    default, *others = (dict(leaves(x)) for x in (LmConfig(), ALL_SET, OF_CRITIC))
    for name, value in default.items():
        assert any(other[name] != value for other in others), name


def test_parts_of_seats_of_a_game_of_three():
    config = LmConfig(game="public-goods", num_microbatches=48)
    assert config.num_seats == 3
    assert config == LmConfig(game="public-goods", num_microbatches=48)


def test_members_have_one_name_wherever_they_are_named_from(monkeypatch, tmp_path):
    """Folders are found again by the config, in which paths are absolute."""
    monkeypatch.chdir(OWN.parent)
    sweep = Sweep(past=("mean", f"{OWN.name}:halved"), beta=(0.1, 0.1000001))
    config = LmConfig(sweep=sweep)
    names = member_names(config)
    assert names[2:] == [
        "2_past_own_parts.py_halved_beta_0.1_seed_0",
        "3_past_own_parts.py_halved_beta_0.1_seed_0",
    ]
    record = json.loads(json.dumps(config.to_json()))
    monkeypatch.chdir(tmp_path)
    assert member_names(LmConfig.from_json(record)) == names
    # Of a name that no folder may have.
    long = Sweep(past=(f"{'x' * 250}.py:f", "mean"))
    assert member_names(LmConfig(sweep=long)) == ["member_0", "member_1"]
    # Of files of one name in two folders.
    (tmp_path / OWN.name).write_text(OWN.read_text())
    both = Sweep(past=(f"{OWN}:halved", f"{OWN.name}:halved"))
    assert member_names(LmConfig(sweep=both)) == [
        "0_past_own_parts.py_halved_seed_0",
        "1_past_own_parts.py_halved_seed_0",
    ]


def test_what_a_record_lacks_has_its_default():
    record = {"beta": 2.0, "speaking": {"max_tokens": 9}}
    expected = LmConfig(beta=2.0, speaking=Speaking(max_tokens=9))
    assert LmConfig.from_json(record) == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"bata": 1.0}, "bata is 1.0: there is no such key, only game, options, "),
        ({"lora": {"bata": 1}}, "lora.bata is 1: there is no such key, only rank, al"),
        ({"lora": None}, "lora is None: an object is needed"),
        ({"speaking": {"max_tokens": "9"}}, "speaking.max_tokens is '9': a whole numb"),
        ({"speaking": {"temperature": 0}}, "speaking.temperature is 0.0: a number ab"),
        ({"pocket": {"rules": "chess"}}, "pocket.rules is 'chess': one of split, trus"),
        ({"seating": {"past_share": 2}}, "seating.past_share is 2.0: a number in [0"),
        ({"model": 3}, "model is 3: a path is needed"),
        ({"options": {"a": 1}}, "options is {'a': 1}: a tuple (in JSON, a list) is"),
        ({"remat": 1}, "remat is 1: true or false is needed"),
    ],
)
def test_records_that_are_no_config(record, message):
    with pytest.raises(InputError) as error:
        LmConfig.from_json(record)
    assert str(error.value).startswith(message)


BAD = [
    ({"dtype": "float16"}, "dtype is 'float16': one of float32, bfloat16 is needed"),
    ({"algorithm": "aa"}, "algorithm is 'aa': one of naive, sum_of_rewards, advantage"),
    ({"past": "none"}, "past is 'none': one of discounted, strict, "),
    ({"baseline": "none"}, "baseline is 'none': one of group, batch, critic is"),
    *[
        ({name: value}, f"{name} is {value}: a number in [{low}, {high}] is needed")
        for name, low, high in [
            ("beta", "-1e+06", "1e+06"),
            ("past_gamma", "0", "1"),
            ("gamma", "0", "1"),
            ("gae_lambda", "0", "1"),
            ("learning_rate", "0", "1000"),
            ("critic_learning_rate", "0", "1000"),
            ("kl", "0", "1e+06"),
            ("entropy_bonus", "0", "1e+06"),
        ]
        for value in (-2e6, math.nan, math.inf)
    ],
    *[
        ({name: value}, f"{name} is {value}: a number above 0 is needed")
        for name in ("reward_scale", "max_gradient_norm", "ratio_cap")
        for value in (0.0, -1.0, math.nan)
    ],
    *[
        ({name: 0}, f"{name} is 0: at least 1 is needed")
        for name in ("num_matches", "group_size", "num_iterations", "num_microbatches")
    ],
    *[
        ({name: 0}, f"{name} is 0: at least 1 is needed")
        for name in ("data", "fsdp", "tensor", "save_every", "matches_every")
    ],
    ({"kl": 0.1, "final_kl": 0.2}, "final_kl is 0.2: a number from 0 to kl (0.1)"),
    (
        {"learning_rate": 0.1, "final_learning_rate": 0.2},
        "final_learning_rate is 0.2: a number from 0 to learning_rate (0.1)",
    ),
    (
        {"entropy_bonus": 0.1, "final_entropy_bonus": -1.0},
        "final_entropy_bonus is -1.0: a number in [0, 1e+06] is needed",
    ),
    ({"seed": -1}, "seed is -1: a whole number in [0, 2^32) is needed"),
    ({"seed": 2**32}, "seed is 4294967296: a whole number in [0, 2^32) is needed"),
    ({"group_size": 7}, "group_size is 7: a divisor of num_matches (64) is needed"),
    (
        {"sweep": Sweep(critic_learning_rate=(0.1, 0.2))},
        "baseline is 'group': 'critic' is needed with sweep.critic_learning_rate",
    ),
    ({"num_microbatches": 48}, "num_microbatches is 48: a divisor of the 128 seats"),
    (
        {"num_microbatches": 128, "game": "public-goods"},
        "num_microbatches is 128: a divisor of the 192 seats",
    ),
    (
        {"num_microbatches": 128, "seating": Seating("first")},
        "num_microbatches is 128: a divisor of the 64 seats",
    ),
]


@pytest.mark.parametrize(("options", "reason"), BAD)
def test_bad_values(options, reason):
    with pytest.raises(ValueError) as error:
        LmConfig(**options)
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)
    # Neither from a file.
    record = dataclasses.asdict(LmConfig()) | {
        name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
        for name, value in options.items()
    }
    with pytest.raises(ValueError) as error:
        LmConfig.from_json(record)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("part", "options", "reason"),
    [
        (Speaking, {"temperature": 0.0}, "temperature is 0.0: a number above 0 is"),
        (
            Speaking,
            {"temperature": math.nan},
            "temperature is nan: a number above 0 is",
        ),
        (Speaking, {"max_tokens": 0}, "max_tokens is 0: at least 1 is needed"),
        (Speaking, {"free_tries": -1}, "free_tries is -1: at least 0 is needed"),
        (Speaking, {"max_cache": 0}, "max_cache is 0: at least 1 is needed"),
        (Lora, {"rank": 0}, "rank is 0: at least 1 is needed"),
        (Lora, {"alpha": -1.0}, "alpha is -1.0: a number above 0 is needed"),
        (Lora, {"targets": ()}, "targets is (): at least 1 value is needed"),
        (Lora, {"targets": ("head",)}, "targets has 'head': one of query, key"),
        (Lora, {"targets": ("up", "up")}, "targets has 'up' twice: once is needed"),
        (PastSelves, {"every": -1}, "every is -1: at least 0 is needed"),
        (PastSelves, {"most": 0}, "most is 0: at least 1 is needed"),
    ],
)
def test_bad_parts(part, options, reason):
    with pytest.raises(ValueError) as error:
        part(**options)
    assert str(error.value).startswith(reason)


def test_what_becomes_of_a_config():
    assert ALL_SET.lora_config == LoraConfig(2, 3.0, ("down", "query"))
    assert ALL_SET.has_past_selves
    with pytest.raises(ValueError, match="past_selves.every is 0"):
        dataclasses.replace(ALL_SET, past_selves=PastSelves(0))
    assert not dataclasses.replace(ALL_SET, seating=Seating()).has_past_selves
    game = make_game(ALL_SET)
    assert (game.name, game.num_rounds) == ("split", 3)


def test_weights_fall_between_a_third_and_nine_tenths_of_a_run():
    falling = {"entropy_bonus": 0.4, "final_entropy_bonus": 0.1, "num_iterations": 100}
    config = LmConfig(kl=0.2, final_kl=0.0, **falling)
    for number, entropy, kl in ((0, 1, 1), (30, 1, 1), (60, 0.625, 0.5), (95, 0.25, 0)):
        expected = {"entropy": entropy, "kl": kl}
        assert shares(config, number) == pytest.approx(expected), number
    assert shares(LmConfig(kl=0.2), 95) == {"entropy": 1, "kl": 1}


@pytest.mark.parametrize("final", [None, 0.1])
def test_the_learning_rate_falls_likewise(final):
    """Adam's steps are as long as its rate where all gradients are the same."""
    config = LmConfig(
        learning_rate=0.4, final_learning_rate=final, num_iterations=100,
        max_gradient_norm=10.0,
    )  # fmt: skip
    optimizer = adam(config, config.learning_rate, config.final_learning_rate)
    weight = np.ones((), np.float32)
    state, steps = optimizer.init(weight), []
    for _ in range(96):
        step, state = optimizer.update(weight, state)
        steps.append(-float(step))
    expected = [0.4, 0.4, 0.4, 0.4] if final is None else [0.4, 0.4, 0.25, 0.1]
    found = [steps[number] for number in (0, 30, 60, 95)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("past", get_args(get_args(LmPast)[0]))
def test_credits_that_a_config_asks_for(past):
    advantage = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    config = LmConfig(past=past, past_gamma=0.8, beta=0.6)
    own = {
        "clipped": lambda a, gamma, last: np.clip(
            alignment.discounted_past(a, gamma, last), -1, 1
        )
    }
    reference = own.get(past) or getattr(alignment, f"{past}_past")
    expected = alignment.alignment_credit(advantage, 0.8, 0.6, reference)
    found = config.goal.credit(advantage)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(config.goal.share(advantage), advantage)


def test_credits_without_alignment():
    advantage = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    for algorithm, rewards in [
        ("naive", advantage),
        ("sum_of_rewards", [[3, 3], [8, 8]]),
    ]:
        goal = LmConfig(algorithm=algorithm).goal
        np.testing.assert_array_equal(goal.credit(advantage), advantage)
        np.testing.assert_array_equal(goal.share(advantage), rewards)


def test_options_of_a_game():
    words = ("num_messages=3", "upper_value=0.5", "messages=hands")
    found = game_options(LmConfig(game="trust-and-split", options=words))
    assert found == {"num_messages": 3, "upper_value": 0.5, "messages": "hands"}
    (payoff,) = game_options(LmConfig(options=("payoff=[[3,0],[5,1]]",))).values()
    np.testing.assert_array_equal(payoff, [[3, 0], [5, 1]])
    for word in ("rounds", "=3", "a b=3"):
        with pytest.raises(InputError, match=f"^options has '{word}': name=value is"):
            game_options(LmConfig(options=(word,)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"game": "go"}, "game is 'go': one of ipd, "),
        ({"options": ("bata=3",)}, "options has bata=3: game 'ipd' has no such option"),
        ({"options": ("wording=full",)}, "options has wording=full: game 'ipd' has no"),
        ({"options": ("name=ipd",)}, "options has name=ipd: game 'ipd' has no such op"),
        (
            {"options": ("num_rounds=2.5",)},
            "options has num_rounds=2.5: a whole number",
        ),
        ({"options": ("num_rounds=2", "num_rounds=3")}, "options has num_rounds twice"),
        ({"options": ("payoff=3",)}, "options has payoff=3: nested lists of numbers"),
        (
            {"options": ("payoff=[[1],[2,3]]",)},
            "options has payoff=[[1],[2,3]]: nested",
        ),
        ({"prompts": "rude"}, "prompts is "),
    ],
)
def test_games_that_cannot_be_made(changes, reason):
    with pytest.raises(ValueError) as error:
        make_game(LmConfig(**changes))
    assert str(error.value).startswith(reason)


def test_chance_of_an_iteration():
    def draws(**options):
        number = options.pop("number", 0)
        return random_numbers(LmConfig(**options), number).random(4).tolist()

    assert draws(seed=1) == draws(seed=1)
    others = [draws(), draws(seed=1), draws(number=1), draws(seed=1, number=1)]
    assert len(set(map(tuple, others))) == 4
