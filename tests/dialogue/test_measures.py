"""Measures of matches that were made up, against numbers worked out by hand."""

import numpy as np
import pytest

from aajax.dialogue import registry
from aajax.dialogue.play.matches import Match, Turn, load_matches, save_matches
from aajax.dialogue.play.measures import measure, tallies
from aajax.dialogue.players.base import Tokens
from aajax.envs.matrix import public_goods
from aajax.envs.matrix.words import MatrixWords, outcomes
from aajax.envs.tallies import of_proposals
from aajax.envs.text import Tally
from aajax.envs.trust_and_split.words import NO_HAND
from aajax.envs.wording import Wording

C, D = 0, 1
ROCK, PAPER, SCISSORS = range(3)


def made(game, actions, rewards, facts=(), kinds=None, **changes):
    """A match, [step][seat]; everybody answers in form at the first try."""
    kinds = kinds or [["answer"] * 2] * len(actions)
    turns = tuple(
        tuple(
            Turn(step, "")
            if kind[seat] is None
            else Turn(step, "", kind[seat], tries=1)
            for step, kind in enumerate(kinds)
        )
        for seat in (0, 1)
    )
    record = {
        "game": game.name, "number": 0, "group": 0, "env_seed": 0,
        "players": ("a", "b"), "adapters": (-1, -1), "turns": turns,
        "actions": actions, "rewards": rewards, "facts": list(facts),
    }  # fmt: skip
    return Match(**{**record, **changes})


IPD = registry.make("ipd", num_rounds=4)
FIRST = made(IPD, [[C, C], [C, D], [D, D], [D, C]], [[3, 3], [0, 5], [1, 1], [5, 0]])
SECOND = made(IPD, [[C, D], [C, C], [D, C], [C, D]], [[0, 5], [3, 3], [5, 0], [0, 5]])


def test_choices():
    measures = measure(IPD, [FIRST, SECOND])
    expected = {
        "reward": (39 / 16, 17 / 8, 22 / 8),
        "cooperation": (9 / 16, 5 / 8, 4 / 8),
        "mutual_cooperation": (2 / 8, 2 / 8, 2 / 8),
        "cooperation_after_start": (3 / 4, 2 / 2, 1 / 2),
        "cooperation_after_cc": (2 / 4, 1 / 2, 1 / 2),
        "cooperation_after_cd": (1 / 3, 1 / 2, 0 / 1),
        "cooperation_after_dc": (2 / 3, 1 / 1, 1 / 2),
        "cooperation_after_dd": (1 / 2, 0 / 1, 1 / 1),
        "invalid_answers": (0, 0, 0),
        "retried_answers": (0, 0, 0),
        "answer_tokens": (None, None, None),
    }
    named = {
        name + end: number
        for name, numbers in expected.items()
        for end, number in zip(("", "_seat_0", "_seat_1"), numbers, strict=True)
    }
    assert measures == pytest.approx(named)


def test_choices_of_three():
    """After one's own action, how many of the others cooperated."""
    env = public_goods(3)
    game = MatrixWords("goods", env, 3, Wording({}))
    actions = [[C, D, D], [C, C, D], [D, C, C]]
    turns = tuple((Turn(0, ""),) for _ in range(3))
    match = made(game, actions, [[0, 0, 0]] * 3, turns=turns, players=("a", "b", "c"))
    measures = measure(game, [match])
    after = {
        name.removeprefix("cooperation_after_"): x
        for name, x in measures.items()
        if name.startswith("cooperation_after_") and "seat" not in name
    }
    assert list(after) == list(outcomes(3))
    assert after == {
        "start": 1 / 3,
        "ccc": None,
        "ccd": 1 / 2,  # seats 0 and 1 after the second round: D and C
        "cdd": 1,  # seat 0 after the first
        "dcc": 1,  # seat 2 after the second
        "dcd": 1 / 2,  # seats 1 and 2 after the first
        "ddd": None,
    }
    assert measures["cooperation_after_dcd_seat_1"] == 1
    assert measures["cooperation_after_dcd_seat_2"] == 0
    assert measures["mutual_cooperation"] == 0


