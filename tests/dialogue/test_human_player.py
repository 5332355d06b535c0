"""A person at a console that is none."""

import io

import jax
import pytest
from rich.console import Console
from tiny_words import CHOICE, WORD, TinyWords

from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.base import Reply, Request, Row
from aajax.dialogue.players.human import HumanPlayer
from aajax.dialogue.players.scripted import scripted_player


@pytest.fixture
def sit_down(monkeypatch):
    """A player and what it is shown, whose person types the lines."""

    def start(*lines):
        typed = io.StringIO("".join(f"{line}\n" for line in lines))
        monkeypatch.setattr("sys.stdin", typed)
        shown = io.StringIO()
        return HumanPlayer(Console(file=shown, soft_wrap=True)), shown

    return start


def choice(text="choose"):
    return Request(text, "choice", CHOICE, None)


def word(text="speak"):
    return Request(text, "word", WORD, None)


def reply(player, *requests):
    memory = player.start([Row(number, 0) for number in range(len(requests))])
    return player.reply(memory, requests, jax.random.split(jax.random.key(0), 2))[1]


def test_it_is_told_and_asked(sit_down):
    player, shown = sit_down("<A>")
    assert reply(player, choice("Choose <A> or [bold]<B>[/bold].")) == [Reply("<A>")]
    assert shown.getvalue().splitlines() == [
        "Choose <A> or [bold]<B>[/bold].", 'Answer with "<A>" or "<B>"', "you> <A>"
    ]  # fmt: skip


def test_it_is_asked_until_it_answers(sit_down):
    player, shown = sit_down("C", "", "a b", "b", "never read")
    assert reply(player, choice()) == [Reply("<B>", tries=4)]
    assert shown.getvalue().count('That is no answer; needed is "<A>" or "<B>"') == 3


def test_tags_may_be_left_out(sit_down):
    player, _ = sit_down(
        "hi", "<m>hi", "hi</m>", " <m>hi</m> ", "toolong", "HI", "", "x"
    )
    said = [*["<m>hi</m>"] * 4, "<m>x</m>"]
    tries = [1, 1, 1, 1, 4]
    assert reply(player, *[word()] * 5) == list(map(Reply, said, tries))


def test_help(sit_down):
    player, shown = sit_down("/help", "<A>")
    assert reply(player, choice()) == [Reply("<A>")]
    assert "/quit leaves the game" in shown.getvalue()


@pytest.mark.parametrize(("lines", "reason"), [(["/quit"], "left"), ([], "ended")])
def test_it_leaves(sit_down, lines, reason):
    player, _ = sit_down("?", *lines)
    with pytest.raises(KeyboardInterrupt, match=reason):
        reply(player, choice())


def test_who_only_listens_is_told_before_others_are_asked(sit_down):
    player, shown = sit_down("A", "hello")
    replies = reply(player, choice("one"), Request("two", None, None, None), word())
    assert replies == [Reply("<A>"), None, Reply("<m>hello</m>")]
    lines = shown.getvalue().splitlines()
    assert lines[:4] == ["match 1, seat 0", "two", "match 0, seat 0", "one"]
    assert lines[6:8] == ["match 2, seat 0", "speak"]


def test_nothing_that_is_said_steers_the_terminal(sit_down):
    player, shown = sit_down("A")
    reply(player, choice("\x1b[2J\x07 red\x9b \u202e\nB\tC"))
    assert shown.getvalue().splitlines()[0] == "\ufffd[2J\ufffd red\ufffd \ufffd"


def test_a_pattern_that_is_none_is_found_before_anything_is_typed(sit_down):
    player, shown = sit_down("A")
    with pytest.raises(ValueError, match="a regular expression in the syntax"):
        reply(player, Request("choose", "choice", "(", None))
    assert "you>" not in shown.getvalue()


def test_at_the_table(sit_down):
    player, shown = sit_down("hi", "A", "oh", "A")
    game = TinyWords()
    at_table = {"me": player, "mean": scripted_player(game, "always_defect")}
    seats = (Seat("me"), Seat("mean"))
    (match,) = play(game, at_table, [Matchup(0, 0, 0, seats)], jax.random.key(0))
    assert match.rewards == [[0, 5], [0, 5]]
    assert [turn.answer for turn in match.turns[0]] == [
        "<m>hi</m>", "<A>", "<m>oh</m>", "<A>"
    ]  # fmt: skip
    assert "word 0\n" in shown.getvalue() and "choice 3\n" in shown.getvalue()
