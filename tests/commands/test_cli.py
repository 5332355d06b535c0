"""The command as a user meets it: what it leaves behind, and what it refuses."""

import errno
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

import aajax
from aajax import cli, files
from aajax.commands import bench, lm, wording
from aajax.training.metrics import read_rows

SMALL = ["--num-games", "8", "--num-steps", "4", "--num-updates", "4", "--seeds", "2"]


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


def refused(capsys, *arguments):
    """The one line that a refused command prints on stderr."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_training_leaves_a_complete_folder(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {
        *("config.json", "metrics.jsonl", "summary.json", "figure.png"),
        "checkpoints",
    }
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["preset"] == "ipd"
    assert summary["seeds"] == [0, 1]
    assert summary["wall_seconds"] > 0
    assert np.shape(summary["mean_reward"]) == (2,)
    assert -3 <= min(summary["mean_reward"]) <= max(summary["mean_reward"]) <= 0
    assert list(summary["p_cooperate"]) == ["start", "CC", "CD", "DC", "DD"]
    opponents = ["always_cooperate", "always_defect", "tit_for_tat", "random"]
    assert list(summary["league"]) == opponents
    for numbers in (*summary["p_cooperate"].values(), *summary["league"].values()):
        assert np.shape(numbers) == (2,)
    assert [row["update"] for row in read_rows(trained / "metrics.jsonl")] == [
        *range(1, 5)
    ]
    assert (trained / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_is_what_the_checkpoint_plays(trained):
    """P(C | outcome) of a memory-one policy is its table in the checkpoint."""
    from aajax.training.run import load

    _, _, state = load(trained)
    logits = state.learners[0].params["actor"][0]
    table = np.asarray(jax.nn.softmax(logits))[..., 0]  # [seeds, outcomes]
    summary = json.loads((trained / "summary.json").read_text())
    written = np.asarray(list(summary["p_cooperate"].values()))
    np.testing.assert_allclose(written.T, table, atol=1e-5)


def test_a_finished_run_is_resumed_to_the_same_summary(trained, capsys):
    before = json.loads((trained / "summary.json").read_text())
    arguments = ["train", "ipd", *SMALL, "--out", str(trained), "--resume"]
    assert cli.main(arguments) == 0
    after = json.loads((trained / "summary.json").read_text())
    del before["wall_seconds"], after["wall_seconds"]
    assert after == before


def test_a_sweep_reports_every_setting(tmp_path, capsys):
    out = tmp_path / "swept"
    sweep = ["--sweep.beta", "0", "3", "--sweep.gamma", "0.9"]
    assert cli.main(["train", "ipd", *SMALL, *sweep, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    hyperparameters = [setting["hyperparameters"] for setting in summary["settings"]]
    assert [name_["beta"] for name_ in hyperparameters] == [0, 3]
    assert [round(name_["gamma"], 3) for name_ in hyperparameters] == [0.9, 0.9]
    printed = capsys.readouterr().out
    assert "means over 2 seeds" in printed
    for column in ("beta", "gamma", "itself", "start", "DC", "random"):
        assert column in printed
    assert cli.main(["plot", str(out), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_of_a_language_models_run(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"measures": {}}))
    rows = [{"update": n, "reward": 60.0 + n, "entropy": 0.4} for n in range(3)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert cli.main(["plot", str(tmp_path)]) == 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_three_agents_with_their_own_parameters(tmp_path, capsys):
    out = tmp_path / "goods"
    options = ["--game", "public_goods", "--parameters", "separate", "--policy", "mlp"]
    assert cli.main(["train", "ipd", *SMALL, *options, "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["p_cooperate"]) == 1 + 2**3


def test_games_of_one_step(tmp_path, capsys):
    out = tmp_path / "once"
    options = ["--num-steps", "1", "--baseline", "critic", "--out", str(out)]
    assert cli.main(["train", "ipd", *SMALL, *options]) == 0
    summary = json.loads((out / "summary.json").read_text())
    start = summary["p_cooperate"].pop("start")
    assert 0 < min(start) <= max(start) < 1
    # Nobody answers an outcome: the game is over.
    assert list(summary["p_cooperate"].values()) == [[None, None]] * 4


def test_own_payoffs(tmp_path, capsys):
    payoff = tmp_path / "payoff.json"
    payoff.write_text("[[[3, 0], [5, 1]], [[3, 5], [0, 1]]]")
    out = tmp_path / "own"
    options = ["--payoff", str(payoff), "--out", str(out)]
    assert cli.main(["train", "ipd", *SMALL, *options]) == 0
    assert json.loads((out / "summary.json").read_text())["mean_reward"][0] >= 0


def test_league_plays_runs_and_scripted_players(trained, tmp_path, capsys):
    out = tmp_path / "league"
    arguments = ["--num-games", "8", "--out", str(out)]
    assert cli.main(["league", str(trained), *arguments]) == 0
    table = json.loads((out / "league.json").read_text())
    assert table["players"][0] == "small"
    assert len(table["line_ups"]) == len(table["players"]) ** 2
    rewards = {tuple(row["players"]): row["reward"] for row in table["line_ups"]}
    assert rewards["always_cooperate", "always_defect"] == [-3, 0]
    assert rewards["tit_for_tat", "always_defect"] == [-(3 + 3 * 2) / 4, -(3 * 2) / 4]
    assert (out / "league.png").read_bytes().startswith(b"\x89PNG")


def test_commands_of_commands_are_known():
    assert set(cli.SUBCOMMANDS["bench"]) == set(bench.OF_MODELS)
    assert set(cli.SUBCOMMANDS["lm"]) == set(lm.COMMANDS)
    assert set(cli.SUBCOMMANDS["wording"]) == set(wording.COMMANDS)
    assert cli.command_name(["league", "a", "--text"]) == "league --text"
    assert cli.command_name(["bench", "--only", "lm"]) == "bench"


def test_list_and_help_name_everything(capsys):
    assert cli.main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in ("ipd", "public_goods", "win_stay_lose_shift", "advantage_alignment"):
        assert name in listed
    assert cli.main(["train", "--help"]) == 0
    assert "ipd-naive" in capsys.readouterr().out
    assert cli.main([]) == 0
    assert "train" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"aajax {aajax.__version__}\n"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "ipd", "--help"])
    assert "--sweep.beta" in capsys.readouterr().out


def test_lines_begin_with_the_whole_command(tmp_path, capsys):
    assert cli.main(["lm", "import", "nowhere", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("aajax lm import: model is 'nowhere'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "command is 'trian': one of train"),
        (
            ["train", "idp"],
            "preset is 'idp': one of those that aajax train",
        ),
        (["train", "ipd", "--game", "chess"], "game is 'chess': one of ipd"),
        (["train", "ipd", "--seeds", "-1"], "seeds is -1: at least 1"),
        (["train", "ipd", "--first-seed", "-1"], "first_seed is -1"),
        (["train", "ipd", "--seeds", "many"], "seeds is 'many': a whole number of at"),
        (["train", "ipd", "--no-such"], "option is --no-such: there is none of that"),
        (["train", "ipd", "--policy", "lstm"], "policy is 'lstm': one of tabular, mlp"),
        (["train", "ipd", "--beta", "nan"], "beta is nan: a number"),
        (
            ["train", "ipd", "--sweep.gamma", "0.9", "2"],
            "sweep.gamma has 2.0: a number",
        ),
        (["train", "ipd", "--payoff", "[[1, 2], [3, 4]]"], "payoff has shape (2, 2)"),
        (["train", "ipd", "--payoff", "[[[1, 0], [2]]]"], "payoff is '[[[1, 0]"),
        (["train", "ipd", "--payoff", "none.npy"], "payoff is 'none.npy'"),
        (
            ["train", "ipd", "--payoff", "[[[1,0,2],[0,1,2]],[[1,0,2],[0,1,2]]]"],
            "'separate' is needed",
        ),
        (["train", "ipd", "--game", "matching_pennies"], "'separate' is needed"),
        (["league", "nowhere"], "run is 'nowhere': a folder with a run"),
        (["plot", "nowhere"], "run is 'nowhere': a finished run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


HELP = [
    *([], ["--help"], ["train"], ["train", "ipd", "--help"], ["train", "lm-ipd", "-h"]),
    *(["league", "--help"], ["league", "--text", "--help"], ["play", "--help"]),
    *(["plot", "--help"], ["transcript", "--help"], ["bench", "--help"], ["list"]),
    *(["bench", "lm", "--help"], ["lm", "--help"], ["lm", "dry-run", "--help"]),
    *(["lm", "pocket", "--help"], ["list", "--help"], ["wording"]),
    *(["wording", "copy", "--help"],),
]


def written(monkeypatch, encoding, arguments):
    """What a command writes on a strict terminal of an encoding; it must not fail."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    monkeypatch.undo()
    assert code == 0
    assert [stream.errors for stream in streams] == ["strict", "strict"]
    for stream in streams:
        stream.flush()
    return streams[0].buffer.getvalue().decode(encoding, errors="replace")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_in_any_encoding(monkeypatch, encoding, arguments):
    page = written(monkeypatch, encoding, arguments)
    assert "?" not in page
    # Choices of an option are one word, however many there are.
    lines = [x for x in page.splitlines() if not re.match(r"\s+--\S+ \{|usage", x)]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_commands_in_any_encoding(trained, tmp_path, monkeypatch, encoding):
    def run(*arguments):
        return written(monkeypatch, encoding, arguments)

    resume = ["train", "ipd", *SMALL, "--out", trained, "--resume"]
    assert "| reward with itself" in run(*resume)
    league = run("league", trained, "--num-games", "8", "--out", tmp_path / "league")
    assert (" +- " if encoding == "ascii" else " ± ") in league
    framed = [x for x in league.splitlines() if x[:1] in "+|"]
    assert len({len(x) for x in framed}) == 1
    assert "after 4 steps" in run("play", "ipd", "--seat", trained, "grim")
    assert "wrote" in run("plot", trained)
    assert "billion parameters" in run("lm", "dry-run", "qwen2.5-0.5b", "--batch", "1")
    odd = tmp_path / "μ漢\udcff"
    shutil.copytree(trained, odd)
    assert "wrote" in run("plot", odd)


