"""Runs that are damaged, in use, or have diverged, as a user meets them."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import aajax
from aajax import cli, files
from aajax.api import small_training
from aajax.errors import DivergenceError
from aajax.training import RunConfig, metrics, sweep
from aajax.training import run as runs
from aajax.training.run import hyperparameter_settings, opened

SMALL = ["--num-games", "8", "--num-steps", "4", "--num-updates", "3", "--seeds", "2"]


def evaluated(config, state):
    """As `evaluate` has it, without a game: a number for each seed is known."""
    numbers = [float(seed) for seed in config.seed_list]
    return [
        {
            "hyperparameters": hyperparameters,
            "mean_reward": list(numbers),
            "p_cooperate": {"start": list(numbers)},
            "measures": {"P(C | start)": list(numbers)},
            "league": {"always_defect": list(numbers)},
        }
        for hyperparameters in hyperparameter_settings(config)
    ]


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Numbers after training are made up, and programs are traced once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_training, "evaluate_state", evaluated)
        patch.setattr(sweep, "advance", functools.cache(sweep.advance))
        for name in ("make_trainer", "_template"):
            patch.setattr(runs, name, functools.cache(getattr(runs, name)))
        yield


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small finished run."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    with jax.numpy_dtype_promotion("standard"):
        assert cli.main(["train", "ipd", *SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """One in which the second of two seeds diverges; exit code and folder."""
    folder = tmp_path_factory.mktemp("lost") / "run"
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        poison(patch, [(0, 1)])
        code = cli.main(["train", "ipd", *SMALL, "--out", str(folder)])
    return code, folder


def poison(patch, lanes):
    """In the second update and later ones metrics of these lanes are NaN."""
    make = sweep.advance

    def advance(make_trainer, num_updates, *others):
        step = make(make_trainer, num_updates, *others)

        def run(hyperparameters, state):
            made = np.array(state.num_updates)
            state, numbers = step(hyperparameters, state)
            numbers = {name: np.array(x) for name, x in numbers.items()}
            for lane in lanes:
                if made[lane] >= 1:
                    numbers["policy_loss"][(slice(None), *lane)] = np.nan
            return state, numbers

        return run

    patch.setattr(sweep, "advance", advance)


def command(capsys, *arguments):
    """Exit code, and the lines on stderr."""
    code = cli.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err.splitlines()


def refused(capsys, *arguments):
    """The one line that a refused command prints on stderr."""
    code, lines = command(capsys, *arguments)
    assert code == 2 and len(lines) == 1
    return lines[0]


def damage(checkpoint):
    largest = max(checkpoint.rglob("*"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def strict(path):
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_every_command_steps_over_a_damaged_checkpoint(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    newest = run / "checkpoints" / "3"
    damage(newest)
    out = "--num-games", 2, "--scripted", "random", "--out", tmp_path / "league"
    for arguments in (
        ["league", run, *out],
        ["play", "ipd", "--seat", run, "tit_for_tat", "--pause", 0],
        ["train", "ipd", *SMALL, "--out", run, "--resume"],
    ):
        code, lines = command(capsys, *arguments)
        assert code == 0
        (line,) = lines
        assert line.startswith(
            f"aajax {arguments[0]}: checkpoint is {newest}: it is damaged (default/"
        )
        assert line.endswith(
            f" is cut or changed); {run / 'checkpoints' / '2'} is used"
        )
    # The damaged one was made again.
    assert command(capsys, "league", run, *out) == (0, [])
    for step in ("2", "3"):
        damage(run / "checkpoints" / step)
    for arguments in (
        ["league", run, *out],
        ["play", "ipd", "--seat", run, "tit_for_tat", "--pause", 0],
        ["train", "ipd", *SMALL, "--out", run, "--resume"],
    ):
        line = refused(capsys, *arguments)
        assert (
            f"checkpoints is {str(run / 'checkpoints')!r}: a whole checkpoint" in line
        )


def test_a_run_that_is_at_work_and_one_that_was_killed(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["ipd", *SMALL[:-4], "--num-updates", "1000000", "--seeds", "1"]
    words = [sys.executable, "-m", "aajax", "train", *options, "--out", str(out)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as worker:
        while not (out / "config.json").exists():
            assert worker.poll() is None
            time.sleep(0.05)
        held = f"out is {str(out)!r}: process {worker.pid} on "
        for more in ([], ["--resume"]):
            line = refused(capsys, "train", *options, "--out", out, *more)
            assert line.startswith(f"aajax train: {held}")
            assert line.endswith("; wait until it ends, or choose another")
        line = refused(capsys, "league", "--game", "ipd", "--out", out)
        assert line.startswith(f"aajax league: {held}")
        worker.send_signal(signal.SIGKILL)
    assert (out / files.LOCK).exists()
    record = strict(out / "config.json")
    preset, config = record.pop("preset"), RunConfig.from_json(record)
    with opened(out, preset, config, resume=True):
        line = refused(capsys, "train", *options, "--out", out, "--resume")
        assert f"process {os.getpid()} on " in line
    assert not (out / files.LOCK).exists()


def test_a_league_that_is_at_work(trained, tmp_path, capsys):
    out = tmp_path / "league"
    with files.locked(out / files.LOCK, "out"):
        for name, words in {
            "league": [trained],
            "league --text": ["random", "--game", "ipd"],
        }.items():
            line = refused(capsys, *name.split(), *words, "--out", out)
            assert line.startswith(
                f"aajax {name}: out is {str(out)!r}: process {os.getpid()} on "
            )
    assert not out.exists()
    # What a process leaves that was killed at once is no run and no league.
    out.mkdir()
    (out / files.LOCK).write_text("{")
    words = ["--num-matches", 2, "--options", "num_rounds=1", "--out", out]
    words = ["league", "--text", "random", "--game", "ipd", *words]
    assert command(capsys, *words) == (0, [])
    assert not (out / files.LOCK).exists()


def test_runs_of_one_name_are_told_apart(trained, tmp_path, capsys, monkeypatch):
    for name in ("pa/ipd", "pb/ipd", "tit_for_tat", "alone"):
        shutil.copytree(trained, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names = ["pa/ipd", "pb/ipd", "tit_for_tat", "alone"]
    options = ["--num-games", 2, "--scripted", "tit_for_tat", "--out", "league"]
    assert command(capsys, "league", *names, *options) == (0, [])
    table = strict(tmp_path / "league" / "league.json")
    run = f"{tmp_path.name}/tit_for_tat"
    assert table["players"] == ["pa/ipd", "pb/ipd", run, "alone", "tit_for_tat"]
    assert len(table["line_ups"]) == 25
    for line_up in table["line_ups"]:
        assert len(line_up["players"]) == 2

    (tmp_path / "link").symlink_to("alone")
    for one, other in [
        ("alone", "alone"),
        ("alone", "./alone/"),
        ("pa/../alone", "alone"),
        ("alone", "link"),
        ("alone", tmp_path / "alone"),
    ]:
        line = refused(capsys, "league", "pa/ipd", one, other, *options)
        assert line.startswith("aajax league: runs has ")
        assert line.endswith(": they are one, and each is needed once")


def test_a_seed_that_diverges_is_left_out(lost, tmp_path, capsys):
    code, run = lost
    assert code == 3
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.jsonl", "summary.json", "figure.png"),
        *("checkpoints", "diverged.json"),
    }
    summary = strict(run / "summary.json")
    assert [x["seed"] for x in summary["diverged"]] == [1]
    for numbers in (
        summary["mean_reward"],
        *summary["measures"].values(),
        *summary["league"].values(),
        *summary["p_cooperate"].values(),
    ):
        assert numbers == [0, None]
    for row in metrics.read_rows(run / "metrics.jsonl"):
        assert (row["reward"][0][1] is None) == (row["update"] >= 2)

    line = "seed 1 diverged at update 2: policy_loss is nan"
    arguments = ["train", "ipd", *SMALL, "--out", run, "--resume"]
    assert command(capsys, *arguments) == (
        3,
        [f"aajax train: {line}; means are over the others"],
    )
    assert cli.main([str(word) for word in arguments]) == 3
    printed = capsys.readouterr().out
    assert "1 of 2 seeds, after training" in printed
    assert "nan" not in printed and f"everything is in {run}/" in printed
    assert command(capsys, "plot", run, "--out", tmp_path / "figure.png") == (0, [])

    options = "--num-games", 2, "--scripted", "random", "--out", tmp_path / "league"
    assert command(capsys, "league", run, *options) == (
        0,
        [f"aajax league: {run}: {line}; it is left out"],
    )
    table = strict(tmp_path / "league" / "league.json")
    assert table["line_ups"][0]["players"] == ["run", "run"]
    # Its last good parameters can be looked at.
    seats = "--seat", f"{run}:1", "random", "--pause", 0
    assert command(capsys, "play", "ipd", *seats) == (0, [])

    record = strict(run / "config.json")
    preset, config = record.pop("preset"), RunConfig.from_json(record)
    shutil.copytree(run, tmp_path / preset)
    with pytest.raises(DivergenceError, match=f"{line}$"):
        aajax.train(
            config, name=preset, out=tmp_path / preset, resume=True
        ).raise_for_divergence()


def test_a_sweep_with_a_setting_of_which_nothing_is_left(tmp_path, capsys, monkeypatch):
    poison(monkeypatch, [(0, 0), (0, 1)])
    out = tmp_path / "sweep"
    arguments = ["train", "ipd", *SMALL, "--sweep.beta", 0, 1, "--out", out]
    code = cli.main([str(word) for word in arguments])
    printed = capsys.readouterr()
    assert code == 3
    named = "seed {} with beta=0 diverged at update 2: policy_loss is nan"
    assert printed.err.splitlines() == [
        *(f"aajax train: {named.format(i)}; all others go on" for i in (0, 1)),
        f"aajax train: {named.format(0)}; {named.format(1)}; means are over the others",
    ]
    assert "means over 2 seeds but those that diverged" in printed.out
    settings = strict(out / "summary.json")["settings"]
    assert settings[0]["mean_reward"] == [None, None]
    assert None not in settings[1]["mean_reward"]
    assert (out / "figure.png").exists()
    assert command(capsys, "plot", out) == (0, [])
    options = "--num-games", 2, "--scripted", "random", "--out", tmp_path / "league"
    code, lines = command(capsys, "league", out, *options)
    assert code == 0 and len(lines) == 2
    table = strict(tmp_path / "league" / "league.json")
    assert table["players"] == ["sweep, beta=1", "random"]


def test_a_run_of_one_seed_that_diverges_ends(tmp_path, capsys, monkeypatch):
    poison(monkeypatch, [(0, 0)])
    out = tmp_path / "run"
    arguments = ["train", "ipd", *SMALL[:-1], "1", "--out", out]
    for more in ([], ["--resume"]):
        code, lines = command(capsys, *arguments, *more)
        assert code == 3
        assert lines == [
            "aajax train: seed 0 diverged at update 2: policy_loss is nan; the state "
            f"after update 1 is kept in {out / 'checkpoints'}/"
        ]
    assert not (out / "summary.json").exists()
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["1"]
    seats = "--seat", out, "random", "--pause", 0
    line = (
        f"aajax play: {out}: it is unfinished, after 1 of 3 updates, and plays as it is"
    )
    assert command(capsys, "play", "ipd", *seats) == (0, [line])


def test_payoffs_that_overflow(tmp_path, capsys):
    payoff = "[[[3e38, 0], [3e38, 3e38]], [[3e38, 3e38], [0, 3e38]]]"
    arguments = ["--payoff", payoff, "--out", tmp_path / "run"]
    code, lines = command(capsys, "train", "ipd", *SMALL, *arguments)
    assert code == 3
    (line,) = lines
    assert "seed 0 diverged at update 1: " in line and "seed 1 diverged at" in line
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text


def test_experiments_lock_too(tmp_path):
    config = RunConfig(num_games=8, num_steps=4, num_updates=1, seeds=1)
    with (
        opened(tmp_path / "run", "run", config, resume=False),
        pytest.raises(ValueError, match=r"out is .*: process \d+ on "),
    ):
        aajax.train(config, name="run", out=tmp_path / "run", resume=True)
