"""Runs in a folder: resumed bit for bit, refused when they do not fit."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from aajax import envs, learners, nets, policies
from aajax.learners import advantages
from aajax.lm import compilation
from aajax.training import (
    Final,
    Hyperparameters,
    NetworkConfig,
    Opponents,
    Replay,
    RunConfig,
    Sweep,
    checkpoint,
    metrics,
    self_play,
    sweep,
)
from aajax.training import run as runs
from aajax.training.run import load, open_folder, train

SMALL = RunConfig(num_games=8, num_steps=4, num_updates=6, seeds=2)
RECURRENT = dataclasses.replace(
    SMALL,
    policy="gru",
    hidden_size=4,
    network=NetworkConfig(encoder_layers=0),
    baseline="critic",
)
SEPARATE = dataclasses.replace(SMALL, parameters="separate")
# Past selves, earlier games, a target critic and a hyper-parameter that moves, all at
# once.
PAST = dataclasses.replace(
    SMALL,
    algorithm="loqa",
    target_rate=0.1,
    opponents=Opponents(capacity=3, every=2, groups=4),
    replay=Replay(games=2, capacity=5),
    final=Final(exploration=0.1),
)
LOLA = dataclasses.replace(SEPARATE, algorithm="lola", optimizer="sgd")
EXACT_LOLA = dataclasses.replace(LOLA, algorithm="lola_exact")
SWEPT = dataclasses.replace(SMALL, sweep=Sweep(beta=(0.0, 1.0), gamma=(0.5, 0.9)))


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """Runs of one config and their continuations share their programs."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in [
            (runs, "make_trainer"),
            (runs, "_template"),
            (sweep, "advance"),
        ]:
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """`finished(config)`: the folder of an uninterrupted run, and its last state."""

    @functools.cache
    def finish(config):
        folder = tmp_path_factory.mktemp("runs") / "whole"
        return folder, run(folder, config)

    return finish


def run(folder, config, resume=False, **options):
    open_folder(folder, "test", config, resume)
    return train(folder, config, **options)[0]


def assert_same(left, right):
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def updates_of(folder):
    return [row["update"] for row in metrics.read_rows(folder / "metrics.jsonl")]


def stop_after(num_updates):
    """Sends this process Ctrl-C when so many updates have been made."""

    def on_chunk(done, row):
        if done == num_updates:
            signal.raise_signal(signal.SIGINT)

    return on_chunk


