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
from aajax.envs.check_parts import check_parts

FILE = Path(__file__).parent.parent / "data" / "own_game.py"
TRAIN = ("train", "ipd", "--policy", "mlp", "--num-updates", "4", "--num-games", "8")
ALIKE = (*TRAIN, "--seeds", "2", "--options", "highest=4")  # compiled once


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
    words = (*ALIKE, "--game", game, "--out", out)
    code, shown, said = run(*words)
    assert code == 0, said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["game"] == game and summary["league"] == {}
    assert set(summary["measures"]) == set()
    assert json.loads((out / "config.json").read_text())["game"] == game
    code, _, said = run(*words, "--resume")
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


def test_it_is_found_from_another_folder(run, tmp_path, monkeypatch):
    shutil.copy(FILE, tmp_path / "my_game.py")
    monkeypatch.chdir(tmp_path)
    train = (*ALIKE, "--out", tmp_path / "run")
    code, _, said = run(*train, "--game", "my_game.py:SPEC")
    assert code == 0, said
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["game"] == f"{tmp_path / 'my_game.py'}:SPEC"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, said = run(*train, "--game", "../my_game.py:SPEC", "--resume")
    assert code == 0, said
    code, _, said = run("play", "../my_game.py:SPEC", "--seat", "../run", "../run")
    assert code == 0, said
    code, _, said = run("league", "../run", "--out", "league")
    assert code == 0, said
    (tmp_path / "my_game.py").rename(tmp_path / "other_game.py")
    registry.references._FILES.clear()
    for module in [x for x in sys.modules if x.startswith("my_game_")]:
        monkeypatch.delitem(sys.modules, module)
    code, _, said = run("league", "../run", "--out", "league")
    assert code == 2 and "there is no file" in said and "my_game.py" in said
    assert len(said.splitlines()) == 1


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a distribution with these entry points, for one test."""

    def install(**entries):
        site = tmp_path / "site-packages"
        info = site / "my_games-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-games\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        text = "\n".join(["[aajax.environments]", *lines])
        (info / "entry_points.txt").write_text(text)
        shutil.copy(FILE, site / "my_games.py")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setattr(registry, "_SPECS", dict(registry._OWN))
        registry._register_installed.cache_clear()

    yield install
    registry._register_installed.cache_clear()
    sys.modules.pop("my_games", None)


def test_of_an_installed_distribution(run, installed, tmp_path):
    installed(lower_number="my_games:SPEC")
    code, shown, _ = run("list")
    assert code == 0 and "lower_number" in shown
    out = tmp_path / "run"
    train = (*ALIKE, "--out", out, "--game", "lower_number")
    code, _, said = run(*train)
    assert code == 0, said
    code, _, said = run("play", "lower_number", "--seat", out, out)
    assert code == 0, said


def test_a_broken_distribution_is_left_out(run, installed):
    installed(ipd="my_games:SPEC", other="my_games:NOTHING", gone="no_such_module:X")
    code, shown, said = run("list")
    assert code == 0 and "lower_number" in shown
    lines = said.splitlines()
    assert len(lines) == 2
    assert "entry point other = 'my_games:NOTHING' of aajax.environments is l" in said
    assert "ModuleNotFoundError: No module named 'no_such_module'" in said


BROKEN = {
    "def f(:": "(SyntaxError: invalid syntax (game.py, line 1))",
    "x = 1\ny = 1 / 0": "(ZeroDivisionError: division by zero, in line 2)",
    "import no_such_thing": "(ModuleNotFoundError: No module named 'no_such_thing', i",
    "raise SystemExit(3)": "(SystemExit: 3, in line 1)",
    "SPEC = 3": "an EnvSpec called 'SPEC' is needed in game.py, and it is of type int",
    "from aajax import EnvSpec\nA = EnvSpec('a', 'b', print)": "game.py, which has A",
    "from aajax import EnvSpec\nA = B = C = D = E = F = EnvSpec('a', 'b', print)": (
        "game.py, which has A, B, C, D, E, ..."
    ),
    "from aajax import EnvSpec\nSPEC = EnvSpec('a', 'b', 3)": "make is 3: a function",
    "from aajax import EnvSpec\nSPEC = EnvSpec('a', 'b', print, words=3)": "a TextSpec",
    "from aajax import EnvSpec\nSPEC = EnvSpec('a:b', '', print)": "name is 'a:b': a n",
    "from aajax import EnvSpec\nSPEC = EnvSpec('a', 3, print)": "about is 3: a sent",
}


@pytest.mark.parametrize("content", BROKEN)
def test_an_error_in_the_file_is_one_line(content, tmp_path, monkeypatch):
    (tmp_path / "game.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="^game is 'game.py:SPEC': ") as refused:
        envs.find_spec("game.py:SPEC")
    assert BROKEN[content] in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


BROKEN_RULES = """
from own_rules import LowerNumber, environment
from aajax import EnvSpec

@environment
class Broken(LowerNumber):
    def step(self, key, state, action):
        state, timestep = super().step(key, state, action)
        return state, timestep._replace(reward=timestep.reward.sum())

SPEC = EnvSpec("broken", "Broken.", lambda num_steps=8: Broken(num_steps))
"""


def test_rules_that_are_broken_are_told_before_training(run, tmp_path):
    (tmp_path / "own_rules.py").write_text(FILE.read_text())
    (tmp_path / "broken.py").write_text(BROKEN_RULES)
    game, out = f"{tmp_path / 'broken.py'}:SPEC", tmp_path / "run"
    code, _, said = run(*TRAIN, "--game", game, "--out", out)
    line = "reward of step is float32[]: float32[2] is needed; `aajax check` tells all"
    assert code == 2 and line in said and len(said.splitlines()) == 1
    assert not out.exists()


BROKEN_PARTS = """
import jax.numpy as jnp
from own_rules import lower_number
from aajax import EnvSpec
from aajax.envs import Players
from aajax.policies.base import PolicyOutput, scripted_policy

