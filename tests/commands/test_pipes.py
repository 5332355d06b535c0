"""Commands whose output nobody reads to its end, that are stopped, or that fail."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from aajax import cli
from aajax.api.progress import progress_bar

PROGRAM = "import sys; from aajax.cli import main; sys.exit(main(sys.argv[1:]))"


def started(*arguments, **options):
    words = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(
    "arguments",
    [["list"], pytest.param(["train", "ipd", "--help"], marks=pytest.mark.slow)],
)
def test_a_broken_pipe_ends_quietly(arguments):
    """What is written at exit, from buffers, meets it as well."""
    reading, writing = os.pipe()
    os.close(reading)
    process = started(*arguments, stdout=writing)
    os.close(writing)
    assert process.communicate()[1] == ""
    assert process.returncode == 141


def test_so_does_it_under_a_program_of_ones_own():
    program = (
        "import dataclasses; from aajax import cli\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config: pass\n"
        "cli.script(lambda config: print('x' * 100_000), Config, 'Prints.')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert process.communicate()[1] == ""
    assert process.returncode == 141


def test_an_interrupt_without_words_ends_in_no_space(monkeypatch, capsys):
    def pressed(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", pressed)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "aajax list: interrupted.\n"


def test_no_bar_leaves_an_empty_line_where_there_is_no_terminal():
    out = io.StringIO()
    with progress_bar(Console(file=out), "updates") as progress:
        progress.update(progress.add_task("compiling", total=3), completed=2)
    assert out.getvalue() == ""
