"""Prisoner's dilemma, chicken and stag hunt in words, by hand."""

import re

import numpy as np
import pytest
from words_by_hand import ByHand

from aajax.dialogue.registry import make
from aajax.envs.matrix.words import LONGEST_SHOWN


def test_a_match_in_few_words():
    by_hand = ByHand(make("ipd", "short"))
    assert by_hand.kinds() == ["choice", "choice"]
    assert by_hand.texts() == ["<A> or <B>? AA 3, AB 0, BA 5, BB 1."] * 2
    assert by_hand.say("<A>", "<A>") == [3, 3]
    assert by_hand.texts() == ["They: <A>", "They: <A>"]
    assert by_hand.say("<A>", "<B>") == [0, 5]
    assert by_hand.texts() == ["They: <B>", "They: <A>"]
    assert by_hand.say("<B>", "<A>") == [5, 0]
    assert by_hand.say("<B>", "<B>") == [1, 1]
    assert by_hand.say(1, 0) == [5, 0]
    assert by_hand.texts() == ["They: <A>", "They: <B>"]


@pytest.mark.parametrize("wrong", ["", "<a>", "< A>", "A", "<A><A>", "<C>"])
def test_anything_else_counts_as_b_and_is_shown(wrong):
    by_hand = ByHand(make("ipd", "short"))
    assert by_hand.say(wrong, "<A>") == [5, 0]
    assert by_hand.texts() == ["They: <A>", f"They: {wrong}"]
    assert not by_hand.game.parse("choice", wrong).valid


@pytest.mark.parametrize("spaced", [" <A>", "<A>\n", "\t\n<A> \u00a0", "\u2003<A>"])
def test_white_space_around_is_not_judged(spaced):
    by_hand = ByHand(make("ipd", "short"))
    assert by_hand.say(spaced, "<B>") == [0, 5]
    assert by_hand.texts() == ["They: <B>", "They: <A>"]
    assert by_hand.game.parse("choice", spaced).valid


def test_a_long_answer_is_shown_in_part():
    by_hand = ByHand(make("ipd", "short"))
    by_hand.say("<A>" * 1000, "{other}")
    assert by_hand.texts() == [
        "They: {other}",
        "They: " + ("<A>" * 1000)[:LONGEST_SHOWN] + "…",
    ]
    by_hand.say('"' * LONGEST_SHOWN, '"' * (LONGEST_SHOWN + 1))
    quotes = '\\"' * LONGEST_SHOWN
    assert by_hand.texts() == [f"They: {quotes}…", f"They: {quotes}"]


def test_in_full_both_are_told_what_they_earned():
    by_hand = ByHand(make("ipd"))
    opening, same = by_hand.texts()
    assert opening == same
    for line in [
        "- You both choose A: 3 for each of you.",
        "- You both choose B: 1 for each of you.",
        "- You choose A and the other player B: 0 for you, 5 for the other player.",
        "- You choose B and the other player A: 5 for you, 0 for the other player.",
    ]:
        assert line in opening.splitlines()
    by_hand.say("<A>", "<B>")
    loser, winner = by_hand.texts()
    assert loser.startswith('The other player answered "<B>".\n')
    assert "gave you 0 and the other player 5 points" in loser
    assert winner.startswith('The other player answered "<A>".\n')
    assert "gave you 5 and the other player 0 points" in winner


def test_in_brief_both_are_told_what_they_earned():
    by_hand = ByHand(make("ipd", "brief"))
    points = "Points for you: both A 3; you A, they B 0; you B, they A 5; both B 1."
    assert all(points in text for text in by_hand.texts())
    by_hand.say("<A>", "<B>")
    assert by_hand.texts() == [
        'They answered "<B>". You got 0 points.',
        'They answered "<A>". You got 5 points.',
    ]


@pytest.mark.parametrize(
    ("name", "options", "points"),
    [
        ("chicken", {}, "AA 0, AB -1, BA 1, BB -10"),
        ("stag-hunt", {}, "AA 4, AB 0, BA 3, BB 3"),
        ("ipd", {"payoff": [[2, -1.5], [3, 0.25]]}, "AA 2, AB -1.5, BA 3, BB 0.25"),
    ],
)
def test_points_are_those_of_the_environment(name, options, points):
    game = make(name, "short", num_rounds=4, **options)
    by_hand = ByHand(game)
    assert points in by_hand.texts()[0]
    told = dict(part.split() for part in points.split(", "))
    for answers, pair in [("<A><A>", "AA"), ("<A><B>", "AB"), ("<B><B>", "BB")]:
        earned = by_hand.say(answers[:3], answers[3:])
        assert earned == [float(told[pair]), float(told[pair[::-1]])]
    assert game.env.num_steps == game.num_rounds == 4
    assert game.name == name
    assert game.facts(by_hand.table.state) == {}


@pytest.mark.parametrize("wording", ["full", "brief", "short"])
def test_choices_are_called_by_other_letters(wording):
    plain, other = make("ipd", wording), make("ipd", wording, letters="Q7")
    told = [ByHand(game).texts()[0] for game in (plain, other)]
    for letter, renamed in ("A", "Q"), ("B", "7"):
        told[0] = told[0].replace(f"<{letter}>", f"<{renamed}>")
        told[0] = re.sub(rf"\b{letter}\b(?! new)", renamed, told[0])
    if wording != "short":  # which has them in pairs
        assert told[1] == told[0]
    assert other.patterns == {"choice": "<Q>|<7>"}
    assert ByHand(other).say("<Q>", "<7>") == ByHand(plain).say("<A>", "<B>")
    assert [other.say("choice", np.int32(i)) for i in range(2)] == ["<Q>", "<7>"]
    parsed = other.parse("choice", "<A>")
    assert (int(parsed.action), parsed.valid) == (1, False)
    assert other.invalid_rule == "it counts as <7>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"letters": "AA"}, "^letters is 'AA': two different letters are needed$"),
        ({"letters": "ABC"}, "^letters is 'ABC': two different letters are needed$"),
        ({"letters": "<>"}, "^letters is '<>': letters or digits are needed$"),
        ({"payoff": [3, 0, 5, 1]}, r"^payoff has shape \(4,\): two rows"),
        ({"payoff": np.full((2, 2), np.nan)}, "^payoff is .*finite"),
        ({"num_rounds": 0}, "^num_rounds is 0: a whole number from 1 on is needed$"),
        ({"num_rounds": 2.5}, "^num_rounds is 2.5: "),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("ipd", **options)
