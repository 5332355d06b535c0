"""Public goods in words, by hand and by scripted players."""

import jax
import numpy as np
import pytest
from words_by_hand import ByHand

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.play.measures import measure
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.dialogue.registry import make
from aajax.envs.public_goods.words import LEVELS, _level


def begin(wording="short", **options):
    return ByHand(make("public-goods", wording, **options))


def message(text):
    return f"<<message_start>>{text}<<message_end>>"


def test_a_match_in_few_words():
    by_hand = begin()
    assert by_hand.game.steps == (True,)
    assert by_hand.kinds() == ["contribution"] * 3
    rules = "Give of 10 coins, each pays 0.5 to all 3. <x> for x coins"
    assert by_hand.texts() == [f"{rules}\nGive?"] * 3
    assert by_hand.say("<10>", " <4>\n", "<11>") == [7, 13, 17]
    assert by_hand.texts() == [
        "They gave little\nGive?",
        "They gave much\nGive?",
        "They gave much\nGive?",
    ]
    assert by_hand.say(10, 10, 0) == [10, 10, 20]
    assert by_hand.texts() == [
        "They gave much\nGive?",
        "They gave much\nGive?",
        "They gave all\nGive?",
    ]
    by_hand.say(3, 0, 0)
    assert by_hand.texts()[0] == "They gave nothing\nGive?"


def test_in_full_everybody_has_a_name():
    by_hand = begin("full", num_agents=5, multiplier=2)
    texts = by_hand.texts()
    assert texts[1].startswith(
        "You are player B in a game of many rounds with 4 other players: A, C, D, E. "
    )
    for words in (
        "every coin in the pot pays 0.4 points to each of you",
        "each of you earns 20 points; if nobody contributes anything, 10 points",
        "all others contribute everything earns 26 points",
        "all others keep everything earns 4 points",
    ):
        assert words in texts[0]
    by_hand.say(1, 2, 3, 4, 10)
    assert by_hand.texts()[1].splitlines()[0] == (
        "The last round is over. You contributed 2 and earned 16 points. The others "
        "contributed: A 1, C 3, D 4, E 10."
    )


def test_all_talk_at_once_and_hear_all_others():
    by_hand = begin("brief", num_messages=2, answers="all_or_nothing")
    assert by_hand.game.steps == (False, False, True)
    assert by_hand.kinds() == ["message"] * 3
    by_hand.say(message('All "in"?'), message("yes"), "no tags")
    assert by_hand.texts() == [
        'B says: "yes"\nC says: ""\nWhat do you say?',
        'A says: "All \\"in\\"?"\nC says: ""\nWhat do you say?',
        'A says: "All \\"in\\"?"\nB says: "yes"\nWhat do you say?',
    ]
    assert by_hand.say(*(message(x) for x in "abc")) == [0, 0, 0]
    assert by_hand.kinds() == ["contribution"] * 3
    assert by_hand.texts()[2] == 'A says: "a"\nB says: "b"\nWhat do you give?'
    assert by_hand.say("<contribute>", "<keep>", "<5>") == [5, 15, 15]
    assert by_hand.texts()[2] == (
        "You gave 0 and got 15 points. The others gave: A 10, B 0.\nWhat do you say?"
    )


def played(game, *seats):
    names = scripted_names(game)
    at_table = {name: scripted_player(game, name) for name in names}
    seats = tuple(map(Seat, seats))
    return play(game, at_table, [Matchup(0, 0, 0, seats)], jax.random.key(0))


@pytest.mark.parametrize("num_messages", [0, 1])
def test_measures_of_reciprocity(num_messages):
    game = make("public-goods", num_rounds=3, num_messages=num_messages)
    matches = played(game, "always_contribute", "always_keep", "conditional_cooperator")
    (match,) = matches
    assert match.rewards == [[10, 20, 10], [7.5, 17.5, 12.5], [7.5, 17.5, 12.5]]
    found = measure(game, matches)
    expected = {
        "contribution": (1 + 0 + 2 / 3) / 3,
        "contribution_seat_2": 2 / 3,
        "contribution_after_start": 2 / 3,
        "contribution_after_nothing": None,
        # Of the 20 coins of two others.
        "contribution_after_little_seat_0": 1,
        "contribution_after_much_seat_2": 1 / 2,
        "contribution_after_all": 0,
        "efficiency": (40 + 37.5 * 2) / 135,
    }
    for name, value in expected.items():
        assert found[name] == (value if value is None else pytest.approx(value))
    assert all(turn.valid for seat in match.turns for turn in seat)
    if num_messages:
        assert match.turns[2][2].answer == message("I give 5.")
        assert 'Player B says: "I give 0."' in match.turns[2][3].text


def test_levels():
    given = np.array([0, 1, 9, 10, 19, 20])
    names = [LEVELS[i] for i in _level(given, 20)]
    assert names == ["nothing", "little", "little", "much", "much", "all"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_agents": 1}, "num_agents is 1: a whole number from 2 to 12 is needed"),
        ({"answers": "some"}, "answers is 'some': one of amounts, all_or_nothing is"),
        ({"num_messages": -1}, "num_messages is -1: a whole number from 0 on is"),
        ({"message_chars": 0}, "message_chars is 0: a whole number from 1 to 1000"),
        ({"num_rounds": 0}, "num_rounds is 0: a whole number from 1 on is needed"),
        ({"multiplier": 0.0}, "multiplier is 0.0: a finite number > 0 is needed"),
    ],
)
def test_what_is_refused(options, reason):
    with pytest.raises(ValueError) as error:
        make("public-goods", **options)
    assert str(error.value).startswith(reason)
