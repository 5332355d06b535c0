"""Leagues in words, of scripted players whose rewards can be worked out by hand."""

import dataclasses

import jax
import numpy as np
import pytest
from dialogue.tiny_words import TinyWords
from scipy import stats

from aajax.dialogue import registry
from aajax.dialogue.play.lockstep import Seat
from aajax.dialogue.play.matches import load_matches
from aajax.dialogue.players.scripted import ScriptedPlayer, scripted_player
from aajax.envs.matrix import public_goods
from aajax.tournament.text_league import (
    ALL_MATCHES,
    Entrant,
    mean_over_games,
    pairs_of,
    play_pairs,
    text_table,
)

IPD = registry.make("ipd", num_rounds=4)
RANDOM = ("random", "tit_for_tat")


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """A player that notes for which matches it is called."""

    player: ScriptedPlayer
    matches: list

    def start(self, rows):
        self.matches.extend(row.match for row in rows)
        return self.player.start(rows)

    def reply(self, memory, requests, keys):
        return self.player.reply(memory, requests, keys)


def entrants(names):
    return [Entrant(name, Seat(name)) for name in names]


def league(game, names, num_matches, folder, seed=0, seen=None):
    """Pairs and matches, as they are played."""
    pairs = pairs_of(entrants(names), num_matches, seed, num_seats=game.env.num_agents)

    def line_up():
        there = {name: scripted_player(game, name) for name in names}
        if seen is None:
            return there
        return {name: Watched(player, seen) for name, player in there.items()}

    return play_pairs(game, line_up, pairs, seed, folder)


def not_called():
    raise AssertionError("all was played before")


def test_pairs_meet_in_the_same_environments():
    pairs = pairs_of(entrants("abc"), 5, seed=1, num_seats=2)
    assert [pair.names for pair in pairs] == [(x, y) for x in "abc" for y in "abc"]
    worlds = {tuple(f.env_seed for f in pair.matchups) for pair in pairs}
    assert len(worlds) == 1 and len(set(worlds.pop())) == 5
    assert {tuple(f.group for f in pair.matchups) for pair in pairs} == {
        (0, 1, 2, 3, 4)
    }
    numbers = [f.number for pair in pairs for f in pair.matchups]
    assert numbers == list(range(45))
    assert pairs_of(entrants("abc"), 5, seed=2, num_seats=2) != pairs


def test_the_prisoners_dilemma(tmp_path):
    names = ("always_cooperate", "always_defect", "tit_for_tat")
    table = text_table(IPD, league(IPD, names, 2, tmp_path))
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    assert rewards == {
        ("always_cooperate", "always_cooperate"): [3, 3],
        ("always_cooperate", "always_defect"): [0, 5],
        ("always_cooperate", "tit_for_tat"): [3, 3],
        ("always_defect", "always_cooperate"): [5, 0],
        ("always_defect", "always_defect"): [1, 1],
        ("always_defect", "tit_for_tat"): [(5 + 3) / 4, 3 / 4],
        ("tit_for_tat", "always_cooperate"): [3, 3],
        ("tit_for_tat", "always_defect"): [3 / 4, (5 + 3) / 4],
        ("tit_for_tat", "tit_for_tat"): [3, 3],
    }
    assert {x["interval"][0] for x in table["line_ups"]} == {0}
    assert table["players"] == list(names)
    assert (table["num_matches"], table["num_rounds"]) == (2, 4)
    measures = table["line_ups"][5]["measures"]
    assert measures["cooperation"] == {
        "seats": [(0, 0), (1 / 4, 0)],
        "both": (1 / 8, 0),
    }
    assert measures["cooperation_after_dd"]["seats"] == [(0, 0), (0, 0)]
    assert measures["cooperation_after_cc"]["both"] == (None, None)
    face_offs = {
        (x["player"], x["opponent"]): x["measures"] for x in table["face_offs"]
    }
    assert len(face_offs) == 9
    for (first, second), own in face_offs.items():
        assert own["reward"] == (rewards[first, second][0], 0)
    defected = face_offs["tit_for_tat", "always_defect"]
    assert defected["cooperation_after_start"] == (1, 0)
    assert defected["cooperation"] == (1 / 4, 0)