def test_outcomes_of_many_are_few():
    assert outcomes(2) == ("start", "cc", "cd", "dc", "dd")
    assert len(set(outcomes(30))) == 61


def test_some_seats_alone():
    seats = [[True, False], [False, True]]
    measures = measure(IPD, [FIRST, SECOND], seats)
    assert measures["reward"] == (9 + 13) / 8
    assert measures["reward_seat_0"] == 9 / 4
    assert measures["cooperation_after_cd"] == 0  # 0 of 1 each
    assert measures["cooperation_after_dc"] == 1 / 1
    pooled = measure(IPD, [FIRST, SECOND], seats, by_seat=False)
    assert pooled == {name: measures[name] for name in pooled}
    assert set(pooled) == set(tallies(IPD, [FIRST]))
    nobody = measure(IPD, [FIRST], [[False, False]])
    assert set(nobody.values()) == {None}
    with pytest.raises(ValueError, match=r"^seats has shape \(1, 2\): \(2, 2\) is"):
        measure(IPD, [FIRST, SECOND], [[True, True]])


def test_answers():
    def tokens(size):
        return Tokens([0], [1] * size, [0.0] * size, [0] * size, [0] * size)

    turns = (
        (
            Turn(0, "", "answer", "?", False, 3, tokens(7)),
            Turn(1, "", "answer", "<A>", True, 2, tokens(4)),
            Turn(2, "", "answer", "<A>", True, 1, tokens(4)),
            Turn(3, ""),
        ),
        (Turn(0, ""), Turn(1, ""), Turn(2, "", "answer", "<A>", True, 1), Turn(3, "")),
    )
    match = made(IPD, FIRST.actions, FIRST.rewards, turns=turns)
    measures = measure(IPD, [match, match])
    assert measures["invalid_answers"] == 1 / 4
    assert measures["invalid_answers_seat_0"] == pytest.approx(1 / 3)
    assert measures["retried_answers"] == 2 / 4
    assert measures["retried_answers_seat_1"] == 0
    assert measures["answer_tokens"] == 5
    assert measures["answer_tokens_seat_1"] is None


def test_free_answers():
    def spoken(tries, state, kind="choice"):
        tokens = Tokens([0], [1, 2], [0.0] * 2, [state, state], [2, 1])
        return Turn(0, "", kind, "<A>", True, tries, tokens)

    # Free and valid at the third try; under the grammar after one and two free tries.
    turns = (
        (spoken(3, 0), spoken(2, 5), spoken(3, 5), Turn(3, "")),
        (
            spoken(1, 0),
            Turn(1, "", "choice", "<A>", True, 1),
            spoken(1, 5),
            Turn(3, ""),
        ),
    )
    match = made(IPD, FIRST.actions, FIRST.rewards, turns=turns)
    measures = measure(IPD, [match, match])
    assert measures["valid_free_answers_choice"] == 2 / 7
    assert measures["valid_free_answers_choice_seat_0"] == 1 / 6
    assert measures["valid_free_answers_choice_seat_1"] == 1
    # Who has sampled none freely has no such measure.
    alone = (*[(spoken(1, 5),) * 4] * 2,)
    match = made(IPD, FIRST.actions, FIRST.rewards, turns=alone)
    assert not any("free" in name for name in measure(IPD, [match]))


def test_splits():
    game = registry.make("split", num_rounds=2)
    facts = [
        {"values": [[10, 1, 1], [1, 10, 1]]},
        {"values": [[10, 10, 1], [10, 1, 10]]},
    ]
    actions = [[[10, 2, 5], [4, 9, 6]], [[1, 8, 3], [7, 5, 10]]]
    match = made(game, actions, [[90, 60], [100, 50]], facts)
    measures = measure(game, [match])
    assert measures["proposal_where_higher_seat_0"] == (10 + 8) / 2
    assert measures["proposal_where_lower_seat_0"] == (2 + 3) / 2
    assert measures["proposal_where_higher_seat_1"] == (9 + 10) / 2
    assert measures["proposal_where_lower_seat_1"] == (4 + 5) / 2
    assert measures["proposal_where_higher"] == 37 / 4
    for name in ("split_efficiency", "split_efficiency_seat_1"):
        assert measures[name] == pytest.approx((150 / 210 + 150 / 300) / 2)


