"""Tables in terminals that are narrow, and what they are called."""

import itertools

import pytest
from rich.console import Console

from aajax.report import tables

LONG = "my_games/of_a_long_name/own_game.py:SPEC, beta=1.5, learning_rate=0.003"


def lines(table, width):
    console = Console(width=width)
    with console.capture() as found:
        console.print(table)
    return found.get().splitlines()


def swept(num_settings=3, seeds=(0, 1)):
    league = "always_cooperate", "always_defect", "tit_for_tat", "win_stay_lose_shift"
    setting = {
        "mean_reward": [-1.25, -1.25],
        "measures": {f"P(C | {x})": [0.5, 0.5] for x in ("start", "CC", "CD", "DD")},
        "league": {name: [-2.75, -2.75] for name in league},
    }
    settings = [
        {"hyperparameters": {"beta": float(i), "past": "discounted"}, **setting}
        for i in range(num_settings)
    ]
    return {"preset": "ipd", "game": "ipd", "seeds": seeds, "settings": settings}


@pytest.mark.parametrize("width", [60, 80, 300])
def test_a_sweeps_table_has_all_numbers_at_any_width(width):
    found = lines(tables.summary_table(swept()), width)
    assert max(map(len, found)) <= width
    text = "\n".join(found)
    assert "…" not in text and "..." not in text
    assert text.count("-2.75") == 3 * 4 and text.count("0.50") == 3 * 4
    # Every part says what its rows are of.
    parts = text.count("───\n")
    assert text.count("discounted") == 3 * parts
    assert (parts == 1) == (width == 300)


@pytest.mark.parametrize("num_settings", [1, 3])
@pytest.mark.parametrize(("seeds", "count"), [((0,), "1 seed"), ((0, 1), "2 seeds")])
def test_a_title_counts_seeds(num_settings, seeds, count):
    title = lines(tables.summary_table(swept(num_settings, seeds)), 300)[0].strip()
    ends = {1: f"ipd: {count}, after training", 3: f"ipd: means over {count}"}
    assert title == ends[num_settings]


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("num_agents", [2, 3, 7])
def test_a_leagues_table_cuts_no_name_off(width, num_agents):
    players = ["a", "always_defect", LONG]
    line_ups = [
        {"players": who, "reward": [-1.5] * num_agents, "interval": [0.25] * num_agents}
        for who in itertools.islice(itertools.product(players, repeat=num_agents), 9)
    ]
    league = {"game": "ipd", "players": players, "line_ups": line_ups}
    found = lines(tables.league_table(league), width)
    assert max(map(len, found)) <= width
    assert sum(line.count("-1.500 ± 0.250") for line in found) == 9 * num_agents
    whole = "".join(line.split("│")[2].strip() for line in found if "│" in line)
    assert whole.replace(" ", "").count(LONG.replace(" ", "")) == sum(
        who["players"].count(LONG) for who in line_ups
    )


def test_where_there_is_room_a_line_up_is_one_row():
    line_up = {"players": ["a", "b"], "reward": [1.0, 2.0], "interval": [None, None]}
    league = {"game": "coin", "line_ups": [line_up] * 2}
    found = lines(tables.league_table(league), 80)
    assert found[0].strip() == "coin: reward per step, with 95 % intervals over seeds"
    assert sum("1.000" in line and "2.000" in line for line in found) == 2


def test_one_among_copies_has_no_seat_of_its_own():
    line_up = {"players": ["a", "b"], "reward": [1.0, 2.0], "interval": [None, None]}
    league = {"game": "public-goods", "num_seats": 3, "line_ups": [line_up]}
    wide, narrow = ("".join(lines(tables.league_table(league), w)) for w in (80, 40))
    for heading in ("one seat", "all other seats", "reward of one", "reward of others"):
        assert heading in wide
    assert "seat 0" not in wide + narrow
    assert "of one" in narrow and "of others" in narrow


@pytest.mark.parametrize(
    ("summary", "title"),
    [
        ({"preset": "ipd", "game": "ipd"}, "ipd"),
        ({"preset": "ipd-ppo", "game": "ipd"}, "ipd-ppo"),
        ({"preset": "harvest-small", "game": "harvest"}, "harvest-small"),
        ({"preset": "ipd", "game": "ipd_points"}, "ipd_points (settings of ipd)"),
        ({"preset": "ipd", "game": "public_goods"}, "public_goods (settings of ipd)"),
        ({"preset": "ipd", "game": "own.py:GAME"}, "own.py:GAME (settings of ipd)"),
        (
            {"preset": "ipd", "game": "ipd", "payoff": "some/my.json"},
            "payoff my.json (settings of ipd)",
        ),
        (
            {"preset": "ipd", "game": "ipd", "payoff": "[[[1, 0], [0, 1]]]"},
            "own payoffs (settings of ipd)",
        ),
        ({"preset": "lm-ipd", "game": "ipd"}, "lm-ipd"),
        ({"preset": "lm-ipd", "game": "chicken"}, "chicken (settings of lm-ipd)"),
        (
            {"preset": "lm-trust-and-split-sum", "game": "trust-and-split"},
            "lm-trust-and-split-sum",
        ),
        ({"preset": "ipd"}, "ipd"),  # of an early version
    ],
)
def test_a_run_is_called_by_the_game_that_was_played(summary, title):
    assert tables.run_title(summary) == title
