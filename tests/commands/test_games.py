"""Training, measuring and leagues in environments that are no matrix games."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

import aajax
from aajax import cli, envs
from aajax.api.evaluation import measure_of, scripted_group
from aajax.envs.coin import players as coin
from aajax.envs.harvest import players as harvest
from aajax.envs.negotiation import players as negotiation
from aajax.tournament import with_itself
from aajax.training import PRESETS, NetworkConfig

SMALL = dataclasses.replace(
    PRESETS["negotiation"][1],
    hidden_size=4,
    network=NetworkConfig(encoder_layers=1),
    num_games=8,
    group_size=4,
    num_steps=4,
    num_updates=1,
    seeds=2,
)
RUNS = {
    "coin": dataclasses.replace(SMALL, game="coin", options=("width=2",)),
    "negotiation": SMALL,
    "harvest": dataclasses.replace(
        SMALL,
        game="harvest",
        options=("map=tiny", "num_agents=2", "view=(2,1,1,1)"),
        network=NetworkConfig(encoder_layers=1, channels=(2,)),
        group_size=1,
    ),
}
every_game = pytest.mark.parametrize("game", RUNS)
MEASURED = {
    "coin": {"own of the coins taken", "coins per step and agent"},
    "negotiation": {"efficiency"},
    "harvest": {"apples per agent", "sustainability", "zaps per agent"},
}
LIMIT = {"harvest": SMALL.num_steps}
SCRIPTED = {
    "coin": coin.SCRIPTED,
    "negotiation": negotiation.SCRIPTED,
    "harvest": harvest.SCRIPTED,
}
WORSE_AND_BETTER = {"harvest": ("random", "pacifist")}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small finished run of each environment."""
    runs = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        for game, config in RUNS.items():
            aajax.train(config, name="negotiation", out=runs / game)
    return runs


@every_game
def test_a_summary_has_the_environments_measures(folders, game):
    summary = json.loads((folders / game / "summary.json").read_text())
    assert set(summary["measures"]) == MEASURED[game]
    for numbers in summary["measures"].values():
        assert np.shape(numbers) == (2,)
        assert 0 <= min(numbers) <= max(numbers) <= LIMIT.get(game, 1)
    env = envs.make(game)
    assert set(summary["league"]) == set(envs.find_spec(game).opponent_names(env))
    assert "p_cooperate" not in summary
    assert np.isfinite(summary["mean_reward"]).all()
    assert (folders / game / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "game",
    [
        "coin",
        pytest.param("negotiation", marks=pytest.mark.slow),
        pytest.param("harvest", marks=pytest.mark.slow),
    ],
)
def test_a_league_has_the_scripted_players_of_its_environment(folders, tmp_path, game):
    out = tmp_path / "league"
    arguments = ["--num-games", "8", "--out", str(out)]
    assert cli.main(["league", str(folders / game), *arguments]) == 0
    table = json.loads((out / "league.json").read_text())
    assert table["players"] == [game, *SCRIPTED[game]]
    assert len(table["line_ups"]) == len(table["players"]) ** 2
    rewards = {tuple(row["players"]): row["reward"] for row in table["line_ups"]}
    pair = WORSE_AND_BETTER.get(game, ("always_cooperate", "always_defect"))
    worse, better = rewards[pair]
    assert worse < better
    assert (out / "league.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_two_environments_do_not_meet(folders, tmp_path, capsys):
    runs = [str(folders / game) for game in RUNS]
    assert cli.main(["league", *runs, "--out", str(tmp_path / "league")]) == 2
    line = capsys.readouterr().err
    assert "runs of one game are needed" in line and len(line.splitlines()) == 1


def measured(game, env, *names):
    """Of each scripted player among its like."""
    spec = envs.find_spec(game)
    measure = measure_of(spec, env)
    group = scripted_group(spec, env, names)
    numbers = with_itself(jax.random.key(0), env, group, 64, env.num_steps, measure)
    return [{name: x[i] for name, x in numbers.items()} for i in range(len(names))]


def test_coins_are_measured():
    env = envs.make("coin", num_steps=20)
    fair, greedy = measured("coin", env, "always_cooperate", "always_defect")
    assert fair["own of the coins taken"] == 1
    assert fair["coins per step and agent"] > 0.1
    # Each coin taken is worth 1 to one of them, and nothing to the other.
    np.testing.assert_allclose(
        fair["reward with itself"], fair["coins per step and agent"], rtol=1e-5
    )
    assert 0.4 < greedy["own of the coins taken"] < 0.6


@pytest.mark.parametrize("loss", [-2.0, -1.0, -3.0])
def test_whose_coins_are_taken_does_not_depend_on_what_they_are_worth(loss):
    env = envs.make("coin", num_steps=20, loss=loss)
    (numbers,) = measured("coin", env, "always_defect")
    assert 0.45 < numbers["own of the coins taken"] < 0.55
    assert 0.4 < numbers["coins per step and agent"] < 0.8
    (numbers,) = measured("coin", env, "always_cooperate")
    assert numbers["own of the coins taken"] == 1


def test_coins_of_three_are_measured():
    env = envs.make("coin", num_agents=3, num_steps=20)
    (numbers,) = measured("coin", env, "random")
    assert 0.2 < numbers["own of the coins taken"] < 0.47


def test_deals_are_measured():
    """Of 15 that there are to gain in a round, cooperators gain 15; defectors halve
    each item and gain 9."""
    env = envs.make("negotiation", num_steps=10)
    fair, greedy = measured("negotiation", env, "always_cooperate", "always_defect")
    for numbers, reward, efficiency in [(fair, 0.5, 1.0), (greedy, 0.3, 0.6)]:
        np.testing.assert_allclose(numbers["reward with itself"], reward, rtol=1e-5)
        np.testing.assert_allclose(numbers["efficiency"], efficiency, rtol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 4])