def test_one_among_copies_of_another(tmp_path):
    """Three seats: who cooperates with k others gets 1.6 (k + 1) / 3 − 1."""
    game = TinyWords(2, public_goods(num_agents=3))
    names = ("always_cooperate", "always_defect", "tit_for_tat")
    played = list(league(game, names, 4, tmp_path))
    seats = [match.players for match in played[1][1]]
    c, d = "always_cooperate", "always_defect"
    assert seats == [(c, d, d), (d, c, d), (d, d, c), (c, d, d)]
    assert {match.players for match in played[4][1]} == {(d, d, d)}
    table = text_table(game, played)
    assert table["num_seats"] == 3
    lone, two, every = 1.6 / 3 - 1, 3.2 / 3 - 1, 0.6
    first = (lone + 0) / 2  # of who answers defection
    rewards = {tuple(x["players"]): x["reward"] for x in table["line_ups"]}
    expected = {
        (c, c): [every, every],
        (c, d): [lone, 1.6 / 3],
        (d, c): [3.2 / 3, two],
        (d, d): [0, 0],
        (d, "tit_for_tat"): [3.2 / 3 / 2, two / 2],
        ("tit_for_tat", d): [first, 1.6 / 3 / 2],
    }
    for both, reward in expected.items():
        assert rewards[both] == pytest.approx(reward, abs=1e-6)
    faced = {(x["player"], x["opponent"]): x["measures"] for x in table["face_offs"]}
    # Of the copies nothing counts, but with itself all do.
    assert faced[c, d]["reward"][0] == pytest.approx(lone, abs=1e-6)
    assert faced["tit_for_tat", d]["reward"][0] == pytest.approx(first, abs=1e-6)
    assert faced["tit_for_tat", c]["reward"][0] == pytest.approx(every, abs=1e-6)
    assert faced[c, c]["reward"][0] == pytest.approx(every, abs=1e-6)
    averages = {x["player"]: x["reward"][0] for x in table["averages"]}
    own = (0 + 3.2 / 3 + 3.2 / 3 / 2) / 3  # all whom it met count alike
    assert averages[d] == pytest.approx(own, abs=1e-6)
    # Resumed, it is the same.
    assert text_table(game, league(game, names, 4, tmp_path)) == table


def test_splits_pay_what_is_known(tmp_path):
    game = registry.make("split")
    played = list(league(game, ("welfare", "greedy"), 32, tmp_path))
    values = [[match.facts for match in matches] for _, matches in played]
    assert all(own == values[0] for own in values)
    table = text_table(game, played)
    measured = {tuple(x["players"]): x["measures"] for x in table["line_ups"]}
    expected = {
        ("welfare", "welfare"): (127.5, 127.5, 1.0, {105, 150}),
        ("greedy", "greedy"): (82.5, 82.5, 0.6357, {60, 105}),
        ("welfare", "greedy"): (68.333, 141.667, None, {53.333, 83.333}),
    }
    for (pair, matches), (names, own) in zip(played, measured.items(), strict=True):
        assert pair.names == names
        if names not in expected:
            continue
        first, second, efficiency, points = expected[names]
        for seat, mean in enumerate((first, second)):
            found, interval = own["reward"]["seats"][seat]
            assert abs(found - mean) < 1.5 * interval  # three standard errors
            assert 0 < interval < 6
        if efficiency is not None:
            found, interval = own["split_efficiency"]["both"]
            assert found == pytest.approx(efficiency, abs=1.5 * interval + 1e-6)
        paid = {round(r[0], 3) for match in matches for r in match.rewards}
        assert paid == points
    welfare, greedy = measured["welfare", "greedy"]["proposal_where_lower"]["seats"]
    assert (welfare[0], greedy[0]) == (0, 10)
    for face_off in table["face_offs"]:
        players = face_off["player"], face_off["opponent"]
        opposite = measured[players[::-1]]["reward"]["seats"][1][0]
        both = (measured[players]["reward"]["seats"][0][0] + opposite) / 2
        assert face_off["measures"]["reward"][0] == pytest.approx(both)


