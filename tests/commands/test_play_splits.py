"""Split and Trust-and-Split on a terminal, as a person meets them."""

import io
import re
import sys

import jax
import pytest

from aajax import cli


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a game prints to a person who says these lines, step by step."""

    def show(*arguments, lines):
        text = "".join(f"{line}\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert cli.main(["play", *arguments]) == 0
        printed = capsys.readouterr().out.partition("\nafter ")[0]
        steps = re.split(r"^step \d+$", printed, flags=re.MULTILINE)[1:]
        return [step.strip("\n").splitlines() for step in steps]

    return show


def test_a_person_splits(shown):
    """Two items, each worth 10 to one of them: the other asks for its own alone."""
    steps = shown(
        *("split", "--seat", "always_cooperate", "human", "--steps", "2"),
        *("--options", "values=exclusive", "num_items=2"),
        lines=["5", "5 5 5", "11 0", "1.5 0", "a b", "10, 10", "0 0"],
    )
    refusals = [
        line for line in steps[0] if "two whole numbers from 0 to 10 are" in line
    ]
    assert len(refusals) == 5
    seen = [
        {line[:19].strip(): line[19:].split() for line in step if line[:1] in "op"}
        for step in steps
    ]
    assert [s["played"] for s in seen] == [["0"], ["1"]]
    own = seen[0]["own values"]
    assert sorted(own) == ["1", "10"] and seen[0]["other values"] == own[::-1]
    # All of its own item and half of the other's; and then the other's alone is asked.
    assert steps[0][-1].split() == ["1", "human", "10", "10", "+105"]
    assert steps[0][-2].split()[-1] == "+50"
    assert seen[1]["own points"] == ["105"]
    assert seen[1]["own last values"] == own
    assert steps[1][-1].split() == ["1", "human", "0", "0", "0"]
    assert steps[1][-2].split()[-1] == "+100"


def test_a_person_talks_in_its_turn_and_then_splits(shown):
    """It is asked for a symbol when it is to speak, and for coins when both are."""
    steps = shown(
        *("trust_and_split", "--seat", "human", "always_cooperate", "--steps", "6"),
        lines=["7", "pa", "11", "2 2", "10", "Rock", "0"],
    )
    question = "0 human, "
    asked = [[line for line in step if line.startswith(question)] for step in steps]
    talks = [step for step in (0, 1, 3, 4) if asked[step]]
    # In one of two steps of each round; who speaks first takes turns.
    assert talks in ([0, 4], [1, 3])
    assert asked[talks[0]][0] == question + "rock, paper or scissors? 7"
    assert len(asked[talks[0]]) == 2 and len(asked[talks[1]]) == 1
    assert [line.split("? ")[1] for line in asked[2]] == ["11", "2 2", "10"]
    refusal = "answer is '11': a whole number from 0 to 10 is needed"
    assert refusal in steps[2]
    assert "you said paper" in steps[2]
    hand = next(line for line in steps[0] if line.startswith("your hand is "))
    assert hand in steps[1] and hand in steps[2]
    (other,) = [line for line in steps[2] if line.startswith("the other said ")]
    assert other.split()[-1] in ("rock", "paper", "scissors")
    assert other.split()[-1] != hand.split()[-1]  # it tells the truth
    for line in ("you asked 10 and earned ", "last round coins were worth more to "):
        assert any(shown_line.startswith(line) for shown_line in steps[3])
    assert not any("has rock" in line for step in steps for line in step)
    assert steps[5][-2].split() == ["0", "human", "0", "0"]


def test_onlookers_see_both_hands(shown):
    steps = shown(
        *("trust_and_split", "--seat", "liar", "always_cooperate", "--steps", "4"),
        lines=[],
    )
    for seat in range(2):
        (line,) = [x for x in steps[0] if x.startswith(f"{seat} has ")]
        assert "a coin is worth 1" in line and line.endswith("said nothing yet")
        assert any(x.startswith(f"{seat} last had ") for x in steps[3])
    assert steps[2][-2].split()[2] == "10"