@pytest.mark.parametrize("observation", ["raw", "private"])
def test_efficiency_counts_the_turns_that_pay(turns, observation):
    env = envs.make(
        "negotiation", observation=observation, num_steps=12,
        min_turns=turns, mean_turns=float(turns), max_turns=turns,
    )  # fmt: skip
    (greedy,) = measured("negotiation", env, "always_defect")
    np.testing.assert_allclose(greedy["efficiency"], 0.6, rtol=1e-5)
    np.testing.assert_allclose(greedy["reward with itself"], 0.3 / turns, rtol=1e-5)


def test_apples_are_measured():
    """Who leaves some eats more, and later, than who eats all at once."""
    options = {"map": "tiny", "num_steps": 60, "probabilities": (0.0, 0.02, 0.04, 0.2)}
    env = envs.make("harvest", **options)
    wild, mild, fierce = measured("harvest", env, "pacifist", "sustainable", "greedy")
    for numbers in (wild, mild, fierce):
        apples = 60 * numbers["reward with itself"]
        np.testing.assert_allclose(numbers["apples per agent"], apples, rtol=1e-5)
    assert mild["apples per agent"] > 1.3 * wild["apples per agent"]
    assert mild["sustainability"] > wild["sustainability"] + 10
    assert wild["zaps per agent"] == mild["zaps per agent"] == 0
    assert 1 < fierce["zaps per agent"] < 20


def test_curves_of_what_is_measured_are_kept_and_drawn(folders):
    rows = (folders / "harvest" / "metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[-1])
    for name in ("apples", "sustainability", "zaps"):
        assert np.shape(row[name]) == (1, 2)
    np.testing.assert_allclose(
        row["apples"], SMALL.num_steps * np.array(row["reward"]), rtol=1e-5
    )
    heights = {}
    for game in RUNS:
        with Image.open(folders / game / "figure.png") as image:
            heights[game] = image.height
    assert heights["harvest"] > 1.5 * heights["coin"]


def test_an_unknown_player_is_named():
    env = envs.make("coin")
    with pytest.raises(ValueError, match="player is 'nobody'.*always_cooperate"):
        scripted_group(envs.find_spec("coin"), env, ("nobody",))
