"""Folders of earlier versions, whose options had other names, are read and go on."""

import json
import shutil
from pathlib import Path

import chex
import pytest

from aajax import cli
from aajax.dialogue.play.matches import load_matches
from aajax.report.results import read_summary
from aajax.training.lm_config import LmConfig
from aajax.training.run import load

FOLDER = Path(__file__).parent.parent / "data" / "before"
# Half of them by the names that there were when the folder was written.
WORDS = """train ipd --num-updates 4 --seeds 2 --num-games 16 --copies 2
  --options ends=true --sweep.beta 0 1 --sweep.lambda_ 0.5 0.9 --dice-lambda 0.8"""


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FOLDER / "ipd", tmp_path / "ipd"))


def rows(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: x for k, x in row.items() if k != "seconds"} for row in lines]


def same(actual, expected):
    """But for the last digits, which depend on the machine."""
    chex.assert_trees_all_close(actual, expected, rtol=1e-3, atol=1e-4)


def test_a_config_has_its_present_names(folder):
    _, config, _ = load(folder)
    assert (config.options, config.group_size) == (("ends=true",), 2)
    assert config.hyperparameters.dice_lambda == 0.8
    assert config.swept == {"beta": (0.0, 1.0), "gae_lambda": (0.5, 0.9)}


def test_a_run_goes_on_to_the_numbers_that_it_had(folder, capsys):
    """The folder was written by an uninterrupted run; its last checkpoint is gone."""
    before, summary = rows(folder), json.loads((folder / "summary.json").read_text())
    assert cli.main([*WORDS.split(), "--out", str(folder), "--resume"]) == 0
    told = capsys.readouterr().err
    assert "--copies is called --group-size now" in told
    assert "--sweep.lambda_ is called --sweep.gae-lambda now" in told
    same(rows(folder), before)
    settings = read_summary(folder)["settings"]
    values = {"beta": 1.0, "gae_lambda": 0.9}
    assert settings[3].pop("hyperparameters") == pytest.approx(values)
    assert set(summary["settings"][3].pop("knobs")) == {"beta", "lambda_"}
    same(settings[3], summary["settings"][3])


def test_another_run_is_told_by_its_present_names(folder, capsys):
    words = [*WORDS.replace("copies 2", "copies 4").split(), "--out", str(folder)]
    assert cli.main([*words, "--resume"]) == 2
    told = capsys.readouterr().err
    assert "another run (group_size is 2 there and 4 here)" in " ".join(told.split())


def test_a_summary_is_read(folder):
    assert [x["hyperparameters"]["beta"] for x in read_summary(folder)["settings"]] == [
        *(0.0, 0.0, 1.0, 1.0)
    ]
    assert cli.main(["plot", str(folder)]) == 0


def test_a_field_by_both_of_its_names_is_refused(folder, capsys):
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | {"group_size": 2}))
    assert cli.main(["league", str(folder)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "copies is 2: it is called group_size now, which is there too" in told


def test_a_run_in_words_is_read():
    record = json.loads((FOLDER / "lm-ipd" / "config.json").read_text())
    record.pop("preset")
    assert LmConfig.from_json(record | {"lambda_": 0.5}).gae_lambda == 0.5
    matches = list(load_matches(FOLDER / "lm-ipd/matches/iteration_000001.jsonl.gz"))
    assert len(matches) == 8
    assert len({match.env_seed for match in matches}) == 2
