"""An environment of a user's own, by the name of its file, module or registration."""

import json
import shutil
import sys
from pathlib import Path

import jax
import pytest

import aajax
from aajax import cli, envs
from aajax.envs import registry

FILE = Path(__file__).parent.parent / "data" / "own_game.py"
TRAIN = ("train", "ipd", "--policy", "mlp", "--num-updates", "20", "--num-games", "8")


@pytest.fixture
def run(capsys):
    """Runs a command; returns its code and what it printed."""

    def run(*words):
        capsys.readouterr()
        with jax.numpy_dtype_promotion("standard"):
            code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_rules_alone_train_play_and_resume(run, tmp_path):
    out, game = tmp_path / "run", f"{FILE}:SPEC"
    words = (*TRAIN, "--seeds", "2", "--game", game, "--out", out)
    code, shown, said = run(*words, "--options", "highest=4")
    assert code == 0, said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["game"] == game and summary["league"] == {}
    assert set(summary["measures"]) == set()
    assert json.loads((out / "config.json").read_text())["game"] == game
    code, _, said = run(*words, "--options", "highest=4", "--resume")
    assert code == 0, said
    code, shown, said = run("play", game, "--seat", out, f"{out}:1", "--pause", "0")
    assert code == 0, said
    assert "after 16 steps" in shown
    code, shown, said = run("league", out, "--out", tmp_path / "league")
    assert code == 0, said
    assert (tmp_path / "league" / "league.json").exists()
    code, _, said = run("plot", out)
    assert code == 0, said


def test_a_person_plays_it(run, monkeypatch):
    answers = iter(["5", "2", "0"])
    people = "--seat", "human", "human"
    monkeypatch.setattr("rich.console.Console.input", lambda *_, **__: next(answers))
    code, shown, said = run("play", f"{FILE}:SPEC", "--steps", "1", *people)
    assert code == 0 and "answer is '5': a whole number from 0 to 2" in shown


def test_a_module_of_the_present_folder(run, tmp_path, monkeypatch):
    shutil.copy(FILE, tmp_path / "my_own_game.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    env = aajax.make("my_own_game:SPEC", highest=5)
    assert env.action_spaces[0].num_actions == 5
    monkeypatch.delitem(sys.modules, "my_own_game")


def test_registered(run, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    spec = envs.find_spec(f"{FILE}:SPEC")
    assert aajax.register(spec) is spec is aajax.register(spec)
    assert envs.names()[-1] == "lower_number"
    code, shown, _ = run("list")
    assert code == 0 and "lower_number" in shown
    with pytest.raises(ValueError, match="^name is 'ipd': one that aajax has not"):
        aajax.register(aajax.EnvSpec("ipd", "Mine.", spec.make))
    with pytest.raises(ValueError, match="^name is 'a:b': a name without a colon"):
        aajax.register(aajax.EnvSpec("a:b", "Mine.", spec.make))
    with pytest.raises(ValueError, match="^spec is 3: an EnvSpec is needed"):
        aajax.register(3)


@pytest.mark.parametrize(
    ("game", "line"),
    [
        (
            f"{FILE}:NUMBER",
            f"game is '{FILE}:NUMBER': an EnvSpec called 'NUMBE",
        ),
        (f"{FILE}:NOTHING", "an EnvSpec called 'NOTHING' is needed in"),
        ("nowhere.py:SPEC", "nowhere.py cannot be imported (FileNotFoundError: "),
        ("no_such_module:SPEC", "no_such_module cannot be imported (ModuleNotFoundE"),
        (":SPEC", "cannot be imported (ValueError: Empty module name)"),
    ],
)
def test_what_cannot_be_found_is_one_line(run, tmp_path, game, line):
    for words in ((*TRAIN, "--game", game, "--out", tmp_path / "x"), ("play", game)):
        code, _, said = run(*words)
        assert code == 2 and line in said and len(said.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_what_it_lacks_is_said_first(run, tmp_path):
    game, out = f"{FILE}:SPEC", ("--out", tmp_path / "league")
    code, _, said = run("league", "--game", game, "--scripted", "random", *out)
    assert code == 2 and "has no scripted players" in said
    code, _, said = run("league", "--text", "human", "--game", game, *out)
    assert code == 2 and "one in words is needed, which it has not" in said
    words = ("play", game, "--seat", "human", "human", "--out", tmp_path / "a.gif")
    code, _, said = run(*words)
    assert code == 2 and "only games 'coin' and 'harvest' can be drawn" in said
    code, _, said = run(*TRAIN, "--game", game, "--payoff", "[[1]]")
    assert code == 2 and "which is no matrix game" in said
