"""Runs over several devices are what they are on one."""

import json
import os
import subprocess
import sys

import pytest

from aajax.errors import InputError
from aajax.training.config import RunConfig
from aajax.training.layout import make_layout

PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
import jax, numpy as np
from aajax.training.config import RunConfig, Sweep
from aajax.training.layout import make_layout
from aajax.training.metrics import read_rows
from aajax.training.run import load_state, open_folder, train as train_in

folder = Path(sys.argv[1])
config = RunConfig(num_updates=6, num_games=16, num_steps=4, seeds=5)


def numbers(tree):
    for x in jax.tree.leaves(tree):
        is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        yield np.asarray(jax.random.key_data(x) if is_key else x).astype(float)


def train(name, resume=False, stop=lambda done, row: None, **changes):
    changed = dataclasses.replace(config, **changes)
    open_folder(folder / name, "ipd", changed, resume)
    state, _ = train_in(folder / name, changed, stop)
    rows = read_rows(folder / name / "metrics.jsonl")
    for row in rows:
        del row["seconds"]
    found = list(numbers(state)), [list(map(np.asarray, row.values())) for row in rows]
    loaded = numbers(load_state(folder / name, changed))
    assert all(map(np.array_equal, found[0], loaded))
    return found


def largest_error(run, one):
    pairs = zip(*map(jax.tree.leaves, (run, one)), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in pairs)


def stop(done, row):
    if done == 3:
        raise KeyboardInterrupt


one = train("one")
found = {"devices": len(jax.devices())}
for shard, others in {"seeds": 2, "games": 4}.items():
    options = {"devices": "all", "shard": shard}
    run = train(shard, **options)
    found[shard] = largest_error(run, one)
    layout = make_layout(dataclasses.replace(config, **options), 1)
    found[f"{shard} devices"] = len(layout.mesh.devices.flat)
    try:
        train(f"{shard} resumed", stop=stop, **options)
    except KeyboardInterrupt:
        pass
    resumed = train(f"{shard} resumed", True, shard=shard, devices=others)
    found[f"{shard} resumed"] = largest_error(resumed, run)
if "all" in sys.argv:
    sweep = {"sweep": Sweep(beta=(0.0, 1.0, 2.0)), "learner": "ppo"}
    one = train("one sweep", **sweep)
    found["sweep"] = largest_error(train("sweep", devices=8, **sweep), one)
    recurrent = {
        "policy": "gru", "baseline": "critic", "episode_steps": 9, "optimizer": "sgd"
    }
    one = train("one gru", **recurrent)
    for shard in ("seeds", "games"):
        run = train(f"gru {shard}", devices=8, shard=shard, **recurrent)
        found[f"gru {shard}"] = largest_error(run, one)
print(json.dumps(found))
"""


def run(folder, *what):
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *what],
        env={
            **os.environ,
            "XLA_FLAGS": flags,
            "JAX_PLATFORMS": "cpu",
            # A run that is resumed has the programs that it had.
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("devices"))


def test_seeds_of_several_devices_are_those_of_one(found):
    assert found["devices"] == 8
    assert found["seeds devices"] == 3  # two seeds each, of which one is there twice
    assert found["seeds"] == 0


def test_games_of_several_devices_are_those_of_one_but_for_rounding(found):
    assert found["games devices"] == 8
    assert 0 < found["games"] < 1e-5


def test_a_run_is_resumed_on_other_devices(found):
    assert found["seeds resumed"] == 0
    assert 0 < found["games resumed"] < 1e-5


@pytest.mark.slow
def test_so_are_sweeps_and_games_that_go_on(tmp_path):
    found = run(tmp_path, "all")
    assert found["sweep"] == 0
    # Layers that are wider are added up in another order.
    assert 0 < found["gru seeds"] < 1e-4
    assert 0 < found["gru games"] < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 2}, "devices is 2: at most 1, the number that there is, is"),
        ({"devices": 0}, "devices is 0: "),
    ],
)
def test_devices_that_there_are_not_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        make_layout(RunConfig(**options), 1)


def test_the_layout_of_one_device_is_none():
    layout = make_layout(RunConfig(devices="all", shard="games"), 1)
    assert (layout.mesh, layout.games, layout.lanes) == (None, None, (1, 10))
