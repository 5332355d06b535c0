"""Deal or No Deal in words, by hand and by scripted players."""

import jax
import numpy as np
import pytest
from words_by_hand import ByHand

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.scripted import scripted_names, scripted_player
from aajax.dialogue.registry import make
from aajax.envs.negotiation.utilities import Stakes


def stakes(pool, values):
    return Stakes(np.array(pool, np.float32), np.array(values, np.float32))


def begin(wording="short", **options):
    return ByHand(make("deal-or-no-deal", wording, **options)).deal(
        stakes=stakes([1, 2, 3], [[1, 3, 1], [4, 0, 2]])
    )


def message(text):
    return f"<<message_start>>{text}<<message_end>>"


def test_a_match_in_few_words():
    by_hand = begin()
    rules = (
        "Both proposals must add up to all there is. Proposal: x hats, y books, "
        "z balls\nTalk: <<message_start>> ... <<message_end>>"
    )
    assert by_hand.game.steps == (False, False, True)
    assert by_hand.kinds() == ["message", None]
    assert by_hand.texts() == [
        f"{rules}\nHave 1 2 3, worth 1 3 1\nSay?",
        f"{rules}\nHave 1 2 3, worth 4 0 2",
    ]
    assert by_hand.say(message("The books!"), None) == [0, 0]
    assert by_hand.kinds() == [None, "message"]
    assert by_hand.texts() == ["", "They: The books!\nSay?"]
    assert by_hand.say(None, "no tags") == [0, 0]
    assert by_hand.kinds() == ["proposal", "proposal"]
    assert by_hand.texts() == ["They: \nKeep?", "Keep?"]
    earned = by_hand.say("Proposal: 2 books, 1 balls", "Proposal: 1 hat, 2 balls")
    assert earned == [7, 8]
    by_hand.deal(stakes=stakes([2, 2, 1], [[2, 1, 4], [0, 5, 0]]))
    assert by_hand.kinds() == [None, "message"]
    assert by_hand.texts() == [
        "They: 1 0 2. You got 7.\nHave 2 2 1, worth 2 1 4",
        "They: 0 2 1. You got 8.\nHave 2 2 1, worth 0 5 0\nSay?",
    ]
    by_hand.say(None, message("books"))
    by_hand.say(message("hats and balls"), None)
    assert by_hand.texts() == ["Keep?", "They: hats and balls\nKeep?"]
    # A ball is left: no deal.
    assert by_hand.say([2, 0, 0], [0, 2, 0]) == [0, 0]
    assert by_hand.texts()[0].startswith("They: 0 2 0. You got 0.\n")
    assert by_hand.table.state.time == 2


def test_in_full_values_are_told_when_the_round_is_over():
    by_hand = begin("full", num_messages=2)
    texts = by_hand.texts()
    assert by_hand.game.steps == (False,) * 4 + (True,)
    assert (
        "there are 1 hats, 2 books, 3 balls.\nWorth to you: hats=1, books=3"
        in (texts[0])
    )
    assert "hats=4" not in texts[0]
    assert "hats=1" not in texts[1]
    for words in [("a", None), (None, "b"), ("c", None), (None, "d")]:
        by_hand.say(*(word and message(word) for word in words))
    assert by_hand.texts()[0].startswith('The other player says: "d"\nWhat do you keep')
    by_hand.say([1, 2, 0], "nothing")
    first, second = (text.splitlines()[0] for text in by_hand.texts())
    assert "keep 1 hats, 2 books, 0 balls and earned 0 points. " in first
    assert "keep 0 hats, 0 books, 0 balls and earned 0 points. " in first
    assert first.endswith("worth hats=4, books=0, balls=2.")
    assert second.endswith("worth hats=1, books=3, balls=1.")


def test_in_brief_values_are_told_when_the_round_is_over():
    by_hand = begin("brief")
    first, second = by_hand.texts()
    told = "There are 1 hats, 2 books, 3 balls. Worth to you: hats=1, books=3, balls=1."
    assert f"{told}\nWhat do you say?" in first
    assert "hats=1" not in second
    by_hand.say(message("a"), None)
    by_hand.say(None, message("b"))
    assert by_hand.texts()[0] == 'They say: "b"\nWhat do you keep?'
    by_hand.say([0, 2, 1], [1, 0, 2])
    assert by_hand.texts()[0].splitlines()[0] == (
        "They asked for 1 hats, 0 books, 2 balls, worth to them: hats=4, books=0, "
        "balls=2. You got 7 points, they 8."
    )


def test_facts_are_of_each_seat():
    by_hand = begin()
    assert by_hand.game.facts(by_hand.table.state) == {
        "stock": [[1, 2, 3]] * 2,
        "values": [[1, 3, 1], [4, 0, 2]],
    }


def test_messages_are_words_alone():
    game = begin(message_chars=20).game
    for text, valid in [
        (message("Proposal: 5 hats"), True),
        (message("x" * 21), False),
        ("Proposal: 5 hats", False),
    ]:
        parsed = game.parse("message", text)
        assert parsed.valid is valid
        assert parsed.action.tolist() == [0, 0, 0]
    parsed = game.parse("proposal", "Proposal: 6 hats")
    assert (parsed.action.tolist(), parsed.valid) == ([0, 0, 0], False)


def test_scripted_players_announce_what_they_ask_for():
    game = make("deal-or-no-deal", "short", num_rounds=3)
    assert game.env.observation == "history"
    names = scripted_names(game)
    assert set(names) >= {"always_cooperate", "always_defect", "tit_for_tat", "random"}
    players = {name: scripted_player(game, name) for name in names}
    matchups = [
        Matchup(number, number, number, (Seat(name), Seat("always_defect")))
        for number, name in enumerate(names)
    ]
    for match in play(game, players, matchups, jax.random.key(0)):
        greedy = [turn for turn in match.turns[1] if turn.kind]
        assert len(greedy) == 6
        assert all(turn.valid for seat in match.turns for turn in seat)
        for told, asked in zip(greedy[::2], greedy[1::2], strict=True):
            wanted = asked.answer.removeprefix("Proposal: ")
            assert told.answer == message(f"I ask for {wanted}.")
        for facts, earned in zip(match.facts, match.rewards, strict=True):
            # Two that both want all find no deal.
            stock, values = np.array(facts["stock"][0]), np.array(facts["values"])
            assert (values @ stock).tolist() == [10, 10]
            assert match.players[0] != "always_defect" or earned == [0, 0]


def test_who_wants_different_items_makes_a_deal():
    game = make("deal-or-no-deal", "short", num_rounds=40)
    players = {"nice": scripted_player(game, "always_cooperate")}
    matchups = [Matchup(0, 0, 0, (Seat("nice"), Seat("nice")))]
    (match,) = play(game, players, matchups, jax.random.key(0))
    deals = 0
    for facts, earned in zip(match.facts, match.rewards, strict=True):
        values, stock = np.array(facts["values"]), np.array(facts["stock"][0])
        if np.all(values[0] != values[1]):
            deals += 1
            keeps = (values > values[::-1]) * stock
            assert earned == (keeps * values).sum(1).tolist()
    assert deals > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "all"}, "^observation is 'all': one of raw, "),
        ({"message_chars": -3}, "^message_chars is -3: "),
        ({"num_messages": 0.5}, "^num_messages is 0.5: "),
        ({"num_rounds": 0}, "^num_rounds is 0: "),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        make("deal-or-no-deal", **options)
