"""Trust-and-Split in words, by hand and by scripted players."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from words_by_hand import ByHand

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.dialogue.registry import make
from aajax.envs import trust_and_split
from aajax.envs.trust_and_split import HANDS

ROCK, PAPER, SCISSORS = range(3)
SILENCE = "<<message_start>><<message_end>>"


def message(text):
    return f"<<message_start>>{text}<<message_end>>"


def coins(count):
    return f"<<proposal_start>> {count} <<proposal_end>>"


def begin(hands=(ROCK, PAPER), starter=0, wording="short", **options):
    return ByHand(make("trust-and-split", wording, **options)).deal(
        hands=np.array(hands, np.int32), starter=np.int32(starter)
    )


def test_a_match_in_few_words():
    by_hand = begin()
    rules = (
        "Share 10 coins: winning hand 10 each, losing 1. <<proposal_start>> x "
        "<<proposal_end>>\nTalk: <<message_start>> ... <<message_end>>"
    )
    assert by_hand.kinds() == ["message", None]
    assert by_hand.texts() == [
        f"{rules}\nYou: rock\nYou rock. Say?",
        f"{rules}\nYou: paper",
    ]
    assert by_hand.say(message("I have Rock, not paper"), None) == [0, 0]
    assert by_hand.kinds() == [None, "message"]
    assert by_hand.texts() == ["", "They: I have Rock, not paper\nYou paper. Say?"]
    assert by_hand.say(None, message("{hand}\n!")) == [0, 0]
    assert by_hand.table.state.said.tolist() == [[ROCK], [3]]
    assert by_hand.kinds() == ["proposal", "proposal"]
    assert by_hand.texts() == [
        "They: {hand}\\n!\nThey saw none of yours\nWinner: nobody. Coins?",
        "They saw none of yours\nWinner: you. Coins?",
    ]
    assert by_hand.say(coins(4), coins(10)) == pytest.approx([20 / 7, 500 / 7])
    by_hand.deal(hands=np.array([SCISSORS, PAPER], np.int32))
    # Now the other speaks first.
    assert by_hand.kinds() == [None, "message"]
    assert by_hand.texts() == [
        "You: scissors",
        "You: paper\nYou paper. Say?",
    ]
    by_hand.say(None, message("paper"))
    assert by_hand.texts() == ["They: paper\nYou scissors. Say?", ""]
    by_hand.say(message("rock"), None)
    assert by_hand.texts() == [
        "They saw none of yours\nWinner: you. Coins?",
        "They: rock\nThey left yours\nWinner: you. Coins?",
    ]
    # What the other did with coins of the reader's stands until there are some again.
    by_hand.say(coins(6), coins(6))
    by_hand.say(message("paper"), None)
    by_hand.say(None, message("paper"))
    assert [text.splitlines()[-2] for text in by_hand.texts()] == [
        "They took yours",
        "They left yours",
    ]


def test_a_wording_tells_how_the_other_deals(tmp_path):
    short = Path(trust_and_split.__file__).parent / "wordings" / "short"
    shutil.copytree(short, tmp_path / "own")
    proposal = tmp_path / "own" / "proposal.txt"
    proposal.write_text("Winner: {winner}. Coins?\n")
    with pytest.raises(ValueError, match="{other_dealt} in proposal.txt, are needed"):
        make("trust-and-split", tmp_path / "own")
    for value in ("{other_class}", "{other_value}", "{other_hand}"):
        (tmp_path / "own" / "last_round.txt").write_text(f"{value} {{other_coins}}\n")
        make("trust-and-split", tmp_path / "own")
    by_hand = begin(wording=tmp_path / "own", num_messages=0)
    by_hand.say(3, 4)
    assert by_hand.texts()[0].startswith("paper 4\n")


def test_in_full_the_last_round_is_told():
    by_hand = begin(wording="full")
    first, second = by_hand.texts()
    assert "worth 10 points to the player whose hand beats the other, and 1" in first
    assert "\nA new round: your hand is rock.\nYour message" in first
    assert "rock" not in second.split("A new round")[1]
    assert second.endswith("Wait for the message.")
    by_hand.say(message("hi"), None)
    by_hand.say(None, SILENCE)
    assert by_hand.texts()[0].startswith('The other player says: ""\nHow many')
    by_hand.say(coins(0), coins(7))
    lower, upper = (text.splitlines()[0] for text in by_hand.texts())
    assert (
        "Your hand was rock and the other player's paper, so each coin was worth 1 "
        "points to you and 10 to the other player."
    ) in lower
    assert "keep 0 coins and earned 0 points. " in lower
    assert lower.endswith("The other player proposed to keep 7 and earned 70 points.")
    assert (
        "Your hand was paper and the other player's rock, so each coin was worth 10 "
        "points to you and 1 to the other player."
    ) in upper
    assert "keep 7 coins and earned 70 points. " in upper


def test_in_brief_the_last_round_is_told():
    by_hand = begin(wording="brief")
    assert by_hand.texts()[0].endswith("\nYour hand: rock.\nWhat do you say?")
    by_hand.say(message("hi"), None)
    by_hand.say(None, SILENCE)
    assert by_hand.texts()[0] == 'They say: ""\nHow many coins do you keep?'
    by_hand.say(coins(0), coins(7))
    lower, upper = (text.splitlines()[0] for text in by_hand.texts())
    assert lower == (
        "You had rock, they paper: coins were worth 1 to you, 10 to them. You asked "
        "for 0 and got 0 points. They asked for 7 and got 70."
    )
    assert upper == (
        "You had paper, they rock: coins were worth 10 to you, 1 to them. You asked "
        "for 7 and got 70 points. They asked for 0 and got 0."
    )


@pytest.mark.parametrize(
    ("text", "symbol", "shown"),
    [
        (message("My hand is PAPER!"), PAPER, "My hand is PAPER!"),
        (message("scissors beat rock"), SCISSORS, "scissors beat rock"),
        (message("one scissor"), SCISSORS, "one scissor"),
        (message("rocky papers"), 3, "rocky papers"),
        (message("pa\nper > rock"), ROCK, r"pa\nper > rock"),
        (message("x" * 500), 3, "x" * 500),
        (message("rock" + "x" * 500), None, ""),
        (message("a<b rock"), None, ""),
        ("My hand is rock.", None, ""),
        (message("rock") + " ", ROCK, "rock"),
        ("\n" + message(" rock ") + "\n", ROCK, " rock "),
        ("", None, ""),
    ],
)
def test_messages(text, symbol, shown):
    by_hand = begin()
    action, valid = by_hand.game.parse("message", text)
    assert valid is (symbol is not None)
    assert int(action) == (3 if symbol is None else symbol)
    by_hand.say(text, None)
    assert by_hand.texts()[1] == f"They: {shown}\nYou paper. Say?"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (coins(10), 10),
        ("<<proposal_start>>0<<proposal_end>>", 0),
        ("<<proposal_start>>7 <<proposal_end>>", 7),
        (coins(11), None),
        (coins("07"), None),
        (coins("x"), None),
        (f"\n {coins(3)} \n", 3),
        ("<<proposal_start>>  7 <<proposal_end>>", None),
        ("7", None),
        (message("7"), None),
        ("", None),
    ],
)
def test_proposals(text, asked):
    action, valid = make("trust-and-split").parse("proposal", text)
    assert (int(action), valid) == (asked or 0, asked is not None)


def test_messages_of_hands_alone():
    by_hand = begin(messages="hands", num_messages=2)
    assert message("paper") in by_hand.texts()[0]
    parse = by_hand.game.parse
    assert parse("message", message("scissors")) == (SCISSORS, True)
    assert parse("message", message("Rock")) == (3, False)
    assert parse("message", SILENCE) == (3, False)
    for words in [("paper", None), (None, "rock"), ("rock", None), (None, "scissors")]:
        by_hand.say(*(word and message(word) for word in words))
    assert by_hand.texts() == [
        "They: scissors\nThey saw none of yours\nWinner: you. Coins?",
        "They saw none of yours\nWinner: you. Coins?",
    ]
    assert by_hand.table.state.said.tolist() == [[PAPER, ROCK], [ROCK, SCISSORS]]
    assert by_hand.say(5, 5) == [5, 50]


def test_without_messages():
    by_hand = begin(num_messages=0, num_rounds=2, wording="full")
    assert by_hand.game.steps == (True,)
    assert by_hand.kinds() == ["proposal", "proposal"]
    assert "message" not in by_hand.texts()[0]
    assert by_hand.say(10, 10) == [5, 50]
    assert by_hand.game.env.num_steps == 2


def test_facts_are_of_each_seat():
    by_hand = begin(hands=(SCISSORS, PAPER), starter=1, upper_value=4, lower_value=2)
    assert by_hand.game.facts(by_hand.table.state) == {
        "hands": ["scissors", "paper"],
        "values": [4, 2],
        "speaks_first": [False, True],
    }
    assert by_hand.game.steps == (True,) * 3
    assert by_hand.game.env.num_steps == 30


def truthful(by_hand, greedy):
    """Both tell their hands; who is not greedy leaves the coins to whom they suit."""
    hands = by_hand.table.state.hands
    while by_hand.kinds() != ["proposal", "proposal"]:
        by_hand.say(
            *(
                kind and message(f"I have {HANDS[hand]}.")
                for kind, hand in zip(by_hand.kinds(), hands, strict=True)
            )
        )
    values = by_hand.game.facts(by_hand.table.state)["values"]
    return by_hand.say(
        *(
            10 if wants_all or value == 10 else 0
            for wants_all, value in zip(greedy, values, strict=True)
        )
    )


@pytest.mark.parametrize(
    ("greedy", "upper", "lower"),
    [
        # What seat 0 and seat 1 earn where seat 0's value is the upper, and the lower.
        ((False, False), (100, 0), (0, 100)),  # 50 and 50
        ((True, True), (50, 5), (5, 50)),  # 27.5 and 27.5
        ((False, True), (50, 5), (0, 100)),  # 25 and 52.5
    ],
)
def test_what_trust_and_greed_earn(greedy, upper, lower):
    means = {(False, False): (50, 50), (True, True): (27.5, 27.5)}
    np.testing.assert_allclose(
        np.mean([upper, lower], 0), means.get(greedy, (25, 52.5))
    )
    by_hand = ByHand(make("trust-and-split", "short"), seed=3)
    seen = set()
    for _ in range(8):
        first = by_hand.game.facts(by_hand.table.state)["values"][0] == 10
        seen.add(first)
        assert truthful(by_hand, greedy) == list(upper if first else lower)
    assert seen == {True, False}


@pytest.mark.parametrize("messages", ["free", "hands"])
def test_scripted_players_sit_down(messages):
    game = make("trust-and-split", "short", messages=messages, num_rounds=6)
    names = scripted_names(game)
    players = {name: scripted_player(game, name) for name in names}
    matchups = [
        Matchup(number, number, number, (Seat(name), Seat("welfare")))
        for number, name in enumerate(names)
    ]
    for match in play(game, players, matchups, jax.random.key(0)):
        answers = [turn for seat in match.turns for turn in seat if turn.kind]
        assert len(answers) == 6 * 4
        for turn in answers:
            silent = turn.answer == SILENCE and messages == "hands"
            assert turn.valid is not silent
        if match.players[0] in ("welfare", "always_cooperate", "tit_for_tat"):
            assert np.sum(match.rewards, 1).tolist() == [100] * 6
            told = [turn.answer for turn in answers if turn.kind == "message"]
            assert all(any(hand in text for hand in HANDS) for text in told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"messages": "poems"}, "^messages is 'poems': one of free, hands is needed$"),
        ({"message_chars": 0}, "^message_chars is 0: a whole number from 1 to 1000 "),
        ({"message_chars": 5000}, "^message_chars is 5000: "),
        ({"num_messages": -1}, "^num_messages is -1: "),
        ({"lower_value": 11.0}, "^lower_value is 11.0: "),
        ({"num_rounds": 0}, "^num_rounds is 0: "),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("trust-and-split", **options)
