"""`aajax export` and `aajax list NAME`."""

import csv
import json
import shutil

import jax
import pytest

import aajax
from aajax import cli, envs
from aajax.api.describe import describe, measure_names
from aajax.dialogue import registry
from aajax.errors import InputError

SMALL = {"num_games": 8, "num_steps": 4, "num_updates": 3, "seeds": 2}


@pytest.fixture(scope="module", autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "sweep"
    values = {"beta": (0.1, 0.3), "past": ("mean",)}
    return aajax.train("ipd", out=out, sweep=values, first_seed=5, **SMALL)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_per_setting_seed_and_update(sweep, tmp_path, capsys):
    assert cli.main(["export", str(sweep.folder), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {tmp_path / 'metrics.csv'}",
        f"wrote {tmp_path / 'summary.csv'}",
    ]
    found = rows(tmp_path / "metrics.csv")
    assert len(found) == 2 * 2 * 3
    assert {row["beta"] for row in found} == {"0.1", "0.3"}
    last = found[-1]
    assert [last[x] for x in ("setting", "beta", "past", "seed", "update")] == [
        *("1", "0.3", "mean", "6", "3")
    ]
    assert float(last["reward"]) == sweep.metrics["reward"][1, 1, 2]
    found = rows(tmp_path / "summary.csv")
    assert [(row["beta"], row["seed"]) for row in found] == [
        *(("0.1", "5"), ("0.1", "6"), ("0.3", "5"), ("0.3", "6"))
    ]
    for row, reward in zip(found, sweep.measures["P(C | CD)"].flat, strict=True):
        assert float(row["P(C | CD)"]) == reward


def test_an_unfinished_run_is_exported_as_far_as_it_is(sweep, tmp_path, capsys):
    shutil.copytree(sweep.folder, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["num_updates"] = 9
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    assert cli.main(["export", str(tmp_path / "run")]) == 0
    assert capsys.readouterr() == (
        f"wrote {tmp_path / 'run' / 'metrics.csv'}\n",
        f"aajax export: {tmp_path / 'run'}: it is unfinished, after 3 of 9 updates, "
        "and has no summary.csv yet\n",
    )


def test_a_league_is_a_line_per_line_up_and_seat(sweep, tmp_path):
    table = aajax.league([sweep, "grim"], num_games=2, out=tmp_path)
    (path,) = aajax.export(tmp_path)
    found = rows(path)
    assert len(found) == 2 * len(table["line_ups"]) == 2 * 9
    row = found[3]
    line_up = table["line_ups"][1]
    assert row["player"] == row["seat_1"] == line_up["players"][1]
    assert float(row["reward"]) == line_up["reward"][1]


def test_numbers_that_there_are_not_are_empty(sweep, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(sweep.folder, folder)
    (folder / "summary.json").unlink()
    lines = (sweep.folder / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in lines]
    lines[0]["reward"][0][1] = None
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    (path,) = aajax.export(folder)
    assert [row["reward"] == "" for row in rows(path)[:5]] == [
        *(False, False, False, True, False)
    ]


def test_a_run_is_exported_as_its_folder_is(sweep, tmp_path):
    paths = [aajax.export(run, tmp_path / "out") for run in (sweep, sweep.folder)]
    assert paths[0] == paths[1] and len(paths[0]) == 2


def test_pandas_may_be_missing(sweep, monkeypatch):
    monkeypatch.setattr("aajax.extras.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pandas is not installed: pip install 'aajax"):
        sweep.to_pandas()


@pytest.mark.parametrize("name", envs.names())
def test_every_environment_tells_what_it_accepts(name):
    found = describe(name)[0]
    spec = envs.find_spec(name)
    assert {option.name for option in found.options} == spec.options.keys()
    assert all(option.accepts for option in found.options)
    assert found.players == spec.player_names(spec.make())


def test_names_of_measures_are_those_of_the_summary(sweep):
    setting = sweep.summary["settings"][0]
    assert list(measure_names("ipd")) == list(setting["measures"])
    assert "apples per agent" in measure_names("harvest")


def test_defaults_are_those_of_the_constructor():
    (found,) = describe("coin")[:1]
    options = {option.name: option for option in found.options}
    assert options["height"].value == 3
    assert options["height"].accepts == "a whole number"


def test_list_names_options_players_and_measures(capsys):
    assert cli.main(["list", "ipd"]) == 0
    printed = capsys.readouterr().out
    headings = [x for x in printed.splitlines() if x.startswith(("env", "game", "pre"))]
    assert [x.split(":")[0] for x in headings] == [
        *("environment ipd", "game in words ipd", "preset ipd")
    ]
    assert "players: always_cooperate, always_defect, tit_for_tat" in printed
    assert "measures: P(C | start), P(C | CC)" in printed
    assert "continuation" in printed and "exploration" in printed


def test_games_in_words_and_presets_are_described():
    for name in registry.text_specs():
        (found,) = [x for x in describe(name) if x.kind == "game in words"]
        assert found.players and found.about
    (found,) = describe("lm-split")
    values = {option.name: option.value for option in found.options}
    assert values["speaking.max_tokens"] == 16


@pytest.mark.parametrize(
    ("name", "kind", "about"),
    [
        ("tit_for_tat", "scripted player", "Plays ipd, ipd_points, "),
        ("greedy", "scripted player", "Plays "),
        ("tabular", "learned policy", "A free probability for each last outcome."),
        ("lola_exact", "algorithm", "LOLA with exact values"),
        ("human", "player in words", "A person in the terminal."),
    ],
)
def test_all_that_is_listed_is_described(name, kind, about):
    (found,) = describe(name)
    assert found.kind == kind and about in found.about


def test_what_is_told_of_a_name_fits_a_terminal(capsys):
    for name in ("ipd", "negotiation", "tit_for_tat"):
        assert cli.main(["list", name]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_name_that_is_none_is_told_with_those_that_are_near():
    with pytest.raises(InputError, match="name is 'harvst': .* is harvest"):
        describe("harvst")
