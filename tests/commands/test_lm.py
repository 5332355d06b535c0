"""`aajax lm`, as a user types it."""

import pytest

from aajax import cli
from aajax.dialogue import pocket


def test_a_dry_run_says_what_fits(capsys):
    job = ["--batch", "8", "--length", "1024"]
    mesh = ["--fsdp", "8", "--memory-gb", "16"]
    assert cli.main(["lm", "dry-run", "qwen2.5-7b", *mesh, *job]) == 0
    output = capsys.readouterr().out
    assert "7.616 billion" in output
    assert "training: fits" in output
    assert cli.main(["lm", "dry-run", "qwen2.5-7b", "--memory-gb", "16", *job]) == 0
    assert "training: does not fit" in capsys.readouterr().out
    large = "--evaluated", "2048"
    assert cli.main(["lm", "dry-run", "qwen2.5-7b", *mesh, *job, *large]) == 0
    output = capsys.readouterr().out
    assert "playing: fits" in output and "evaluating: does not fit" in output


def test_a_dry_run_says_how_long_at_best(capsys):
    rates = ["--tflops", "989", "--memory-gbs", "4800"]
    assert cli.main(["lm", "dry-run", "qwen2.5-0.5b", *rates]) == 0
    output = capsys.readouterr().out
    assert "131072 tokens, of which 32768 are sampled" in output
    assert "s at best" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt-9"], "gpt-9"),
        (["qwen2.5-7b", "--rank", "0"], "rank is 0"),
        (["qwen2.5-7b", "--tflops", "1"], "memory_gbs is None"),
        (["qwen2.5-7b", "--tflops", "1", "--memory-gbs", "-1"], "memory_gbs is -1"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert cli.main(["lm", "dry-run", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


TINY = ["--hidden-size", "16", "--layers", "1", "--heads", "1", "--batch", "2"]
STEPS = ["--length", "256", "--steps", "10"]


def test_a_pocket_model_is_made_once(tmp_path, capsys):
    out = tmp_path / "model"
    command = ["lm", "pocket", "--out", str(out), *TINY, *STEPS]
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert "nats per token" in printed.out and f"{out}/" in printed.out
    assert "step 10/10  loss" in printed.err
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert f"aajax lm pocket: out is '{out}': one that is new or empty" in error
    assert error.count("\n") == 1


def test_an_interrupted_pocket_model_leaves_nothing(tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pocket, "_batch", interrupt)
    assert cli.main(["lm", "pocket", "--out", str(tmp_path / "model"), *TINY]) == 130
    assert "interrupted. Nothing was saved." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocab-size", "100"], "vocab_size is 100: at least 261"),
        (["--text", "nowhere.txt"], "No such file or directory: nowhere.txt"),
    ],
)
def test_a_pocket_model_that_cannot_be(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lm", "pocket", "--out", "model", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
