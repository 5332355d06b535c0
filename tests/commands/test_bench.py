"""`aajax bench`: what it measures, in small, and what it says about it."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from aajax import cli
from aajax.bench import environments, timing, training
from aajax.commands import bench
from aajax.training.assemble import make_env, make_trainer, seat_groups

SMALL = {"num_games": 32, "num_steps": 4}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def check(result, unit, repeats=2):
    assert result["unit"] == unit
    assert len(result["all"]) == repeats
    assert min(result["all"]) > 0
    assert result["median"] == pytest.approx(np.median(result["all"]))
    assert result["first_run_seconds"] > 0


@pytest.mark.parametrize("name", ["ipd", "coin", "negotiation", "harvest"])
def test_environments_under_random_play(name):
    measure = getattr(environments, f"measure_{name}")
    check(measure(2, **SMALL), "env-steps/s")


@pytest.mark.parametrize("num_bits", [1, 2])
def test_random_actions_are_equally_frequent_and_independent(num_bits):
    num_games, num_actions = 8192, 2**num_bits
    actions = environments._random_bits(jax.random.key(0), num_games, num_bits)
    assert actions.shape == (2, num_games)
    joint = np.bincount(actions[0] * num_actions + actions[1])
    chance = num_actions**-2
    error = np.sqrt(num_games * chance * (1 - chance))
    assert len(joint) == num_actions**2
    assert (np.abs(joint - num_games * chance) < 4 * error).all()


@pytest.mark.parametrize("counts_agents", [False, True])
def test_training_in_small(counts_agents):
    config = dataclasses.replace(training.IPD, **SMALL)
    result = training._training(config, 2, 3, counts_agents)
    check(result, "agent-steps/s" if counts_agents else "env-steps/s")


@pytest.mark.parametrize(
    ("name", "num_learning", "actor", "critic"),
    [
        ("IPD", 2, 5 * 2, 0),
        # As published, but that our critic does not see the time.
        ("COIN", 1, 120_580, 31_684 - 64),
        ("COIN_POOL", 1, 120_580, 31_684 - 64),
        ("NEGOTIATION", 2, 55_622, 54_977),
        ("DISCRETE", 2, 2_905_618, 2_896_897),
    ],
)
def test_training_is_of_published_size(name, num_learning, actor, critic):
    config = getattr(training, name)
    trainer = make_trainer(config)({})
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    later, _ = jax.eval_shape(trainer.update, state)
    assert jax.tree.structure(later) == jax.tree.structure(state)
    params = state.learners[0].params
    assert sum(x.size for x in jax.tree.leaves(params["actor"])) == actor
    if critic:
        assert sum(x.size for x in jax.tree.leaves(params["critic"])) == critic
    assert len(seat_groups(config, make_env(config))[0]) == num_learning
    assert (state.pool is None) == (num_learning == 2)


@pytest.mark.slow
def test_harvest_is_trained_as_published():
    """Five present and two past selves, of three blocks of 192 units and four heads."""
    config = training.HARVEST
    trainer = make_trainer(config)({})
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    later, _ = jax.eval_shape(trainer.update, state)
    assert jax.tree.structure(later) == jax.tree.structure(state)
    assert seat_groups(config, make_env(config)) == [[0, 1, 2, 3, 4]]
    own, past = state.tables.memory
    # Its steps, and the observation after the last, which is valued.
    shape = config.num_games, 2, config.network.blocks, config.num_steps + 1, 192
    assert past["actor"].keys.shape == shape
    assert own["actor"].keys.shape == (6, 5, 3, 16, 192)
    assert jax.tree.leaves(state.pool.members)[0].shape[0] == 100


def test_how_long_a_run_would_take(monkeypatch):
    result = {"median": 100.0}
    monkeypatch.setattr(training, "_training", lambda *_, **__: result)
    config = dataclasses.replace(
        training.IPD, num_updates=3600, num_games=5, num_steps=100
    )
    note = training.measure_harvest(1, config)["note"]
    assert note == "5 h for 3600 updates"


def test_rates_are_steps_by_seconds():
    result = timing.rates([2.0, 1.0, 4.0], 8, "agent-steps/s", 3.0)
    assert result == {
        "unit": "agent-steps/s",
        "median": 4.0,
        "all": [4.0, 8.0, 2.0],
        "first_run_seconds": 3.0,
    }


def test_a_new_process_tells_its_own_peak_memory():
    held = np.ones(2**27)  # 1 GB here, of which the new process knows nothing
    measure = functools.partial(environments.measure_ipd, num_games=16, num_steps=2)
    result = timing.in_new_process(measure, 1)
    check(result, "env-steps/s", repeats=1)
    assert result["peak_bytes"] is None or 2**24 < result["peak_bytes"] < held.nbytes


def test_results_are_set_against_those_of_peers(monkeypatch, tmp_path, capsys):
    results = {
        "coin-env": {"unit": "env-steps/s", "median": 4.5e6, "peak_bytes": 2_500_000},
        "ipd-job": {"unit": "s", "median": 30.0, "peak_bytes": None},
        "harvest-train": {"unit": "env-steps/s", "median": 1.0, "peak_bytes": None},
    }
    results["harvest-train"]["note"] = "2 h for 3 updates"
    for result in results.values():
        result["all"] = [0.5 * result["median"], result["median"]]
    stub = {name: lambda repeats, r=result: r for name, result in results.items()}
    monkeypatch.setattr(bench, "MEASUREMENTS", stub)
    monkeypatch.setattr(bench, "in_new_process", lambda measure, n: measure(n))
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "new" / "bench.json"
    assert cli.main(["bench", "--only", *results, "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["results"] == results
    assert record["machine"]["packages"]["jax"] == jax.__version__
    printed = capsys.readouterr().out
    rows = {
        cells[0]: cells[1:]
        for line in printed.splitlines()
        if len(cells := [cell.strip() for cell in line.split("│")[1:-1]]) == 7
    }
    assert rows["coin-env"] == [
        *("env-steps/s", "4.5e+06", "2.25e+06 to 4.5e+06"),
        *("2.25e+06 (Pax)", "2x", "0.0025 GB"),
    ]
    assert rows["ipd-job"][-2:] == ["1e+02x", ""]  # 50 minutes against 30 s
    assert rows["harvest-train"][-3:] == ["", "", ""]
    assert "\nharvest-train: 2 h for 3 updates\n" in printed


def test_what_takes_minutes_is_measured_only_when_asked_for():
    assert set(bench.Options().only) == set(bench.MEASUREMENTS) - {*bench.SLOW}
    assert set(bench.PEERS) == set(bench.MEASUREMENTS)


def test_no_repeats_are_refused(capsys):
    assert cli.main(["bench", "--repeats", "0"]) == 2
    assert "repeats is 0: at least 1 is needed" in capsys.readouterr().err
