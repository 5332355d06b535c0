"""The site: links between its parts, and what its reference must name."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest
from test_architecture import FOR_ALL, MAY_IMPORT

import aajax
from aajax import envs
from aajax.cli import main
from aajax.dialogue.play import Matchup, Seat, play
from aajax.dialogue.players.scripted import scripted_player

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_public_names_are_those_of_the_list_and_of_its_modules(hooks):
    names = dict(hooks.public_names(aajax))
    assert names["aajax.make"] == "aajax.envs.registry.make"
    assert names["aajax.envs.AutoReset"] == "aajax.envs.wrappers.AutoReset"
    assert names["aajax.rollout.rollout"] == "aajax.rollout.rollout"
    assert "aajax.ops.alignment.alignment_credit" in names
    assert not any(part.startswith("_") for n in names for part in n.split("."))


def test_a_public_name_without_an_entry_is_found(hooks):
    documented = {name for pair in hooks.public_names(aajax) for name in pair}
    assert hooks.missing(aajax, documented) == []
    lost = {"aajax.ops.alignment.mean_past"}
    assert hooks.missing(aajax, documented - lost) == sorted(lost)
    # Documented where it is defined, it may be public in several places.
    assert hooks.missing(aajax, documented - {"aajax.make", "aajax.envs.make"}) == []


def test_a_constant_is_public_where_it_is_listed(hooks):
    package = ModuleType("package")
    package.__all__ = ["LIMIT", "part"]
    package.LIMIT = 3
    package.part = ModuleType("package.part")
    package.part.hidden = SimpleNamespace(__module__="elsewhere")
    assert hooks.missing(package, set()) == ["package.LIMIT"]


def test_links_lead_to_the_same_place_on_the_site(hooks):
    rewritten = hooks.rewritten
    assert (
        rewritten("[a](../docs/speed.md)", "experiments/README.md")
        == "[a](../speed.md)"
    )
    log = "[a](../experiments/LOG.md)"
    assert rewritten(log, "index.md") == "[a](experiments/LOG.md)"
    deeper = "![a](../../experiments/figures/ipd.png) [b](../method.md)"
    expected = "![a](../experiments/figures/ipd.png) [b](../method.md)"
    assert rewritten(deeper, "guides/runs.md") == expected


@pytest.fixture(scope="module")
def fishing():
    return envs.find_spec(f"{DOCS / 'examples' / 'fishing.py'}:SPEC")


def test_the_guides_game_in_numbers(fishing):
    env = fishing.build(num_steps=3)
    key = jax.random.key(0)
    lake, _ = env.reset(key)
    for action, catch, fish in (
        ([1, 1], [1, 1], 10.0),
        ([2, 2], [2, 2], 7.5),
        ([0, 2], [0, 2], 6.875),
    ):
        lake, timestep = env.step(key, lake, np.array(action))
        np.testing.assert_allclose(timestep.reward, catch)
        np.testing.assert_allclose(lake.fish, fish)
    assert timestep.last and timestep.discount == 1


def test_the_guides_game_in_words(fishing):
    game = fishing.words.make(num_rounds=2)
    players = {name: scripted_player(game, name) for name in ("modest", "greedy")}
    matchup = Matchup(0, 0, 0, (Seat("modest"), Seat("greedy")))
    (match,) = play(game, players, [matchup], jax.random.key(0))
    assert [turn.answer for turn in match.turns[0]] == ["I take 1"] * 2
    assert [turn.answer for turn in match.turns[1]] == ["I take 2"] * 2
    assert "the other boat took 2.0" in match.turns[0][1].text
    assert "8.8 fish in the lake" in match.turns[0][1].text
    assert not game.parse("catch", "I take 3").valid


@pytest.mark.parametrize(
    "page",
    [
        "guides/own_model.md",
        pytest.param("tutorials/first_run.md", marks=pytest.mark.slow),
        pytest.param("guides/runs.md", marks=pytest.mark.slow),
    ],
)
def test_examples_run_one_after_the_other(page, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    names = {}
    with jax.numpy_dtype_promotion("standard"):
        if page == "guides/runs.md":
            values = "0", "0.3", "1", "3"
            main(["train", "ipd", "--out", "runs/sweep", "--sweep.beta", *values])
        for block in blocks:
            exec(block, names)


def test_the_design_says_who_may_import_whom():
    design = (DOCS / "design.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.*)\|$", design, re.MULTILINE)
    said = {name: set(re.findall(r"`([\w.]+)`", allowed)) for name, allowed in rows}
    assert said == MAY_IMPORT
    (everybody,) = re.findall(r"^All may import (.*)\.$", design, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", everybody)) == FOR_ALL


def test_snippets_are_included():
    """Formatted as Python, the mark of a snippet is none any more."""
    pages = [page.read_text() for page in DOCS.rglob("*.md")]
    assert sum(len(re.findall(r"^--8<-- ", page, re.MULTILINE)) for page in pages) > 5
    assert not any("--8 <" in page for page in pages)
