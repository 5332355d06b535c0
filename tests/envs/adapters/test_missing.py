"""What is said without the packages."""

import importlib
import sys

import pytest

from aajax import cli


@pytest.mark.parametrize("package", ["jaxmarl", "gymnax", "pettingzoo"])
def test_a_missing_package_is_one_line(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"aajax.envs.adapters.{package}", raising=False)
    with pytest.raises(ValueError) as raised:
        importlib.import_module(f"aajax.envs.adapters.{package}")
    said = str(raised.value)
    assert said.startswith(f"{package} cannot be imported (import of {package} halted;")
    assert said.endswith("it is needed, as in pip install 'aajax[adapters]'")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("game", ["jaxmarl:coin_game", "gymnax:CartPole-v1"])
def test_on_the_command_line(game, monkeypatch, capsys, tmp_path):
    package = game.split(":")[0]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"aajax.envs.adapters.{package}", raising=False)
    out = tmp_path / "run"
    assert cli.main(["train", "ipd", "--game", game, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"{package} cannot be imported" in said and "'aajax[adapters]'" in said
    assert len(said.splitlines()) == 1 and not out.exists()
