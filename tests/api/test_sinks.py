"""Rows of metrics in TensorBoard's files and in those of Weights & Biases, offline."""

import json

import jax
import numpy as np
import pytest

import aajax
from aajax import cli
from aajax.api.sinks import scalars
from aajax.errors import InputError

SMALL = {"num_games": 8, "num_steps": 4, "num_updates": 3, "seeds": 2}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        "aajax.api.small_training.evaluate_state",
        lambda config, state: [
            {
                "hyperparameters": {"beta": beta},
                "mean_reward": [0.0] * 2,
                "measures": {},
                "league": {},
            }
            for beta in config.sweep.beta or (1.0,)
        ],
    )
    monkeypatch.setattr("aajax.api.small_training.draw_figure", lambda folder: None)
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_numbers_have_flat_names():
    row = {"update": 3, "seconds": 1.5, "reward": [[1.0, None]], "loss": [[2.0, 3.0]]}
    assert scalars(row, [{"beta": 1.0}], [7, 8]) == {
        "reward/seed_7": 1.0,
        "loss/seed_7": 2.0,
        "loss/seed_8": 3.0,
    }
    row = {"update": 3, "reward": [[1.0], [float("nan")], [2.0]]}
    settings = [{"beta": 0.3, "past": past} for past in ("mean", "sign", "summed")]
    assert scalars(row, settings, [0]) == {
        "reward/beta_0.3/past_mean/seed_0": 1.0,
        "reward/beta_0.3/past_summed/seed_0": 2.0,
    }
    row = {"update": 3, "seconds": 1.0, "reward": 4.0, "kl": None}
    assert scalars(row, [{}], [0]) == {"reward": 4.0}


def events(folder):
    """(update, name) → number of TensorBoard's files, the last of each."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, place = path.read_bytes(), 0
        while place < len(content):
            size = int.from_bytes(content[place : place + 8], "little")
            event = Event.FromString(content[place + 12 : place + 12 + size])
            for value in event.summary.value:
                found[event.step, value.tag] = value.simple_value
            place += 12 + size + 4
    return found


def test_tensorboard_files_are_read_back(tmp_path):
    pytest.importorskip("tensorboardX")
    out = tmp_path / "run"
    run = aajax.train(
        "ipd", out=out, log=["tensorboard"], sweep={"beta": [0, 0.3]}, **SMALL
    )
    found = events(out / "tensorboard")
    for name in ("reward", "gradient_norm"):
        for k, beta in enumerate(("0", "0.3")):
            for seed in range(2):
                for u in range(3):
                    number = found[u + 1, f"{name}/beta_{beta}/seed_{seed}"]
                    expected = run.metrics[name][k, seed, u]
                    assert number == np.float32(expected)
    # A run that is extended goes on in the same place.
    words = ["--num-games", "8", "--num-steps", "4", "--num-updates", "4"]
    words += ["--seeds", "2", "--sweep.beta", "0", "0.3", "--out", str(out)]
    log = ["--resume", "--log", "tensorboard"]
    assert cli.main(["train", "ipd", *words, *log]) == 0
    steps = {step for step, _ in events(out / "tensorboard")}
    assert steps - {0} == {1, 2, 3, 4}


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    kept = []
    init = wandb.init

    def noted(**options):
        run = init(**options)
        log = run.log
        monkeypatch.setattr(
            run, "log", lambda data, step: (kept.append((step, data)), log(data, step))
        )
        return run

    monkeypatch.setattr(wandb, "init", noted)
    out = tmp_path / "run"
    run = aajax.train("ipd", out=out, log=["wandb"], **SMALL)
    assert [step for step, _ in kept] == [1, 2, 3]
    assert kept[2][1]["reward/seed_1"] == run.metrics["reward"][0, 1, 2]
    (file,) = (out / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.stat().st_size > 0
    assert (out / "wandb_id").read_text() in file.name


@pytest.mark.parametrize(
    ("log", "module", "package"),
    [("tensorboard", "tensorboardX", "tensorboardX"), ("wandb", "wandb", "wandb")],
)
def test_what_is_not_installed_is_named(log, module, package, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == module else find(name, *rest),
    )
    with pytest.raises(InputError, match=rf"{package} is not installed: pip install"):
        aajax.train("ipd", out=tmp_path / "run", log=[log], **SMALL)
    assert not (tmp_path / "run").exists()


def test_rows_are_strict_json_too(tmp_path):
    run = aajax.train("ipd", out=tmp_path / "run", **SMALL)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in lines] == [1, 2, 3]
