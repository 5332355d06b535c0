"""Runs of a tiny language model in Python: trained, loaded, extended."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from tiny_speech import LORA, tiny_folder

import aajax
from aajax.api import lm_training
from aajax.dialogue.play.seating import Seating
from aajax.errors import InputError
from aajax.training import lm_presets, lm_probe
from aajax.training.lm_assemble import assemble
from aajax.training.lm_config import Evaluation, LmConfig, Lora, PastSelves, Speaking
from aajax.training.lm_presets import LM_PRESETS


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    with (
        pytest.MonkeyPatch.context() as patch,
        jax.numpy_dtype_promotion("standard"),
    ):
        patch.setattr("aajax.api.lm_training._draw_figure", lambda folder, title: None)
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return LmConfig(
        model=tiny_folder(tmp_path_factory.mktemp("model") / "tiny"),
        options=("num_rounds=2",),
        prompts="short",
        speaking=Speaking(max_tokens=8),
        lora=Lora(LORA.rank, LORA.alpha, LORA.targets),
        reward_scale=5.0,
        num_matches=4,
        group_size=2,
        num_iterations=2,
        seating=Seating("alternate", past_share=0.7),
        past_selves=PastSelves(every=1, most=4),
        learning_rate=0.05,
        kl=0.01,
        save_every=2,
        eval=Evaluation(matches=2),
        seed=11,
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return aajax.train(config, name="lm-tiny", out=out)


def same_rows(run, other):
    """Whether two runs measured the same, but for the time that it took."""

    def rows(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [
            {name: x for name, x in json.loads(line).items() if "seconds" not in name}
            for line in lines
        ]

    return rows(run.folder) == rows(other.folder)


def test_what_a_folder_holds_is_seen_before_a_model_is_read(config, run, monkeypatch):
    def read(*_):
        raise AssertionError("a model is read")

    monkeypatch.setattr(lm_training, "assemble_population", read)
    other = dataclasses.replace(config, beta=9.0)
    with pytest.raises(InputError, match="it holds another run .*beta"):
        aajax.train(other, name="lm-tiny", out=run.folder)
    with pytest.raises(InputError, match="it holds this run already"):
        aajax.train(config, name="lm-tiny", out=run.folder)
    nobody = dataclasses.replace(config, chat_template="")
    with pytest.raises(InputError, match="chat_template is '': one of chatml, "):
        aajax.train(nobody, name="lm-tiny")


def left_open(config, **changes):
    speaking = dataclasses.replace(config.speaking, free_tries=None)
    return dataclasses.replace(config, speaking=speaking, **changes)


def test_free_answers_that_are_not_worth_it(config, run, tmp_path, monkeypatch, caplog):
    """All is as without any, and stays so when the run goes on."""
    monkeypatch.setattr(lm_probe, "WORTH", 1.1)
    out = tmp_path / "run"
    half = aajax.train(left_open(config, num_iterations=1), name="lm-tiny", out=out)
    told = [text for text in caplog.messages if text.startswith("answers that were")]
    assert told == [
        "answers that were valid without the grammar: 8 of 8 (choice); "
        "speaking.free_tries is 0 in this run"
    ]
    assert half.config.speaking.free_tries == 0
    assert json.loads((out / "free_answers.json").read_text()) == {
        "answers": {"choice": 8},
        "valid": {"choice": 8},
    }
    assert json.loads((out / "config.json").read_text())["speaking"]["free_tries"] == 0
    caplog.clear()
    again = aajax.train(left_open(config), name="lm-tiny", out=out, resume=True)
    assert not any(text.startswith("answers that were") for text in caplog.messages)
    assert again.config.speaking.free_tries == 0
    assert same_rows(run, again)
    with pytest.raises(InputError, match="holds this run already; continue it with"):
        aajax.train(left_open(config), name="lm-tiny", out=out)


def test_free_answers_that_are_worth_it(config, tmp_path):
    one = left_open(config, num_iterations=1, seating=Seating())
    run = aajax.train(one, out=tmp_path / "run")
    assert run.config.speaking.free_tries == 1
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    valid = row["valid_free_answers_choice"]
    assert valid == pytest.approx(1 - row["retried_answers"])
    assert 0.5 < valid < 1
    assert run.summary["training"]["valid_free_answers_choice"] == valid


def test_settings_of_a_pocket_model_for_a_large_one_are_told(
    config, run, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(lm_presets, "LEAST_CHAT", 1)
    one = dataclasses.replace(config, num_iterations=1)
    aajax.train(one, name="lm-ipd", out=tmp_path / "run")
    assert [text for text in caplog.messages if "pocket model" in text] == [
        f"model is {config.model} with 0 million parameters, and lm-ipd has the "
        "settings of a pocket model: --size smollm2 has some that fit"
    ]


def test_a_run_has_what_small_ones_have(run):
    assert isinstance(run, aajax.LmRun) and run.seeds == [11] and run.settings == [{}]
    assert run.metrics["entropy"].shape == (1, 1, 2)
    assert run.metrics["update"].tolist() == [1, 2]
    assert set(run.summary["measures"]) >= {"itself", "base"}
    (name, *_) = run.params
    assert name.startswith("base_model.model.") and run.adapter.is_dir()
    assert not run.diverged and run.raise_for_divergence() is run
    again = aajax.load(run.folder)
    assert again.config == run.config and again.summary == run.summary
    assert [row["update"] for row in again.rows()] == [1, 2]
    with pytest.raises(InputError, match="one of small policies is needed; that of a "):
        _ = run.policy
    with pytest.raises(InputError, match="language models meet in aajax league --text"):
        aajax.league([run])
    with pytest.raises(InputError, match="language models meet in aajax league --text"):
        aajax.play([run, "tit_for_tat"])


def test_it_is_evaluated_again_as_it_was(run):
    assert aajax.evaluate(run) == run.summary["measures"]


def test_a_finished_run_stays_as_it_is(run, config):
    before = (run.folder / "summary.json").read_bytes()
    again = aajax.train(config, name="lm-tiny", out=run.folder, resume=True)
    assert again.summary == run.summary
    assert (run.folder / "summary.json").read_bytes() == before


def test_another_run_begins_with_its_adapter(run, config):
    """By the run's folder as by that of the adapter in it."""
    weights = [
        assemble(dataclasses.replace(config, initial_adapter=folder))
        .init(jax.random.key(0))
        .policy.weights
        for folder in (run.folder, run.adapter)
    ]
    jax.tree.map(np.testing.assert_array_equal, *weights)
    assert any(np.any(x) for x in jax.tree.leaves(weights[0]))


