"""Games and leagues of runs in Python."""

import json
import shutil

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import aajax
from aajax.errors import InputError
from aajax.policies import categorical_policy
from aajax.report import curves

SMALL = {"num_games": 8, "num_steps": 4, "num_updates": 2, "seeds": 2}


@pytest.fixture(scope="module", autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    return aajax.train("ipd", out=out, **SMALL)


def test_scripted_players_play_by_hand():
    episodes = aajax.play(["tit_for_tat", "always_defect"], game="ipd", num_steps=3)
    np.testing.assert_array_equal(
        episodes.trajectory.action[:, 0].T, [[0, 1, 1]] + [[1, 1, 1]]
    )
    np.testing.assert_array_equal(episodes.trajectory.reward[0, 0], [-3, 0])
    assert episodes.inside.all() and episodes.trajectory.last[-1].all()


def test_a_game_has_the_options_that_it_is_given():
    players = (player for player in ["always_cooperate"] * 2)  # read once
    episodes = aajax.play(players, game="ipd", options={"reward": 2}, num_steps=2)
    np.testing.assert_array_equal(episodes.trajectory.reward, 2.0)


def test_runs_take_seats(run):
    episodes = aajax.play([run, "always_defect"], num_games=64, seed=1)
    assert episodes.trajectory.action.shape == (4, 64, 2)
    np.testing.assert_array_equal(episodes.trajectory.action[..., 1], 1)
    for entry in ((run, 1), f"{run.folder}:1", (run.folder, 1)):
        own = aajax.play([entry, run.folder], num_games=4, seed=2).trajectory
        expected = aajax.play([(run, 1), (run, 0)], num_games=4, seed=2).trajectory
        np.testing.assert_array_equal(own.action, expected.action)


def test_an_unfinished_run_plays_as_it_is(run, tmp_path, caplog):
    shutil.copytree(run.folder, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["num_updates"] = 9
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    line = f"{tmp_path / 'run'}: it is unfinished, after 2 of 9 updates, and plays as"
    aajax.play([tmp_path / "run", "grim"])
    aajax.play([aajax.load(tmp_path / "run"), "grim"])
    aajax.league([tmp_path / "run"], num_games=2)
    assert [x.startswith(line) for x in caplog.messages] == [True] * 3


def test_a_policy_of_ones_own_takes_a_seat(run):
    policy = categorical_policy(aajax.nets.tabular(5, 2))
    params = jax.tree.map(lambda x: x * 0.0, policy.init(jax.random.key(0)))
    params["actor"] = params["actor"].at[:, 1].set(50.0)
    episodes = aajax.play([(policy, params), run])
    np.testing.assert_array_equal(episodes.trajectory.action[..., 0], 1)


def test_seats_that_cannot_be_taken(run):
    lines = {
        "game is None: a game is needed": lambda: aajax.play(["grim", "grim"]),
        "seats has 1 entries: 2 players, one": lambda: aajax.play([run]),
        "seats has 'gram': one of always_co": lambda: aajax.play([run, "gram"]),
        "seats has .*, 2.: one of the seeds 0 to 1": lambda: aajax.play(
            [(run, 2), run]
        ),
        "seats has .*: a run of game 'coin' is ": lambda: aajax.play(
            [run], game="coin"
        ),
        "num_games is 0: at least 1 is needed": lambda: aajax.play(
            [run, run], num_games=0
        ),
        "seed is -1: a whole number in ": lambda: aajax.play([run, run], seed=-1),
        "options is .*: none is needed with": lambda: aajax.play(
            [run, "grim"], options={"reward": 3}
        ),
    }
    for line, call in lines.items():
        with pytest.raises(InputError, match=f"^{line}"):
            call()


def test_a_league_of_runs_and_scripted_players(run, tmp_path):
    players = [run.folder, "always_defect", "tit_for_tat"]
    table = aajax.league(players, num_games=4, out=tmp_path / "league")
    assert table["players"] == ["small", "always_defect", "tit_for_tat"]
    assert len(table["line_ups"]) == 9
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    np.testing.assert_allclose(
        rewards["always_defect", "tit_for_tat"], [(0 - 6) / 4, (-3 - 6) / 4], rtol=1e-6
    )
    stored = json.loads((tmp_path / "league" / "league.json").read_text())
    assert stored["players"] == table["players"]
    assert (tmp_path / "league" / "league.png").exists()
    assert aajax.league([run, *players[1:]], num_games=4) == table


def test_a_league_of_three_seats_shows_one_among_copies(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        curves, "heat_map", lambda axes, values, text: shown.append(values)
    )
    monkeypatch.setattr(Figure, "colorbar", lambda *arguments, **options: None)
    players = ["always_cooperate", "always_defect"]
    aajax.league(players, game="public_goods", num_games=2, out=tmp_path)
    pot = 1.6 / 3  # of a unit, to each
    wanted = [[3 * pot - 1, pot - 1], [2 * pot, 0]]
    np.testing.assert_allclose(shown[0], wanted, atol=1e-6)
    assert (tmp_path / "league.png").exists()


def test_leagues_that_cannot_be(run):
    with pytest.raises(InputError, match="^players is .* and game None: a run"):
        aajax.league(["tit_for_tat"])
    with pytest.raises(InputError, match="players has 'gram': one of always_cooperate"):
        aajax.league([run, "gram"])
    with pytest.raises(InputError, match="num_games is 0: at least 1 is needed"):
        aajax.league([run], num_games=0)
    with pytest.raises(InputError, match="they are one, and each is needed once"):
        aajax.league([run, run.folder])
