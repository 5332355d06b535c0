"""The README's examples do what it says."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from aajax.api import evaluation
from aajax.training import PRESETS

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
TREE = re.search(r"```\naajax/\n(.*?)```", README.read_text(), re.DOTALL).group(1)


@pytest.mark.optimised
def test_the_example_trains_tit_for_tat(capsys):
    example = EXAMPLES[1]
    assert len([line for line in example.splitlines() if line]) <= 12
    with jax.numpy_dtype_promotion("standard"):
        exec(example, {})
    numbers = re.findall(r"[\d.]+(?:e-\d+)?", capsys.readouterr().out)
    table = np.asarray(numbers, float).reshape(8, 5)
    start, both, exploited, exploiting, neither = table.T
    assert min(start.min(), both.min(), exploiting.min()) > 0.9
    assert max(exploited.max(), neither.max()) < 0.1


def test_runs_in_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "NUM_GAMES", 64)
    about, config = PRESETS["ipd"]
    fewer = dataclasses.replace(config, num_games=128)
    monkeypatch.setitem(PRESETS, "ipd", (about, fewer))
    names = {}
    with jax.numpy_dtype_promotion("standard"):
        exec(EXAMPLES[0], names)
    printed = capsys.readouterr().out
    assert printed.startswith("(1, 5, 100)\n")
    run, episodes = names["run"], names["episodes"]
    np.testing.assert_array_equal(episodes.trajectory.action[2:], 0)
    assert max(run.summary["p_cooperate"]["CD"]) < 0.1
    assert printed.rstrip().endswith("[[1]]")  # it defects after C D
    assert run.metrics["update"][-1] == 200
    players = names["table"]["players"]
    assert players == ["three", "tit_for_tat", "always_defect"]


def test_there_are_no_other_examples():
    assert len(EXAMPLES) == 2


def test_it_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_it_has_the_two_commands():
    commands = README.read_text().splitlines()
    assert "    pip install -e '.[all]' && aajax train ipd" in commands
    assert "    pip install -e '.[test]' && pytest" in commands


def test_the_tree_names_every_folder_and_nothing_else():
    root = README.parent
    inside, outside = [], []
    for line in TREE.splitlines():
        name = re.match(r"( *)(\w+)/ ", line)
        if name:
            (inside if name[1] else outside).append(name[2])
    folders = {
        path.name for path in (root / "aajax").iterdir() if any(path.glob("*.py"))
    }
    assert sorted(inside) == sorted(folders)
    assert all((root / name).is_dir() for name in outside)
    assert {"experiments", "docs", "notebooks", "tests"} == set(outside)


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text())
    local = [link for link in links if not link.startswith("http")]
    assert len(local) >= 5
    assert [link for link in local if not (README.parent / link).exists()] == []
