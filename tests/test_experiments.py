"""Experiments and notebooks use the public API, and nothing of the command line."""

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aajax.training import RunConfig
from aajax.training.lm_config import LmConfig
from aajax.training.run import open_folder

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path):
    if path.suffix == ".py":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    source = ["".join(x["source"]) for x in cells if x["cell_type"] == "code"]
    return "\n".join(re.sub(r"(?m)^[%!].*$", "", text) for text in source)


@pytest.mark.parametrize("path", [*EXPERIMENTS, *NOTEBOOKS], ids=lambda path: path.name)
def test_nothing_is_imported_from_commands(path):
    for node in ast.walk(ast.parse(code(path))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        assert not [name for name in names if name.startswith("aajax.commands")]


def test_bad_input_is_told_in_one_line(tmp_path):
    program = (
        "import runpy, sys\n"
        "sys.path.insert(0, eval(sys.argv[1])[0][0].rpartition('/')[0])\n"
        "for name, *words in eval(sys.argv[1]):\n"
        "    sys.argv = [name, *words]\n"
        "    try:\n"
        "        runpy.run_path(name, run_name='__main__')\n"
        "    except SystemExit as stopped:\n"
        "        print(stopped.code, flush=True)\n"
    )
    calls = {
        ("ipd.py", "--presets", "idp"): "presets has 'idp': one of ipd, ipd-critic, ",
        ("coin.py", "--presets", "ipd"): "presets has 'ipd': one of coin, coin-loqa, ",
        ("public_goods.py", "--presets", "ipd"): "presets has 'ipd': one of public-g",
        ("quarrels.py", "dove"): "run is 'dove': one of split or trust-and-split witho",
        ("quarrels.py", "words"): "run is 'words': one of split or trust-and-split wit",
        ("quarrels.py", "split"): "iterations is []: of those that split recorded (non",
        ("second_stage.py", "dove"): "run is 'dove': split or trust-and-split in words",
        ("second_stage.py", "split"): "run is 'split': several seeds of one setting",
        ("negotiation_changes.py", "--changes", "x"): "changes has 'x': one of none, ",
        ("coin.py", "--seeds", "x"): "seeds is 'x': a whole number is needed",
        ("harvest.py", "--preset", "ipd"): "preset is 'ipd': one of harvest-small, h",
        ("harvest.py", "--background", "3"): "background is 3: fewer than the 3 seat",
        ("harvest.py", "--nope"): "option is --nope: there is none of that name; ",
        ("exploitability.py", "nowhere"): "run is 'nowhere': a folder with a run is",
        ("ablation_ipd.py", "--sweep.beta", "x"): "sweep.beta has 'x': a number in ",
        ("ablation_lm.py", "--beta", "0", "x"): "beta has 'x': a finite number is nee",
        ("ablation_lm.py", "--games", "go"): "games has 'go': one of ipd, split, tru",
        ("text_games.py", "--seeds", "x"): "seeds has 'x': a whole number in [0, ",
        ("text_games.py", "--seeds", "1", "1"): "seeds has 1 twice: once is needed",
        ("real_model.py", "--seeds", "-1"): "seeds has -1: a whole number in [0, 2^3",
        ("real_model.py", "--part", "transfer", "--changes", "x"): "changes has 'x': s",
        ("ablation_lm.py", "--seeds", "0"): "seeds is 0: at least 1 is needed",
        ("learning_together.py", "a:b", "a:b"): "pairs has 'a:b' twice: once is need",
        ("all.py", "--only", "idp"): "only has 'idp': some of ipd, ipd-gru, ",
        ("all.py", "--only", "ipd", "ipd"): "only has 'ipd' twice: once is needed",
        ("all.py", "--quick", "--full"): "quick, full and only are given together: ",
        ("exploitability.py",): "runs is (): at least 1 value is needed",
        ("exploitability.py", "x", "--seeds", "0"): "seeds is 0: at least 1 is needed",
        ("exploitability.py", "words"): "run is 'words': one of small policies is ",
        ("exploitability.py", "dove"): "run is 'dove': one of ipd, coin, negotiation ",
        ("against_learners.py", "dove"): "run is 'dove': one of game 'ipd' with one ",
        ("learning_together.py", "--num-updates", "0"): "num_updates is 0: at least 1",
        ("learning_together.py", "--num-games", "0"): "num_games is 0: at least 1 is ",
        ("learning_together.py", "--first-seed", "-1"): "first_seed is -1: a whole nu",
        ("learning_together.py", "ipd:coin"): "pairs has 'ipd:coin': presets of one ",
        ("learning_together.py", "public-goods-3:public-goods-3"): (
            "pairs has 'public-goods-3:public-goods-3': presets of a game of two are "
        ),
        ("learning_together.py", "ipd-mfos:ipd-mfos"): (
            "pairs has 'ipd-mfos:ipd-mfos': presets of a game of two are needed, not "
        ),
        ("learning_together.py", "ipd:ipd-coala"): (
            "pairs has 'ipd:ipd-coala': algorithm is 'coala': one with a learner in "
        ),
        ("peers.py", "--repeats", "0"): "repeats is 0: at least 1 is needed",
        ("peers.py",): "pax and socialjax are not given: at least one is needed",
        ("peers.py", "--pax", "."): "pax is '.': a checkout with pax/envs/",
    }
    open_folder(tmp_path / "words", "lm-ipd", LmConfig(), False)
    open_folder(tmp_path / "split", "lm-split", LmConfig(game="split"), False)
    open_folder(tmp_path / "dove", "chicken", RunConfig(game="chicken"), False)
    words = [[str(ROOT / "experiments" / name), *rest] for name, *rest in calls]
    done = subprocess.run(
        [sys.executable, "-c", program, repr(words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    codes = [line for line in done.stdout.splitlines() if not line.startswith("|")]
    assert codes == ["2"] * len(calls)
    lines = done.stderr.splitlines()
    assert len(lines) == len(calls), lines
    for line, ((name, *_), message) in zip(lines, calls.items(), strict=True):
        assert line.startswith(f"{name}: {message}")


def test_the_leaderboard_has_every_claim(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    script = runpy.run_path(str(ROOT / "experiments" / "all.py"))
    board, table = script["Board"](), script["TABLE"]
    assert list(table) == list(script["RUNS"])
    rows = {claim: board.row(claim) for each in table.values() for claim, _, _ in each}
    claims = board.text.split("## Claims")[1].split("\nPublished figures")[0]
    assert len(rows) == len(re.findall(r"(?m)^\| [^c-]", claims))
    assert rows["IPD: naive learners"]["seeds"] == "100–109"
    before = board.text
    board.change("IPD: naive learners", {"ours": "x"})
    assert board.row("IPD: naive learners")["ours"] == "x"
    board.change("IPD: naive learners", {"ours": rows["IPD: naive learners"]["ours"]})
    assert board.text == before


def test_what_the_leaderboard_says_of_numbers(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    script = runpy.run_path(str(ROOT / "experiments" / "all.py"))
    # Student's interval: t of 3 degrees of freedom times the standard error.
    numbers = [-1.0, -2.0, -3.0, -4.0]
    half = 3.182446 * np.std(numbers, ddof=1) / 2
    assert script["mean"](numbers, 2) == f"−2.50 ± {half:.2f}"
    assert script["middle"](numbers, 1).startswith("−2.5 [")
    assert script["middle"]([-0.001] * 4, 2) == "0.00"
    assert script["mean"]([0.5], 3) == "0.500"


def test_quarrels_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    script = runpy.run_path(str(ROOT / "experiments" / "quarrels.py"))
    # Two matches of four rounds, in which something is worth less to one at a time.
    asked = np.full((2, 4, 2), np.nan)
    asked[:, 0, 0] = 10
    asked[:, 1, 1] = 10
    asked[:, 2, 0] = 10, 0
    asked[:, 3, 1] = 0, 10
    before = script["_before"]
    other, own = before(asked[..., ::-1]), before(asked)
    assert np.array_equal(own[0, 3], [10, 10]) and np.array_equal(other[1, 3], [10, 0])
    advantages = np.zeros((2, 4, 2))
    advantages[:, 0] = -1
    advantages[:, 2, 0] = -2, 0.5
    advantages[:, 2, 1] = -2, 0.5
    rounds = script["Rounds"](asked, other, own, advantages, 5.0)
    # Of six of eight rounds five are followed by another, three of them by one like it.
    assert script["quarrels"](rounds) == ["0.75", "0.60", "1.00"]
    # Both took before round 2, where pasts are −.125: credits of −1.5 for 10 and .375
    # for 0; and before round 3 of the first match: 0 for 0. The mean for 0 is .1875.
    left, took = script["slopes"](rounds, "discounted", 0.5, 2.0)
    assert left == "" and took.startswith("−1.69 ± ")
