"""Presets by name, as `aajax train` lists and finds them."""

import pytest

from aajax import cli
from aajax.commands.presets import named, size_of
from aajax.training.lm_presets import LM_PRESETS, MODELS, POCKET, PUBLISHED, VARIANTS
from aajax.training.presets import PRESETS

BIG = "qwen2.5-7b"


def test_help_lists_every_preset_in_lines_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    variants = ["lm-GAME" if name == "aa" else f"lm-GAME-{name}" for name in VARIANTS]
    assert listed == [*PRESETS, *variants, *["--size"] * len(MODELS)]
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
    ],
)
def test_a_size_is_part_of_the_name(preset, arguments, found):
    assert named(preset, arguments) == found


@pytest.mark.parametrize("size", MODELS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_every_size(variant, size):
    assert set(POCKET) == set(PUBLISHED)
    for game in PUBLISHED:
        preset = named(f"lm-{game}-{variant}", ["--size", size])
        assert str(LM_PRESETS[preset][1].model) == MODELS[size][0]
        assert size_of(preset) == size


def test_a_name_with_its_size_in_it_tells_the_present_form(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", f"lm-split-naive-{BIG}", "--help"])
    said = capsys.readouterr()
    assert said.err == (
        f"aajax train: lm-split-naive-{BIG} is now written lm-split-naive --size "
        f"{BIG}\n"
    )
    assert f"(default: {BIG})" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lm-ipd", "--size", "huge"], "size is 'huge': one of qwen2.5-7b, llama3.1-"),
        (["lm-ipd", "--size"], "size has no value: one of qwen2.5-7b"),
        ([f"lm-ipd-aa-{BIG}", "--size", "qwen3-8b"], f"'qwen3-8b': '{BIG}' is needed"),
        (["ipd", "--size", BIG], "option is --size: there is none of that name"),
    ],
)
def test_sizes_that_there_are_not(arguments, message, capsys):
    assert cli.main(["train", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
