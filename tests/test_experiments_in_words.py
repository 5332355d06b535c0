"""Experiments with language models, whole, with a tiny model and a match or two."""

import importlib
import sys
from pathlib import Path

import jax
import pytest
from tiny_speech import LORA, tiny_folder

import aajax

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SHRUNK = {
    "prompts": "short",
    "options": ("num_rounds=1",),
    "num_iterations": 1,
    "num_matches": 4,
    "group_size": 2,
    "num_microbatches": 1,
    "lora": {"rank": LORA.rank, "targets": LORA.targets},
    "eval": {"matches": 2},
}


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    """Imports an experiment, whose runs are short and of a tiny model."""
    monkeypatch.syspath_prepend(ROOT / "experiments")
    model = tiny_folder(tmp_path / "tiny")
    train, text_league = aajax.train, aajax.text_league

    def train_shrunk(preset, **options):
        return train(preset, **options | SHRUNK, model=model)

    def league_of_tiny(players, **options):
        if "model" in options:
            options["model"] = model
        return text_league(players, **options)

    monkeypatch.setattr(aajax, "train", train_shrunk)
    monkeypatch.setattr(aajax, "text_league", league_of_tiny)
    before = set(sys.modules)
    with jax.numpy_dtype_promotion("standard"):
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(ROOT / "experiments") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def rows(capsys):
    """Counts the rows of the tables that were printed."""

    def count():
        lines = capsys.readouterr().out.splitlines()
        tables = sum(line.startswith("|---") for line in lines)
        return sum(line.startswith("|") for line in lines) - 2 * tables

    return count


def test_every_part_of_a_real_model(experiment, rows, tmp_path):
    program = experiment("real_model")

    def of(part, **options):
        program.main(
            program.Config(
                part, seeds=(100,), num_matches=2, out=tmp_path / "out", **options
            )
        )
        return rows()

    assert of("ipd") == len(program.KINDS)
    assert of("transfer", changes=("chicken",)) == 2
    assert of("league") == 6
    assert of("response") == len(program.KINDS)


def test_an_ablation(experiment, rows, tmp_path):
    program = experiment("ablation_lm")
    program.main(
        program.Config(
            games=("ipd",), beta=(0.0, 1.0), past_gamma=(0.5,), baseline=("group",),
            past=("strict", "inclusive"), seeds=2, out=tmp_path,
        )
    )  # fmt: skip
    settings, values = 2 * 2 * 2, 2 + 1 + 1 + 2 + 2
    assert rows() == settings + values


def test_games_with_a_pocket_model(experiment, rows, tmp_path):
    program = experiment("text_games")
    presets = "lm-ipd", "lm-ipd-naive"
    program.main(program.Config(presets, seeds=(100,), out=tmp_path))
    assert rows() == len(presets)


def test_a_second_stage(experiment, rows, tmp_path):
    program = experiment("second_stage")
    first = aajax.train("lm-split-aa-no-buffer", out=tmp_path / "first", seeds=2)
    config = program.Config(first.folder, out=tmp_path / "second")
    program.main(config)
    assert rows() == 3
    program.main(config)  # of what is there
    assert rows() == 3
