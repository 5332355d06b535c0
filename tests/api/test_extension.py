"""Runs that are extended, to the bit what they are if they are never stopped."""

import dataclasses
import functools
import shutil
import signal

import jax
import numpy as np
import pytest

import aajax
from aajax import cli
from aajax.errors import InputError
from aajax.training import Final, RunConfig, sweep
from aajax.training import run as runs
from aajax.training.run import open_folder, train

PLAIN = RunConfig(num_games=8, num_steps=4, num_updates=6, seeds=2)
SCHEDULED = dataclasses.replace(PLAIN, final=Final(exploration=0.0))
LONG = 30  # chunks of two updates, and a rest


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """Runs of one config and their continuations share their programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "advance", functools.cache(sweep.advance))
        for name in ("make_trainer", "_template"):
            patch.setattr(runs, name, functools.cache(getattr(runs, name)))
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        "aajax.api.small_training.evaluate_state",
        lambda config, state: [
            {
                "hyperparameters": {"beta": 1.0},
                "mean_reward": [float(config.num_updates)] * config.seeds,
                "measures": {},
                "league": {"always_defect": [0.0] * config.seeds},
            }
        ],
    )


def trained(folder, config, resume=False, **options):
    return train(folder, open_folder(folder, "ipd", config, resume), **options)[0]


def assert_same(left, right):
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The final state of an uninterrupted long run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with jax.numpy_dtype_promotion("standard"):
        return trained(folder, dataclasses.replace(PLAIN, num_updates=LONG))


def test_a_finished_run_is_extended_to_the_bit(whole, tmp_path):
    run = aajax.train(PLAIN, name="ipd", out=tmp_path / "run")
    assert run.summary["mean_reward"] == [6, 6]
    longer = run.extend(LONG)
    assert_same(longer.state, whole)
    assert (
        longer.config.num_updates == aajax.load(run.folder).config.num_updates == LONG
    )
    assert longer.summary["mean_reward"] == [LONG, LONG]
    assert longer.metrics["update"].tolist() == list(range(1, LONG + 1))


def test_an_extended_run_is_not_mixed_with_the_shorter_one(tmp_path):
    aajax.train(PLAIN, name="ipd", out=tmp_path / "run")
    run, other = aajax.load(tmp_path / "run"), aajax.load(tmp_path / "run")
    run.extend(8)
    assert run.metrics["update"].tolist() == list(range(1, 7))
    assert run.summary["mean_reward"] == [6, 6]
    assert np.all(run.state.num_updates == 6)
    for name in ("metrics", "summary", "params"):
        with pytest.raises(InputError, match="it was extended from 6 to 8 updates"):
            getattr(other, name)


@pytest.mark.slow
def test_an_interrupted_run_is_extended_to_the_bit(whole, tmp_path):
    def stop(done, row):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", PLAIN, on_chunk=stop)
    longer = dataclasses.replace(PLAIN, num_updates=LONG)
    assert_same(trained(tmp_path / "run", longer, resume=True), whole)


def test_a_schedule_stays_what_it_was(tmp_path, caplog):
    run = aajax.train(SCHEDULED, name="ipd", out=tmp_path / "run")
    assert not caplog.records
    longer = run.extend(12)
    (record,) = caplog.records
    assert record.getMessage() == (
        "final.exploration: the schedule stays that of 6 updates, and is not stretched "
        "over 12"
    )
    assert longer.config.final.num_updates == 6
    kept = dataclasses.replace(
        SCHEDULED,
        num_updates=12,
        final=dataclasses.replace(SCHEDULED.final, num_updates=6),
    )
    assert_same(longer.state, trained(tmp_path / "kept", kept))
    stretched = trained(
        tmp_path / "stretched", dataclasses.replace(SCHEDULED, num_updates=12)
    )
    with pytest.raises(AssertionError):
        assert_same(longer.state.learners, stretched.learners)
    # The same command again is the same run, and further.
    caplog.clear()
    again = aajax.train(
        dataclasses.replace(SCHEDULED, num_updates=12),
        name="ipd",
        out=tmp_path / "run",
        resume=True,
    )
    assert again.config == longer.config and not caplog.records


def test_the_command_extends(tmp_path, capsys):
    words = ["--num-games", "8", "--num-steps", "4", "--seeds", "1"]
    words = ["train", "ipd", *words, "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--num-updates", "2"]) == 0
    assert cli.main([*words, "--num-updates", "3"]) == 2  # without --resume
    assert "num_updates is 2 there and 3 here" in capsys.readouterr().err
    assert cli.main([*words, "--num-updates", "3", "--resume"]) == 0
    assert aajax.load(tmp_path / "run").metrics["update"].tolist() == [1, 2, 3]
    assert cli.main([*words, "--num-updates", "2", "--resume"]) == 2
    assert "num_updates is 3 there and 2 here" in capsys.readouterr().err


def test_other_options_do_not_change_on_the_way(tmp_path):
    run = aajax.train(PLAIN, name="ipd", out=tmp_path / "run")
    with pytest.raises(InputError, match="it holds another run .*beta is 1.0 there"):
        aajax.train(
            PLAIN, name="ipd", out=run.folder, resume=True, num_updates=12, beta=2
        )
    assert run.summary == aajax.load(run.folder).summary


def test_what_cannot_go_on_stays_as_it_is(tmp_path):
    """A finished run is never begun again, and its summary is kept."""
    run = aajax.train(PLAIN, name="ipd", out=tmp_path / "run")
    saves = run.folder / "checkpoints"
    files = {x: x.read_bytes() for x in run.folder.iterdir() if x.is_file()}
    for step in saves.iterdir():
        (step / "_CHECKPOINT_METADATA").unlink()
    with pytest.raises(InputError, match="a whole checkpoint is needed, and there is"):
        run.extend(8)
    shutil.rmtree(saves)
    for length in (6, 8):
        with pytest.raises(InputError, match=r"checkpoints/ is needed to go on"):
            run.extend(length)
    assert files == {x: x.read_bytes() for x in run.folder.iterdir() if x.is_file()}