def test_a_league_goes_on_where_it_was(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    table = text_table(IPD, league(IPD, RANDOM, 3, whole, seen=(first := [])))
    assert sorted(set(first)) == list(range(12))
    interrupted = league(IPD, RANDOM, 3, cut)
    next(interrupted), next(interrupted)
    interrupted.close()
    (cut / "pairs" / "000002.jsonl.gz.partial").write_bytes(b"cut off")
    assert not (cut / ALL_MATCHES).exists()
    played = list(league(IPD, RANDOM, 3, cut, seen=(second := [])))
    assert sorted(set(second)) == list(range(6, 12))
    assert text_table(IPD, played) == table
    saved = [list(load_matches(folder / ALL_MATCHES)) for folder in (whole, cut)]
    assert saved[0] == saved[1] and len(saved[0]) == 12
    assert [path.name for path in cut.iterdir()] == [ALL_MATCHES]
    pairs = pairs_of(entrants(RANDOM), 3, 0, num_seats=2)
    again = play_pairs(IPD, not_called, pairs, 0, cut)
    assert text_table(IPD, again) == table
    other = league(IPD, RANDOM, 3, tmp_path / "other", seed=1)
    assert text_table(IPD, other) != table


def test_records_name_who_played(tmp_path):
    pairs = pairs_of([Entrant("tit", Seat("tit_for_tat"))], 1, 0, num_seats=2)
    there = {"tit_for_tat": scripted_player(IPD, "tit_for_tat")}
    ((_, (match,)),) = play_pairs(IPD, lambda: there, pairs, 0, tmp_path)
    assert match.players == ("tit", "tit")


def test_intervals():
    rng = np.random.default_rng(0)
    total = rng.normal(size=9)
    mean, interval = mean_over_games(total, np.full(9, 2.0))
    low, high = stats.t.interval(0.95, 8, total.mean() / 2, stats.sem(total / 2))
    assert (mean, interval) == pytest.approx(((low + high) / 2, (high - low) / 2))
    # Environments in which nothing counted change nothing.
    count = np.concatenate([np.full(9, 2.0), np.zeros(3)])
    padded = np.concatenate([total, np.zeros(3)])
    assert mean_over_games(padded, count) == pytest.approx((mean, interval))
    assert mean_over_games(np.array([3.0, 0]), np.array([4.0, 0])) == (0.75, None)
    assert mean_over_games(np.zeros(2), np.zeros(2)) == (None, None)


def test_intervals_of_ratios_cover():
    """Of 2000 samples of unequal counts, about 95 % have the truth in theirs."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(2000):
        count = rng.integers(0, 10, 40).astype(float)
        # Environments differ, so that their answers are not independent.
        chance = rng.beta(2, 6, 40)
        total = rng.binomial(count.astype(int), chance).astype(float)
        mean, interval = mean_over_games(total, count)
        hits += abs(mean - 0.25) < interval
    assert 0.92 < hits / 2000 < 0.97


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^players is \['a', 'a'\]: one or more"):
        pairs_of(entrants("aa"), 1, 0, num_seats=2)
    with pytest.raises(ValueError, match="^num_matches is 0: at least 1 is needed"):
        pairs_of(entrants("a"), 0, 0, num_seats=2)
    list(league(IPD, RANDOM, 1, tmp_path))
    for changes in ({"seed": 1}, {"num_matches": 2}):
        options = {"num_matches": 1, "seed": 0, **changes}
        with pytest.raises(ValueError, match=f"^folder is .*{ALL_MATCHES} has other"):
            list(league(IPD, RANDOM, folder=tmp_path, **options))