def test_proposals_are_of_two_seats():
    """Of three nobody is the other one."""
    values = np.ones((1, 2, 3, 4))
    with pytest.raises(ValueError, match="values has 3 seats: 2 are needed"):
        of_proposals(values, values)


def test_messages_about_hidden_hands():
    game = registry.make("trust-and-split", num_rounds=1)
    facts = [{"hands": ["rock", "paper"], "values": [1.0, 10.0]}]
    kinds = [["message", None], [None, "message"], ["proposal", "proposal"]]
    # Who only listens has action 0, which is rock and was not said.
    told = [[[ROCK, 0], [0, SCISSORS]], [[NO_HAND, 0], [0, PAPER]]]
    asked = [[2, 10], [5, 6]]
    rewards = [[[1.5, 80]], [[4, 50]]]
    matches = [
        made(game, [*said, coins], reward, facts, kinds)
        for said, coins, reward in zip(told, asked, rewards, strict=True)
    ]
    measures = measure(game, matches)
    assert measures["messages_naming_a_hand"] == 3 / 4
    assert measures["messages_naming_a_hand_seat_0"] == 1 / 2
    assert measures["honest_messages"] == pytest.approx(2 / 3)
    assert measures["honest_messages_seat_0"] == 1
    assert measures["honest_messages_seat_1"] == 1 / 2
    assert measures["proposal_where_lower"] == (2 + 5) / 2
    assert measures["proposal_where_lower_seat_1"] is None
    assert measures["proposal_where_higher_seat_1"] == (10 + 6) / 2
    assert measures["split_efficiency"] == pytest.approx((81.5 + 54) / 200)
    silent = registry.make("trust-and-split", num_rounds=1, num_messages=0)
    match = made(silent, [[2, 10]], [[1.5, 80]], facts)
    assert "honest_messages" not in measure(silent, [match])


def test_deals():
    game = registry.make("deal-or-no-deal", num_rounds=2, num_messages=0)
    stock = [[2, 1, 3]] * 2
    facts = [
        {"stock": stock, "values": [[1, 2, 2], [3, 1, 1]]},
        {"stock": stock, "values": [[2, 0, 2], [2, 3, 1]]},
    ]
    # The first adds up, the second does not by one ball.
    actions = [[[0, 1, 3], [2, 0, 0]], [[1, 0, 3], [1, 1, 1]]]
    match = made(game, actions, [[0.8, 0.6], [0, 0]], facts)
    measures = measure(game, [match])
    assert measures["deals"] == measures["deals_seat_1"] == 1 / 2
    # At best 2·3 + 1·2 + 3·2 = 14 tenths.
    assert measures["split_efficiency"] == pytest.approx((1.4 / 1.4 + 0) / 2)
    assert measures["proposal_where_higher_seat_0"] == (1 + 3 + 3) / 3
    assert measures["proposal_where_lower_seat_0"] == (0 + 0) / 2
    assert measures["proposal_where_lower_seat_1"] == pytest.approx((0 + 0 + 1) / 3)


def test_a_tally_of_nothing():
    tally = Tally(np.zeros((2, 2)), np.zeros((2, 2)))
    assert tally.mean() is None


def test_files_of_matches_are_measured_alike(tmp_path):
    tokens = Tokens([0], [1, 2], [-0.1, -0.2], [0, 0], [2, 1])
    turns = ((Turn(0, "", "answer", "<A>", True, 1, tokens),), (Turn(0, ""),))
    matches = [FIRST, made(IPD, SECOND.actions, SECOND.rewards, turns=turns)]
    save_matches(tmp_path / "file.gz", matches)
    assert measure(IPD, list(load_matches(tmp_path / "file.gz"))) == measure(
        IPD, matches
    )


def test_other_matches():
    with pytest.raises(ValueError, match="^matches is empty: at least one is needed"):
        measure(IPD, [])
    for game in (registry.make("chicken", num_rounds=4), registry.make("ipd")):
        with pytest.raises(ValueError, match="^matches has one of ipd with 4 rounds: "):
            measure(game, [FIRST])
