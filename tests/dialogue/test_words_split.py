"""Split in words, by hand and by scripted players."""

import jax
import numpy as np
import pytest
from words_by_hand import ByHand

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.scripted import scripted_player
from aajax.dialogue.registry import make

VALUES = np.array([[10, 1, 1], [1, 10, 1]], np.int32)


def test_a_match_in_few_words():
    by_hand = ByHand(make("split", "short")).deal(values=VALUES)
    opening = "Share 10 hats, 10 books, 10 balls. Proposal: x hats, y books, z balls"
    assert by_hand.texts() == [
        f"{opening}\n10 > 1 hats, 1 < 10 books, 1 = 1 balls",
        f"{opening}\n1 < 10 hats, 10 > 1 books, 1 = 1 balls",
    ]
    assert by_hand.kinds() == ["proposal", "proposal"]
    earned = by_hand.say(
        "Proposal: 10 hats, 0 books, 5 balls", "Proposal: 10 hats, 10 books, 10 balls"
    )
    np.testing.assert_allclose(earned, [160 / 3, 335 / 3], rtol=1e-6)
    by_hand.deal(values=VALUES[::-1])
    hats, books = "10 > 1 hats, 1 < 10 books", "1 < 10 hats, 10 > 1 books"
    assert by_hand.texts() == [
        f"They took yours\n{books}, 1 = 1 balls",
        f"They left yours\n{hats}, 1 = 1 balls",
    ]
    assert by_hand.say([0, 10, 5], [10, 0, 5]) == [105, 105]


def test_in_full_the_last_round_is_told():
    by_hand = ByHand(make("split")).deal(values=VALUES)
    opening, other = by_hand.texts()
    assert "Worth to you: hats=10, books=1, balls=1\n" in opening
    assert "Worth to the other player: hats=1, books=10, balls=1\n" in opening
    assert "Worth to you: hats=1, books=10, balls=1\n" in other
    assert "1 or 10 points" in opening
    by_hand.say("Proposal: 10 hats, 0 books, 5 balls", "Proposal: 10 hats")
    first, second = (text.splitlines()[0] for text in by_hand.texts())
    assert "keep 10 hats, 0 books, 5 balls and earned 55 points." in first
    assert first.endswith("keep 10 hats, 0 books, 0 balls and earned 5 points.")
    assert "You proposed to keep 10 hats, 0 books, 0 balls and earned 5" in second
    assert opening.splitlines()[0] not in by_hand.texts()[0]


def test_in_brief_the_last_round_is_told():
    by_hand = ByHand(make("split", "brief")).deal(values=VALUES)
    values = "Worth to you: hats=10, books=1, balls=1. To them: hats=1, books=10, balls"
    assert values in by_hand.texts()[0]
    by_hand.say("Proposal: 10 hats, 0 books, 5 balls", "Proposal: 10 hats")
    first, second = (text.splitlines()[0] for text in by_hand.texts())
    assert first == (
        "They asked for 10 hats, 0 books, 0 balls. You got 55 points, they 5."
    )
    assert second == (
        "They asked for 10 hats, 0 books, 5 balls. You got 5 points, they 55."
    )


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Proposal: 10 hats, 5 books, 0 balls", (10, 5, 0)),
        ("proposal:0 BALLS 1 Hat 7 book,", (1, 7, 0)),
        ("PROPOSAL: 3 books", (0, 3, 0)),
        ("Proposal: 3 hats, 4 hats", (4, 0, 0)),
        ("Proposal:\n10hats10books10balls", (10, 10, 10)),
        ("Proposal: 5 hats, 5 books, 5 balls.", None),
        (" Proposal: 5 hats", (5, 0, 0)),
        ("\n\u00a0Proposal: 5 hats\u2003\n", (5, 0, 0)),
        ("Proposal: 5\u2003hats", None),
        ("Proposal: 11 hats, 1 books, 1 balls", None),
        ("Proposal: -1 hats", None),
        ("Proposal: 5 pens", None),
        ("Proposal:", None),
        ("5 hats, 5 books, 5 balls", None),
        ("", None),
    ],
)
def test_proposals(text, asked):
    action, valid = make("split").parse("proposal", text)
    assert valid is (asked is not None)
    np.testing.assert_array_equal(action, asked or (0, 0, 0))


def test_who_asks_for_nothing_earns_nothing():
    by_hand = ByHand(make("split")).deal(values=VALUES)
    assert by_hand.say("I want it all!", [10, 10, 10]) == [0, 120]


@pytest.mark.parametrize(
    ("values", "num_items", "told"),
    [
        ("one_to_twenty", 2, "a whole number from 1 to 20"),
        ("exclusive", 4, "1 or 10"),
    ],
)
def test_other_environments(values, num_items, told):
    game = make("split", values=values, num_items=num_items, num_rounds=3)
    by_hand = ByHand(game)
    text = by_hand.texts()[0]
    items = ("hats", "books", "balls", "pens")[:num_items]
    assert told in text
    assert "Proposal: " + ", ".join(
        map(" ".join, zip("xyzw", items, strict=False))
    ) in (text.splitlines())
    assert game.env.num_steps == game.num_rounds == 3
    (facts,) = game.facts(by_hand.table.state).values()
    assert np.shape(facts) == (2, num_items)
    own = ", ".join(f"{i}={v}" for i, v in zip(items, facts[0], strict=True))
    assert f"Worth to you: {own}" in text


def test_scripted_players_earn_what_they_do_in_the_environment():
    """Where 1 and where 2 items are worth 10, which is as likely, exactly."""
    game = make("split", "short")
    names = ("welfare", "greedy")
    sides = [(a, b) for a in names for b in names]
    matchups = [
        Matchup(number, number // 4, number // 4, tuple(map(Seat, sides[number % 4])))
        for number in range(16)
    ]
    players = {name: scripted_player(game, name) for name in names}
    matches = play(game, players, matchups, jax.random.key(0))
    exact = {
        ("welfare", "welfare"): {12: (105, 105), 21: (150, 150)},
        ("greedy", "greedy"): {12: (60, 60), 21: (105, 105)},
        ("welfare", "greedy"): {12: (160 / 3, 335 / 3), 21: (250 / 3, 515 / 3)},
    }
    mean = {(a, b): np.mean(list(of.values()), 0) for (a, b), of in exact.items()}
    np.testing.assert_allclose(mean["welfare", "welfare"], 127.5)
    np.testing.assert_allclose(mean["greedy", "greedy"], 82.5)
    np.testing.assert_allclose(mean["welfare", "greedy"], [68.33, 141.67], atol=0.01)
    seen = set()
    for match in matches:
        for facts, earned in zip(match.facts, match.rewards, strict=True):
            total = sum(facts["values"][0])
            flipped = match.players == ("greedy", "welfare")
            pair = match.players[::-1] if flipped else match.players
            expected = exact[pair][total]
            np.testing.assert_allclose(
                earned, expected[::-1] if flipped else expected, rtol=1e-6
            )
            seen.add((match.players, total))
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": "many"}, "^values is 'many': one of ties, exclusive, "),
        ({"num_items": 5}, "^num_items is 5: a whole number from 2 to 4"),
        ({"num_rounds": -1}, "^num_rounds is -1: "),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("split", **options)