def act(params, key, observation, memory):
    zeros = jnp.zeros(observation.shape[:-1])
    return PolicyOutput(zeros.astype(jnp.int32), zeros, zeros, memory)

def unfit(params, key, observation, memory):
    return act(params, key, observation, memory)._replace(action=observation)

def players(act=act, params=lambda name: jnp.int32(0)):
    return lambda env: Players(scripted_policy(act), ("one", "two"), params)

SPEC = EnvSpec("broken", "Broken.", lower_number, PART)
"""
PARTS = {
    "players=players(params=lambda name: nowhere[name])": (
        "players: it fails with NameError: name 'nowhere' is not defined; `aajax check`"
    ),
    "players=lambda env: 1 / 0": "players: it fails with ZeroDivisionError: division",
    "players=players(params=len)": None,
    "players=players(params=lambda name: jnp.zeros(name == 'one'))": (
        "players: it fails with ValueError: all input arrays must have the same shape"
    ),
    "players=players(lambda *_: 1 / 0)": "players: it fails with ZeroDivisionError: ",
    "players=players(unfit)": "players: they play float32[16, 1, 2]: int32[16, 1] is ",
    "measures=lambda env, x: {'a': x.trajectory.rewards.mean()}": (
        "measures: it fails with AttributeError: 'Trajectory' object has no attribute"
    ),
    "measures=lambda env, x: {'a': x.trajectory.reward.mean((0, 1))}": (
        "measures: 'a' is of shape (2,): one number is needed"
    ),
    "measures=lambda env, x: {'a': 'b'}": "measures: it fails with TypeError: ",
    "measures=lambda env, x: {'a': x.mean(x.trajectory.reward).sum()}": None,
    "training_measures=lambda env: lambda before, x: {'a': x.none}": (
        "training_measures: it fails with AttributeError: 'Trajectory' object has no"
    ),
    "training_measures=lambda env: lambda before, x: x.reward.mean()": (
        "training_measures: it returns an array: a dict of numbers is needed"
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_broken_players_and_measures_are_told_before_training(part, tmp_path):
    (tmp_path / "own_rules.py").write_text(FILE.read_text())
    (tmp_path / "parts.py").write_text(BROKEN_PARTS.replace("PART)", f"{part})"))
    spec = envs.find_spec(f"{tmp_path / 'parts.py'}:SPEC")
    env = spec.build()
    if PARTS[part] is None:
        return check_parts(spec, env, "parts.py:SPEC", 8)
    with pytest.raises(ValueError, match="^game is 'parts.py:SPEC': ") as refused:
        check_parts(spec, env, "parts.py:SPEC", 8)
    said = str(refused.value)
    assert PARTS[part] in said and len(said.splitlines()) == 1


def test_commands_tell_of_broken_players(run, tmp_path):
    (tmp_path / "own_rules.py").write_text(FILE.read_text())
    part = "players=players(params=lambda name: nowhere[name])"
    (tmp_path / "named.py").write_text(BROKEN_PARTS.replace("PART)", f"{part})"))
    game, out = f"{tmp_path / 'named.py'}:SPEC", tmp_path / "run"
    for words, line in (
        ((*TRAIN, "--game", game, "--out", out), "players: it fails with NameError: "),
        (("play", game, "--seat", "one", "one"), "game 'broken' fail (NameError: nam"),
    ):
        code, _, said = run(*words)
        assert code == 2 and line in said and len(said.splitlines()) == 1
    assert not out.exists()


def test_a_file_and_its_module_are_one(tmp_path, monkeypatch):
    shutil.copy(FILE, tmp_path / "one_game.py")
    shutil.copy(FILE, tmp_path / "second_game.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    named = envs.find_spec("one_game:SPEC")
    assert envs.find_spec("one_game.py:SPEC") is named
    of_file = envs.find_spec("second_game.py:SPEC")
    assert envs.find_spec("second_game:SPEC") is of_file
    assert of_file is not named


def test_what_lies_beside_the_file_can_be_imported(tmp_path):
    (tmp_path / "rules_of_it.py").write_text(FILE.read_text())
    (tmp_path / "game.py").write_text("from rules_of_it import SPEC")
    assert envs.find_spec(f"{tmp_path / 'game.py'}:SPEC").name == "lower_number"


def test_options_without_annotations(tmp_path):
    changed = "from __future__ import annotations\n" + FILE.read_text().replace(
        "(num_steps: int = 8, highest: int = 3)",
        "(num_steps, highest=3, *, names=None)",
    )
    (tmp_path / "game.py").write_text(changed)
    spec = envs.find_spec(f"{tmp_path / 'game.py'}:SPEC")
    assert spec.options == {"num_steps": str, "highest": int, "names": str}
    with pytest.raises(
        ValueError, match="^num_steps is missing: .* needed in game 'low"
    ):
        spec.build(highest=4)
    assert spec.build(highest=4, num_steps=2).episode_length == 2


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
        ("nowhere.py:SPEC", "game is 'nowhere.py:SPEC': there is no file nowhere.py"),
        ("no_such_module:SPEC", "no_such_module cannot be imported (ModuleNotFoundE"),
        (":SPEC", "game is ':SPEC': one of ipd, "),
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
