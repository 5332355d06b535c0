"""Presets by name, as `aajax train` lists and finds them."""

import pytest

from aajax import cli
from aajax.api.presets import make_config
from aajax.commands.presets import named, size_of
from aajax.training.lm_presets import (
    LM_PRESETS,
    MODELS,
    POCKET,
    PUBLISHED,
    SIZES,
    SMALL,
    VARIANTS,
    fitting_size,
)
from aajax.training.presets import PRESETS

BIG = "qwen2.5-7b"


def test_help_lists_every_preset_in_lines_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    variants = ["lm-GAME" if name == "aa" else f"lm-GAME-{name}" for name in VARIANTS]
    assert listed == [*PRESETS, *variants, *["--size"] * len(SIZES)]
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)
    for heading in ("ipd, or with --game another", "coin:", "harvest:"):
        assert any(line.startswith(heading) for line in lines)


@pytest.mark.parametrize(
    ("preset", "arguments", "found"),
    [
        ("ipd", [], "ipd"),
        ("ipd", ["--size", BIG], "ipd"),  # whose options have no such one
        ("lm-ipd", [], "lm-ipd"),
        ("lm-ipd-aa", [], "lm-ipd"),
        ("lm-split-aa-no-group", [], "lm-split-aa-no-group"),
        ("lm-ipd", ["--size", "None"], "lm-ipd"),
        ("lm-ipd", ["--size", BIG], f"lm-ipd-aa-{BIG}"),
        ("lm-ipd-aa", ["--beta", "1", f"--size={BIG}"], f"lm-ipd-aa-{BIG}"),
        ("lm-split-sum", ["--size", "x", "--size", BIG], f"lm-split-sum-{BIG}"),
        (f"lm-ipd-aa-{BIG}", ["--size", BIG], f"lm-ipd-aa-{BIG}"),
        ("lm-ipd", ["--size", "smollm2"], "lm-ipd-aa-smollm2"),
        ("lm-split-naive", ["--model", "smollm2"], "lm-split-naive-smollm2"),
        ("lm-ipd-aa", ["--model=smollm2"], "lm-ipd-aa-smollm2"),
        ("lm-ipd", ["--model", "smollm2", "--size", "None"], "lm-ipd"),
        ("lm-ipd", ["--model", "smollm2", "--size", BIG], f"lm-ipd-aa-{BIG}"),
        ("lm-ipd", ["--model", "smollm2", "--model", "folder"], "lm-ipd"),
        ("ipd", ["--model", "smollm2"], "ipd"),
    ],
)
def test_a_size_is_part_of_the_name(preset, arguments, found):
    assert named(preset, arguments) == found


def test_a_folder_that_is_called_like_a_model_is_any(tmp_path, monkeypatch):
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert named("lm-ipd", ["--model", "smollm2"]) == "lm-ipd"
    assert make_config("lm-ipd", {"model": "smollm2"})[0] == "lm-ipd"


def test_settings_that_come_with_a_model_are_told(caplog):
    assert named("lm-ipd", ["--model", "smollm2"]) == "lm-ipd-aa-smollm2"
    assert caplog.messages == [
        "lm-ipd --model smollm2 has the settings of --size smollm2; --size None keeps "
        "a pocket model's"
    ]
    caplog.clear()
    name, config = make_config("lm-ipd-naive", {"model": "smollm2", "beta": 2.0})
    assert name == "lm-ipd-naive-smollm2"
    assert (config.learning_rate, config.beta, config.prompts) == (2e-4, 2.0, "full")
    assert caplog.messages == [
        "lm-ipd-naive with model='smollm2' is lm-ipd-naive-smollm2"
    ]


def test_sizes_by_parameters():
    assert fitting_size(205_000) is None
    assert fitting_size(134_515_008) == "smollm2"
    assert fitting_size(7_000_000_000) == BIG


@pytest.mark.parametrize("game", POCKET)
def test_small_chat_models_learn_slowly(game):
    """What differs from a pocket model's settings is what goes with the size."""
    pocket, small = (LM_PRESETS[f"lm-{game}{x}"][1] for x in ("", "-aa-smollm2"))
    assert (small.prompts, small.dtype, small.learning_rate) == (
        "full",
        "float32",
        2e-4,
    )
    for name in ("beta", "reward_scale", "seating", "past_selves", "baseline"):
        assert getattr(small, name) == getattr(pocket, name)
    naive = LM_PRESETS[f"lm-{game}-naive-smollm2"][1]
    assert (naive.entropy_bonus, naive.final_entropy_bonus) == (0, None)
    assert naive.seating.learners == "both"
    assert naive.num_iterations == small.num_iterations // 2
    assert small.schedule_length == 80


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_every_size(variant, size):
    assert set(POCKET) == set(PUBLISHED)
    for game in PUBLISHED:
        preset = named(f"lm-{game}-{variant}", ["--size", size])
        model = size if size in SMALL else MODELS[size][0]
        assert str(LM_PRESETS[preset][1].model) == model
        assert size_of(preset) == size


def test_a_name_with_its_size_in_it_tells_the_present_form(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", f"lm-split-naive-{BIG}", "--help"])
    said = capsys.readouterr()
    assert said.err == (
        f"aajax train: lm-split-naive-{BIG} is now written lm-split-naive --size "
        f"{BIG}\n"
    )
    told = " ".join(said.out.replace("│", " ").split())
    assert f"(default: {BIG})" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lm-ipd", "--size", "huge"], "size is 'huge': one of smollm2, qwen2.5-7b, "),
        (["lm-ipd", "--size"], "size has no value: one of smollm2, qwen"),
        ([f"lm-ipd-aa-{BIG}", "--size", "qwen3-8b"], f"'qwen3-8b': '{BIG}' is needed"),
        (["ipd", "--size", BIG], "option is --size: there is none of that name"),
    ],
)
def test_sizes_that_there_are_not(arguments, message, capsys):
    assert cli.main(["train", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
