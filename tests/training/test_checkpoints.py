"""Checkpoints that were damaged after they had been written."""

import dataclasses
import functools
import json
import logging
import os
import random
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.errors import InputError
from aajax.training import RunConfig, checkpoint, metrics, sweep
from aajax.training import run as runs
from aajax.training.run import load, open_folder, train

SMALL = RunConfig(num_games=8, num_steps=4, num_updates=6, seeds=2)
STATE = {
    "weights": jnp.asarray(np.random.default_rng(0).normal(size=(40, 30)), jnp.float32),
    "counts": [jnp.arange(5), jnp.zeros(3)],
    "key": jax.random.key(0),
}


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    with pytest.MonkeyPatch.context() as patch:
        for module, name in [
            (runs, "make_trainer"),
            (runs, "_template"),
            (sweep, "advance"),
        ]:
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saves")
    checkpoint.save(folder, 1, STATE)
    later = {**STATE, "weights": STATE["weights"] + 1}
    checkpoint.save(folder, 2, later)
    return folder


def assert_same(left, right):
    for x, y in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def fill(path):
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))


DAMAGES = {"cut": cut, "flip": flip, "garbage": fill, "gone": Path.unlink}


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def largest(folder):
    """The file that holds most numbers."""
    return max(files_of(folder), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_damaged_the_one_before_is_read(two, tmp_path, caplog, damage):
    for number, path in enumerate(files_of(two / "2")):
        if damage == "gone" and path.name == checkpoint.DIGESTS:
            continue  # as in an older run: the files are whole
        folder = tmp_path / str(number)
        shutil.copytree(two, folder)
        DAMAGES[damage](folder / path.relative_to(two))
        caplog.clear()
        step, state = checkpoint.restore_latest(folder, STATE)
        assert step == 1, path
        assert_same(state, STATE)
        (line,) = caplog.messages
        assert line.startswith(f"checkpoint is {folder / '2'}: it is damaged (")
        assert line.endswith(f"); {folder / '1'} is used")
        assert "\n" not in line


@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
def test_without_digests_what_cannot_be_read_is_damaged(
    two, tmp_path, caplog, capfd, damage
):
    """Of a run that was made before they were noted."""
    for name in ("default/_METADATA", "default/manifest.ocdbt", "", "_CHECKPOINT"):
        folder = tmp_path / f"with-{name.replace('/', '-')}"
        shutil.copytree(two, folder)
        for step in ("1", "2"):
            (folder / step / checkpoint.DIGESTS).unlink()
        found = [x for x in files_of(folder / "2") if name and name in str(x)]
        DAMAGES["gone" if "_CHECK" in name else damage](
            found[0] if found else largest(folder / "2")
        )
        caplog.clear()
        step, state = checkpoint.restore_latest(folder, STATE)
        assert step == 1
        assert_same(state, STATE)
        assert len(caplog.messages) == 1 and "\n" not in caplog.messages[0]
    assert "tensorstore" not in capfd.readouterr().err.lower()


def test_what_is_no_checkpoint_of_this_run(two, tmp_path, capfd):
    other = {**STATE, "weights": jnp.zeros((3, 3))}
    reason = "it holds another state than this run has"
    for like in (other, {"weights": STATE["weights"]}):
        with pytest.raises(InputError) as caught:
            checkpoint.restore_latest(two, like)
        assert str(caught.value) == (
            f"checkpoints is {str(two)!r}: a whole checkpoint is needed, and there is "
            f"none ({two / '2'}: {reason}; {two / '1'}: {reason})"
        )
    assert capfd.readouterr().err == ""
    assert checkpoint.restore_latest(tmp_path / "none", STATE) is None
    assert not (tmp_path / "none").exists()


def test_a_state_may_be_refused(two, caplog):
    def fault(state):
        return "it is too large" if float(state["weights"].mean()) > 0.5 else None

    step, _ = checkpoint.restore_latest(two, STATE, fault)
    assert step == 1
    assert caplog.messages == [
        f"checkpoint is {two / '2'}: it is damaged (it is too large); {two / '1'} is "
        "used"
    ]


def test_what_is_left_of_a_step_is_replaced(two, tmp_path, caplog):
    shutil.copytree(two, tmp_path / "saves")
    folder = tmp_path / "saves"
    (folder / "4").mkdir()
    (folder / "7").write_text("a file")
    (folder / "3.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    fill(largest(folder / "2"))
    checkpoint.save(folder, 2, STATE)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    step, state = checkpoint.restore_latest(folder, STATE)
    assert step == 2
    assert_same(state, STATE)
    (folder / "0").mkdir()
    for step in (3, 4):
        checkpoint.save(folder, step, STATE)
    assert sorted(path.name for path in folder.iterdir()) == ["3", "4"]
    assert caplog.messages == []


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, caplog, capfd):
    """Of work that was given up nothing is printed."""
    resource = pytest.importorskip("resource")
    large = jnp.asarray(np.random.default_rng(0).normal(size=(6, 50_000)), jnp.float32)
    state = {str(i): row for i, row in enumerate(large)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            checkpoint.save(tmp_path, 1, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.strerror == "File too large"
    assert caught.value.filename == str(tmp_path / "1")
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == [] and capfd.readouterr().err == ""


def test_other_errors_of_threads_are_shown(monkeypatch, caplog):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)

    class Report:
        exc_value, object = RuntimeError("Event loop is closed"), None

    with checkpoint._without_echoes():
        sys.unraisablehook(Report)
        Report.exc_value = RuntimeError("something else")
        sys.unraisablehook(Report)
    assert shown == [Report]
    with checkpoint._without_echoes():
        logging.getLogger("asyncio").error("Task exception was never retrieved: mine")
    assert caplog.messages == ["Task exception was never retrieved: mine"]


def updates_of(folder):
    return [row["update"] for row in metrics.read_rows(folder / "metrics.jsonl")]


def test_a_run_goes_on_from_the_checkpoint_before(tmp_path, caplog):
    folder = tmp_path / "run"
    open_folder(folder, "test", SMALL, False)
    whole, _ = train(folder, SMALL)
    rows = (folder / "metrics.jsonl").read_text()
    newest = folder / "checkpoints" / "6"
    for damage in (fill, os.truncate, shutil.rmtree):
        if damage is fill:
            fill(largest(newest))
        elif damage is os.truncate:
            os.truncate(largest(newest), 10)
        else:
            shutil.rmtree(newest)
            newest.mkdir()
        caplog.clear()
        _, _, state = load(folder)
        assert int(state.num_updates.max()) == 5
        open_folder(folder, "test", SMALL, True)
        again, _ = train(folder, SMALL)
        assert_same(again, whole)
        assert [line.split(": it is damaged")[0] for line in caplog.messages] == [
            f"checkpoint is {newest}"
        ] * 2
        assert updates_of(folder) == list(range(1, 7))
        told = [json.loads(row) for row in rows.splitlines()]
        found = metrics.read_rows(folder / "metrics.jsonl")
        assert [row["reward"] for row in found] == [row["reward"] for row in told]
        assert checkpoint.restore_latest(folder / "checkpoints", whole)[0] == 6
    for path in (folder / "checkpoints").iterdir():
        fill(largest(path))
    with pytest.raises(InputError, match=r"^checkpoints is .*: a whole checkpoint is"):
        load(folder)
    with pytest.raises(InputError, match=r"^checkpoints is .*: a whole checkpoint is"):
        train(folder, SMALL)


def test_a_run_of_another_environment_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "run"
    open_folder(folder, "test", SMALL, False)
    train(folder, SMALL)
    other = dataclasses.replace(SMALL, game="public_goods", baseline="critic")
    with pytest.raises(InputError, match="it holds another state than") as caught:
        train(folder, other)
    assert "\n" not in str(caught.value)
