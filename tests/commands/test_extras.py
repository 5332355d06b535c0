"""What is said without the packages of extras, and of names in brackets."""

import importlib.util
import shutil

import jax
import pytest

from aajax import cli

SMALL = ("--num-games", "8", "--num-steps", "4", "--num-updates", "4")


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def without(monkeypatch):
    """A function that hides modules."""
    find_spec = importlib.util.find_spec

    def hide(*modules):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name in modules else find_spec(name, *rest),
        )

    return hide


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small finished run."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    words = ("train", "ipd", *SMALL, "--seeds", "1", "--out", str(folder))
    with jax.numpy_dtype_promotion("standard"):
        assert cli.main(list(words)) == 0
    return folder


def said(capsys, *words, code=0):
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_a_run_without_figure_names_the_extra(trained, without, capsys):
    without("matplotlib")
    printed = said(
        *(capsys, "train", "ipd", *SMALL, "--seeds", 1),
        *("--out", trained.parent / "plain"),
    )
    assert "no figure: install matplotlib, as in pip install 'aajax[plot]'" in printed


@pytest.mark.parametrize(
    ("words", "hidden", "told"),
    [
        ("plot RUN", "matplotlib", "matplotlib is not installed: {}[plot]'"),
        ("play coin OUT", "matplotlib", "matplotlib is not installed: {}[plot]'"),
        ("play coin OUT", "PIL", "pillow is not installed: {}[plot]'"),
        ("play harvest OUT", "PIL", "pillow is not installed: {}[plot]'"),
        ("train lm-ipd", "transformers", "transformers is not installed: {}[lm]'"),
        ("lm pocket --out a", "transformers", "transformers is not installed: {}[lm]'"),
    ],
)
def test_what_needs_an_extra_names_it(words, hidden, told, trained, without, capsys):
    without(hidden)
    seats = {"coin": 2, "harvest": 7}.get(words.split()[1], 0)
    words = words.replace("OUT", f"--seat {'random ' * seats}--out game.gif").split()
    words = [trained if word == "RUN" else word for word in words]
    line = told.format("pip install 'aajax")
    assert said(capsys, *words, code=2) == f"aajax {cli.command_name(words)}: {line}\n"


def test_names_in_brackets_are_printed_whole(trained, capsys):
    run = trained.parent / "of[bold]"
    shutil.copytree(trained, run)
    options = ("--num-games", 8, "--out", trained.parent / "league")
    printed = said(capsys, "league", run, "--scripted", "random", *options)
    assert printed.count("of[bold]") >= 3