def test_it_meets_others_in_a_league(run, tmp_path):
    players = [run, "base", "always_defect"]
    table = aajax.text_league(players, num_matches=2, out=tmp_path / "league")
    assert table["players"] == ["run", "base", "always_defect"]
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    assert rewards["always_defect", "always_defect"] == [1, 1]
    assert (tmp_path / "league" / "league.json").exists()
    (path,) = aajax.export(tmp_path / "league")
    assert "cooperation" in path.read_text().splitlines()[0].split(",")
    with pytest.raises(InputError, match="num_games is 2: there is no option of that "):
        aajax.text_league(players, num_games=2)
    with pytest.raises(
        InputError, match="player is 'nobody': one of always_cooperate, "
    ):
        aajax.text_league([run, "nobody"])


def test_it_is_exported(run, tmp_path):
    paths = aajax.export(run.folder, tmp_path)
    assert [path.name for path in paths] == ["metrics.csv", "summary.csv"]
    head, *lines = paths[0].read_text().splitlines()
    assert head.startswith("setting,seed,update,seconds,") and len(lines) == 2
    assert paths[1].read_text().startswith("seed,opposite,reward")


def test_it_is_extended_to_the_bit(run, config, tmp_path, caplog):
    whole = aajax.train(
        dataclasses.replace(config, num_iterations=4),
        name="lm-tiny",
        out=tmp_path / "a",
    )
    aajax.train(config, name="lm-tiny", out=tmp_path / "b")
    longer = aajax.load(tmp_path / "b").extend(4)
    assert same_rows(longer, whole) and not same_rows(longer, run)
    for name, array in whole.params.items():
        np.testing.assert_array_equal(longer.params[name], array)
    assert longer.summary["measures"] == whole.summary["measures"]
    assert not caplog.records


def test_a_schedule_stays_what_it_was(config, tmp_path, caplog):
    falling = dataclasses.replace(config, final_learning_rate=0.0, final_kl=0.0)
    longer = aajax.train(falling, name="lm-tiny", out=tmp_path / "a").extend(3)
    assert longer.config.final_num_iterations == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "final_learning_rate, final_kl: the schedule stays that of 2 iterations, and "
        "is not stretched over 3"
    )
    kept = dataclasses.replace(falling, num_iterations=3, final_num_iterations=2)
    whole = aajax.train(kept, name="lm-tiny", out=tmp_path / "b")
    assert same_rows(longer, whole)


def test_presets_take_options_by_the_command_lines_names():
    with pytest.raises(InputError, match="num_matchs is 3: .* is num_matches or "):
        aajax.train("lm-ipd", num_matchs=3)
    with pytest.raises(InputError, match="speaking.max_tokens is 0: at least 1 is "):
        aajax.train("lm-ipd", speaking={"max_tokens": 0})
    assert "lm-ipd" in LM_PRESETS


def test_an_adapter_that_is_cut_short(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    file = folder / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="run is .*safetensors cannot be read"):
        _ = aajax.load(folder).params
    file.unlink()
    with pytest.raises(InputError, match="run is .*an adapter_model.safetensors in it"):
        _ = aajax.load(folder).params


def test_metrics_of_another_shape(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    file = folder / "metrics.jsonl"
    for x in ([[1.0, 2.0]], [[1.0], [2.0, 3.0]], "many", {"a": 1}):
        file.write_text(json.dumps({"update": 1, "seconds": 1.0, "loss": x}) + "\n")
        with pytest.raises(InputError) as caught:
            _ = aajax.load(folder).metrics
        assert str(caught.value) == (
            f"file is {file}: loss has {x!r}: numbers of 1 settings with 1 seeds are "
            "needed"
        )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"measures": 5}, "measures is 5: an object is needed"),
        ({"measures": {"base": 5}}, "measures.base is 5: an object is needed"),
        ({"measures": {"base": {"reward": "x"}}}, "measures.base.reward is 'x': a "),
        ({"training": None}, "training is None: an object is needed"),
        ({"seed": "x"}, "seed is 'x': a whole number is needed"),
    ],
)
def test_summaries_that_are_none(run, tmp_path, changes, line):
    shutil.copytree(run.folder, tmp_path / "run")
    file = tmp_path / "run" / "summary.json"
    file.write_text(json.dumps({**run.summary, **changes}))
    with pytest.raises(InputError) as caught:
        aajax.export(tmp_path / "run")
    assert str(caught.value).startswith(f"file is {file}: {line}")
