"""`aajax lm`, as a user types it."""

import pytest

from aajax import cli


def test_a_dry_run_says_what_fits(capsys):
    job = ["--batch", "8", "--length", "1024"]
    mesh = ["--fsdp", "8", "--memory-gb", "16"]
    assert cli.main(["lm", "dry-run", "qwen2.5-7b", *mesh, *job]) == 0
    output = capsys.readouterr().out
    assert "7.616 billion" in output
    assert "training: fits" in output
    assert cli.main(["lm", "dry-run", "qwen2.5-7b", "--memory-gb", "16", *job]) == 0
    assert "training: does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["gpt-9"], "gpt-9"), (["qwen2.5-7b", "--rank", "0"], "rank is 0")],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert cli.main(["lm", "dry-run", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
