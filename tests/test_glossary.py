"""The glossary defines every option, and every number that a run writes."""

import dataclasses
import json
import re
from pathlib import Path
from typing import get_type_hints

import jax
import jax.numpy as jnp
import pytest
from tiny_speech import tiny_folder

from aajax import envs
from aajax.cli import main
from aajax.dialogue import registry
from aajax.dialogue.play import Matchup, Seat, play
from aajax.dialogue.play.measures import measure
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.policies.base import PolicyOutput, scripted_policy
from aajax.rollout import begin, play_episodes, rollout
from aajax.training.config import RunConfig
from aajax.training.lm_config import LmConfig

GLOSSARY = Path(__file__).parent.parent / "docs" / "glossary.md"
# Options that are of the command and not of the run.
COMMANDS = {
    *("--out", "--resume", "--log", "--size"),
    *("--dry-run", "--topology", "--length", "--save", "--programs"),
}
# What stands for any name in the glossary.
PLACEHOLDER = r"(?<![A-Z])(?:ACTION|OUTCOME|NAME|HYPERPARAMETER|X|I)(?![A-Z])"


def defined(anchor):
    """Names in the first column of the tables of a section."""
    sections = re.split(r"^## ", GLOSSARY.read_text(), flags=re.MULTILINE)
    (section,) = [one for one in sections if f"#{anchor} }}" in one.splitlines()[0]]
    rows = re.findall(r"^\| ([^|]+) \| ", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def matches(names, name):
    """Whether a name is among them, or of the form of one with a placeholder."""
    patterns = (
        re.sub(PLACEHOLDER, ".+", re.escape(one.replace("│", "|"))) for one in names
    )
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def undefined(anchor, names):
    assert names
    return sorted(name for name in names if not matches(defined(anchor), name))


def options(config, prefix=""):
    """The options of a config, as the command line spells them."""
    hints = get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            marks = getattr(hints[field.name], "__metadata__", ())
            unnamed = any(getattr(mark, "name", None) == "" for mark in marks)
            yield from options(value, prefix if unnamed else f"{prefix}{name}.")
        else:
            yield f"--{prefix}{name}"


def test_every_option_is_defined_and_no_other():
    for anchor, config in ("options", RunConfig()), ("lm-options", LmConfig()):
        own, said = set(options(config)), defined(anchor)
        assert len(own) > 40
        assert undefined(anchor, own) == []
        plain = {name for name in said if not re.search(PLACEHOLDER, name)}
        assert plain - own - COMMANDS == set()


def test_a_name_that_is_not_there_is_missed():
    assert undefined("metrics", ["reward", "regret"]) == ["regret"]
    assert undefined("options", ["--sweep.beta", "--sweeps.beta"]) == ["--sweeps.beta"]
    assert undefined("summary", ["P(C | CD)", "P(C)"]) == ["P(C)"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def train(folder, preset, *arguments):
    with jax.numpy_dtype_promotion("standard"):
        main(["train", preset, "--out", str(folder), *map(str, arguments)])
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    summary = json.loads((folder / "summary.json").read_text())
    return set().union(*map(json.loads, rows)), summary


def test_numbers_of_a_run_of_small_networks(folder):
    sizes = [
        "--seeds",
        "2",
        "--num-updates",
        "2",
        "--num-games",
        "8",
        "--num-steps",
        "4",
    ]
    metrics, summary = train(folder / "ipd", "ipd-critic", *sizes)
    assert {"reward", "value_loss", "entropy"} <= metrics
    assert undefined("metrics", metrics) == []
    (setting,) = summary["settings"]
    names = {*summary, *setting, *setting["measures"]}
    assert {"mean_reward", "P(C | CD)"} <= names
    assert undefined("summary", names) == []


def test_numbers_of_a_run_of_a_language_model(folder):
    model = tiny_folder(folder / "tiny")
    sizes = (
        *("--model", model, "--options", "num_rounds=2", "--speaking.max-tokens", 8),
        *("--lora.rank", 2, "--num-matches", 4, "--group-size", 2),
        *("--num-iterations", 2, "--past-selves.every", 1, "--past-share", 0.7),
        *("--eval.matches", 2, "--speaking.cache-size", 256),
        *("--baseline", "critic", "--learners", "alternate"),
    )
    metrics, summary = train(folder / "lm", "lm-ipd", *sizes)
    assert {"kl", "critic_loss", "cooperation", "reward_against_others"} <= metrics
    assert undefined("lm-metrics", metrics) == []
    assert undefined("lm-metrics", set(summary["training"])) == []
    assert undefined("summary", {*summary, *summary["measures"]}) == []
    measured = set().union(*summary["measures"].values())
    assert undefined("lm-metrics", measured) == []


def measured(spec):
    """Names of what is measured of played games, and of updates while training."""
    env = spec.build()

    def act(params, key, observation, memory):
        action = env.action_spaces[0].sample(key, observation.shape[:2])
        zeros = jnp.zeros(observation.shape[:2])
        return PolicyOutput(action, zeros, zeros, memory)

    policy = scripted_policy(act)

    def of_games(key):
        return spec.measures(env, play_episodes(key, env, policy, (), 4, 3))

    def of_an_update(key):
        tables = begin(key, env, policy, 4)
        _, trajectory = rollout(key, env, policy, (), tables, 3)
        return spec.training_measures(env)(tables, trajectory)

    parts = (spec.measures, of_games), (spec.training_measures, of_an_update)
    # Traced, and not played.
    return [
        set(jax.eval_shape(function, jax.random.key(0))) if there else set()
        for there, function in parts
    ]


def test_what_every_environment_measures():
    specs = [envs.find_spec(name) for name in envs.names()]
    own = [spec for spec in specs if spec.make.__module__.startswith("aajax.")]
    found = [measured(spec) for spec in own]
    of_games, of_updates = (set().union(*names) for names in zip(*found, strict=True))
    assert {"efficiency", "apples per agent", "own of the coins taken"} <= of_games
    assert undefined("summary", of_games) == []
    assert "sustainability" in of_updates
    assert undefined("metrics", of_updates) == []


def test_what_every_text_game_measures():
    found = set()
    for name in registry.text_specs():
        game = registry.make(name, "short", num_rounds=2)
        first, *_ = scripted_names(game)
        players = {first: scripted_player(game, first)}
        matchup = Matchup(0, 0, 0, (Seat(first),) * game.env.num_agents)
        matches = play(game, players, [matchup], jax.random.key(0))
        found |= set(measure(game, matches, by_seat=False))
    assert {"cooperation_after_cd", "honest_messages", "deals"} <= found
    assert undefined("lm-metrics", found) == []


@pytest.mark.parametrize("text", [False, True], ids=["arrays", "words"])
def test_numbers_of_a_league(text, folder):
    out = folder / f"league-{text}"
    players = ("always_cooperate", "always_defect")
    if text:
        sizes = "--options", "num_rounds=2", "--num-matches", "2"
        main(["league", "--text", *players, "--game=ipd", *sizes, f"--out={out}"])
    else:
        sizes = "--num-games=2", "--num-steps=2"
        main(["league", "--game=ipd", "--scripted", *players, *sizes, f"--out={out}"])
    table = json.loads((out / "league.json").read_text())
    assert len(table["line_ups"]) == 4
    assert undefined("league", {*table, *table["line_ups"][0]}) == []