@pytest.mark.parametrize(
    "config",
    [
        *(SMALL, RECURRENT, SWEPT, PAST),
        *(
            pytest.param(config, marks=pytest.mark.slow)
            for config in (SEPARATE, LOLA, EXACT_LOLA)
        ),
    ],
)
def test_interrupted_and_resumed_is_uninterrupted(finished, tmp_path, config):
    _, whole = finished(config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", config, on_chunk=stop_after(3))
    assert updates_of(tmp_path / "parts")[-1] == 3
    parts = run(tmp_path / "parts", config, resume=True)
    assert_same(whole, parts)
    assert updates_of(tmp_path / "parts") == list(range(1, 7))
    assert_same(load(tmp_path / "parts")[2], whole)


@pytest.mark.slow
@pytest.mark.optimised
def test_programs_of_users_are_resumed_exactly_too(tmp_path):
    whole = run(tmp_path / "whole", RECURRENT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", RECURRENT, on_chunk=stop_after(3))
    assert_same(whole, run(tmp_path / "parts", RECURRENT, resume=True))


def test_killed_between_chunks_and_resumed_is_uninterrupted(finished, tmp_path):
    _, whole = finished(SMALL)
    program = (
        "import sys; from pathlib import Path\n"
        "from test_runs import SMALL, run\n"
        "run(Path(sys.argv[1]), SMALL,"
        " on_chunk=lambda done, row: print(done, flush=True))\n"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    # Programs of this process, which may not be written by two.
    programs = tmp_path / "programs"
    shutil.copytree(jax.config.jax_compilation_cache_dir, programs)
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "JAX_COMPILATION_CACHE_DIR": str(programs),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        for line in process.stdout:
            if int(line) == 2:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert 2 <= updates_of(tmp_path / "killed")[-1] < 6
    assert_same(run(tmp_path / "killed", SMALL, resume=True), whole)
    assert updates_of(tmp_path / "killed") == list(range(1, 7))


def test_half_written_checkpoints_are_never_picked_up(finished, tmp_path):
    folder, whole = finished(SMALL)
    shutil.copytree(folder, tmp_path / "run")
    saves = tmp_path / "run" / "checkpoints"
    # Cut short inside a step, and before orbax's closing rename.
    (saves / "7" / "default").mkdir(parents=True)
    (saves / "8.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    (saves / "9").mkdir()
    step, state = checkpoint.restore_latest(saves, whole)
    assert step == 6
    assert_same(state, whole)
    assert checkpoint.restore_latest(tmp_path / "none", whole) is None


def test_rows_that_a_crash_cut_short_or_left_ahead_are_dropped(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    metrics.append_rows(path, [{"update": 1}, {"update": 2}, {"update": 3}])
    with path.open("a") as file:
        file.write('{"update": 4, "rew')
    assert metrics.drop_rows_after(path, 2) == [{"update": 1}, {"update": 2}]
    assert metrics.read_rows(path) == [{"update": 1}, {"update": 2}]
    # Of who logs every third update none is missing.
    assert metrics.drop_rows_after(path, 4, every=3) and not caplog.messages
    assert metrics.drop_rows_after(path, 5, every=3)
    assert caplog.messages == [
        f"file is {path}: rows of updates 3 to 5 are missing, and stay so"
    ]


def test_a_sweep_equals_its_runs_one_by_one(finished, tmp_path):
    _, swept = finished(SWEPT)
    for k, (beta, gamma) in enumerate([(0, 0.5), (0, 0.9), (1, 0.5), (1, 0.9)]):
        hyperparameters = dataclasses.replace(
            SMALL.hyperparameters, beta=float(beta), gamma=gamma
        )
        alone = run(
            tmp_path / str(k),
            dataclasses.replace(SMALL, hyperparameters=hyperparameters),
        )
        for x, y in zip(
            jax.tree.leaves(swept.learners[0].params),
            jax.tree.leaves(alone.learners[0].params),
            strict=True,
        ):
            np.testing.assert_allclose(x[k], y[0], rtol=2e-3, atol=2e-3)


def test_seeds_are_reproducible_and_independent_of_their_company(finished, tmp_path):
    _, both = finished(SMALL)
    second = run(tmp_path / "second", dataclasses.replace(SMALL, seeds=1, first_seed=1))
    logits = both.learners[0].params["actor"]
    np.testing.assert_allclose(
        logits[0, 1], second.learners[0].params["actor"][0, 0], rtol=2e-3, atol=2e-3
    )
    assert not np.allclose(logits[0, 0], logits[0, 1], atol=1e-3)


def test_a_folder_that_does_not_fit_is_refused_and_left_alone(finished, tmp_path):
    shutil.copytree(finished(SMALL)[0], tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    other = dataclasses.replace(SMALL, hyperparameters=Hyperparameters(beta=3.0))
    with pytest.raises(
        ValueError, match=r"hyperparameters\.beta is 1\.0 there and 3\.0 here"
    ):
        open_folder(tmp_path / "run", "test", other, resume=True)
    with pytest.raises(ValueError, match="--resume"):
        open_folder(tmp_path / "run", "test", SMALL, resume=False)
    after = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert after == before

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="no run"):
        open_folder(tmp_path / "notes", "test", SMALL, resume=False)
    with pytest.raises(ValueError, match="no run to resume"):
        open_folder(tmp_path / "new", "test", SMALL, resume=True)
    assert not (tmp_path / "new").exists()


def test_games_that_end_by_chance_go_on_from_update_to_update(tmp_path):
    env = envs.make("ipd", num_steps=50, continuation=0.8)
    policy = policies.categorical_policy(nets.tabular(5, 2))
    objective = learners.naive(advantages.critic(0.9, 0.9))
    learner = learners.policy_gradient(policy, objective, optax.adam(0.1))
    trainer = self_play(env, [policy], [learner], [[0, 1]], num_games=16, num_steps=5)
    state = trainer.init(jax.random.key(0))
    times = []
    for _ in range(3):
        state, numbers = jax.jit(trainer.update)(state)
        times.append(np.asarray(state.tables.state.time))
        assert np.isfinite(numbers["reward"])
    assert max(times[-1]) > 5  # some game is older than one update
    assert min(times[-1]) < 15  # and some has begun again


def test_config_round_trips_through_json():
    record = json.loads(json.dumps(SWEPT.to_json()))
    assert RunConfig.from_json(record) == SWEPT


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds is 0: at least 1"),
        ({"seeds": -3}, "seeds is -3"),
        ({"first_seed": -1}, "first_seed is -1"),
        ({"num_games": 1}, "num_games is 1"),
        (
            {"num_games": 1, "baseline": "critic", "sweep": Sweep(baseline=("group",))},
            "num_games is 1: the group baseline compares at least 2 games",
        ),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"seeds": 2, "first_seed": 2**32 - 1}, "first_seed is 4294967295: at most"),
        ({"learner": "ppo", "num_games": 6}, "num_games is 6: a multiple of 4"),
    ],
)
def test_a_bad_config_names_argument_value_and_what_is_accepted(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hyperparameters(beta=float("nan")), "beta is nan: a number in"),
        (lambda: Hyperparameters(gamma=1.5), r"gamma is 1\.5: a number in \[0, 1\]"),
        (lambda: Sweep(exploration=(0.1, 2.0)), r"exploration has 2\.0"),
    ],
)
def test_so_do_its_parts(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_tells_what_it_compiles(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "PATIENCE", -1.0)
    told = set()
    with compilation.heard(lambda program, seconds: told.add(program)):
        run(tmp_path / "run", dataclasses.replace(SMALL, num_updates=1))
    assert told == {"1 update of 2 seeds"}


def test_the_largest_seeds_are_seeds(tmp_path):
    last = dataclasses.replace(SMALL, seeds=2, first_seed=2**32 - 2, num_updates=1)
    state = run(tmp_path / "both", last)
    one = dataclasses.replace(last, seeds=1, first_seed=2**32 - 1)
    logits = state.learners[0].params["actor"]
    alone = run(tmp_path / "one", one).learners[0].params["actor"]
    np.testing.assert_allclose(logits[0, 1], alone[0, 0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(logits[0, 0], logits[0, 1], atol=1e-3)