def test_a_terminal_that_knows_ascii_alone():
    """As in a container or a job without a locale."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = "import sys; from aajax.cli import main; sys.exit(main(['list']))"
    process = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, **ascii_only},
    )
    assert process.returncode == 0
    assert process.stderr == b""
    assert b"| kind" in process.stdout and process.stdout.isascii()


def test_an_interrupt_during_imports_comes_after_them(monkeypatch, capsys):
    done = []

    def slow(name):
        signal.raise_signal(signal.SIGINT)
        done.append(name)  # unless it was interrupted
        return wording

    monkeypatch.setattr(cli.importlib, "import_module", slow)
    assert cli.main(["wording", "copy", "ipd"]) == 130
    assert done == ["aajax.commands.wording"]
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "aajax wording copy: interrupted.\n")


def test_a_folder_with_another_run_is_refused(trained, capsys):
    line = refused(
        *(capsys, "train", "ipd", *SMALL, "--beta", "2", "--out", trained, "--resume")
    )
    assert "hyperparameters.beta is 1.0 there and 2.0 here" in line
    assert "--resume" in refused(capsys, "train", "ipd", *SMALL, "--out", trained)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "run"
    assert str(tmp_path) in refused(capsys, "train", "ipd", *SMALL, "--out", out)


def test_a_full_disk_is_one_line_and_loses_nothing(
    trained, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "full"
    shutil.copytree(trained, out)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    before = (out / "metrics.jsonl").read_bytes()
    line = refused(capsys, "train", "ipd", *SMALL, "--out", out, "--resume")
    assert line.endswith(f"No space left on device: {out / 'metrics.jsonl'}")
    assert (out / "metrics.jsonl").read_bytes() == before


def test_a_checkpoint_that_does_not_fit_leaves_a_run_to_resume(tmp_path):
    """No file may grow beyond 3 KiB: a checkpoint does not fit, the config does."""
    out = tmp_path / "run"
    train = ["train", "ipd", *SMALL, "--out", str(out)]
    words = shlex.join([sys.executable, "-m", "aajax", *train])
    process = subprocess.run(
        ["bash", "-c", f"ulimit -f 3; exec {words}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.returncode == 2
    # Tensorstore's threads may have their say beside it.
    lines = process.stderr.splitlines()
    assert len([line for line in lines if line.startswith("aajax train: ")]) == 1
    assert cli.main([*train, "--resume"]) == 0
    assert len(read_rows(out / "metrics.jsonl")) == 4
