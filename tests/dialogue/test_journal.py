"""Journals of paid answers, and evaluations that resume by them."""

import json
import os
import threading

import fake_endpoint as fake
import jax
import pytest
from tiny_words import CHOICE, TinyWords

from aajax.dialogue.api import api_player
from aajax.dialogue.api_config import ApiConfig
from aajax.dialogue.endpoint import EndpointError
from aajax.dialogue.journal import Journal, Place, digest
from aajax.dialogue.play import Fixture, Seat, play
from aajax.dialogue.players import Reply, Request, Row
from aajax.dialogue.scripted import scripted_player

KEY = "sk-very-secret"
ANSWER = {"text": "<A>", "requests": 1, "tokens": 10}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def config(url, **options):
    return ApiConfig(url, "some-model", backoff=0.001, retries=1, **options)


def always(text):
    return lambda number, request: fake.answer(text)


def test_an_answer_is_found_again(path):
    place = Place(match=3, seat=1, step=4, attempt=0)
    with Journal(path) as journal:
        assert journal.find(place, "abc") is None
        journal.add(place, "abc", ANSWER, {"told": "choose"})
        assert journal.find(place, "abc") == ANSWER
    with Journal(path) as journal:
        assert journal.find(place, "abc") == ANSWER
        assert journal.find(place, "abd") is None
        assert journal.find(place._replace(attempt=1), "abc") is None
        journal.add(place, "abd", {**ANSWER, "text": "\ud83d\n"})
    with Journal(path) as journal:
        assert [answer["text"] for answer in journal.answers()] == ["<A>", "\ud83d\n"]
    assert json.loads(path.read_text().splitlines()[0]) == {
        "match": 3, "seat": 1, "step": 4, "attempt": 0, "digest": "abc",
        "told": "choose", "answer": ANSWER,
    }  # fmt: skip


def test_an_answer_is_on_the_disk_before_it_is_used(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_text()))
    with Journal(path) as journal:
        journal.add(Place(0, 0, 0, 0), "abc", ANSWER)
        assert len(synced) == 1 and json.loads(synced[0])["answer"] == ANSWER


def test_a_line_that_was_cut_off_anywhere(path):
    places = [Place(0, 0, step, 0) for step in range(3)]
    with Journal(path) as journal:
        for place in places[:2]:
            journal.add(place, "abc", ANSWER)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        with Journal(path) as journal:
            assert journal.find(places[0], "abc") == ANSWER
            assert journal.find(places[1], "abc") is None
            journal.add(places[2], "abc", ANSWER)
        lines = path.read_bytes().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 2]


@pytest.mark.parametrize("line", ["?", "{}", "[]", '{"match": 0}', "\0\0"])
def test_a_file_that_is_no_journal(path, line):
    with Journal(path) as journal:
        journal.add(Place(0, 0, 0, 0), "abc", ANSWER)
    with path.open("a") as file:
        file.write(f"{line}\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"^journal is .*: line 2 is none of a"):
        Journal(path)
    assert path.read_bytes() == before


def test_many_threads(path):
    with Journal(path) as journal:

        def add(match):
            for step in range(20):
                journal.add(Place(match, 0, step, 0), "abc", {"text": "a" * 999})

        threads = [threading.Thread(target=add, args=(match,)) for match in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Journal(path) as journal:
        assert len(list(journal.answers())) == 100


def test_digests():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest(None)) == 64


def behaving(number, request):
    """Answers that depend on the whole dialogue; one in three is of no form."""
    dialogue = json.dumps(request["messages"])
    last = request["messages"][-1]["content"]
    if int(digest(dialogue), 16) % 3 == 0:
        return fake.answer("Hm.")
    if last.startswith("word"):
        return fake.answer(f"<m>{'ab'[len(dialogue) % 2]}</m>")
    return fake.answer("<A>" if len(dialogue) % 2 else "<B>")


def test_an_evaluation_that_crashes_resumes_without_paying_twice(path):
    game = TinyWords(num_rounds=3)
    fixtures = [
        Fixture(number, 0, number, (Seat("api"), Seat(("random", "api")[number % 2])))
        for number in range(4)
    ]

    def evaluate(url, journal):
        at_table = {
            "api": api_player(config(url), journal),
            "random": scripted_player(game, "random"),
        }
        return play(game, at_table, fixtures, jax.random.key(0))

    with fake.serving(behaving) as (endpoint, url):
        matches = evaluate(url, None)
        needed = len(endpoint.requests)
        assert any(turn.tries > 1 for m in matches for s in m.turns for turn in s)
        endpoint.requests.clear()
        crashes, last = 0, []
        while True:
            # It refuses all after seven more, and is another process each time.
            left = iter(range(7))
            endpoint.behave = lambda number, request, left=left: (
                behaving(number, request)
                if next(left, None) is not None
                else fake.status(401)
            )
            try:
                with Journal(path) as journal:
                    last = evaluate(url, journal)
                break
            except EndpointError:
                crashes += 1
        assert crashes == (needed - 1) // 7 and crashes >= 3
        assert last == matches
        refused = len(endpoint.requests) - needed
        assert 1 <= refused <= 8 * crashes  # at most as many as at once
        with Journal(path) as journal:
            assert len(list(journal.answers())) == needed
            endpoint.requests.clear()
            assert evaluate(url, journal) == matches
        assert endpoint.requests == []


def test_other_questions_are_asked(path):
    request = Request("choose", "choice", CHOICE, None)

    def ask(seed=0, text="choose", match=0, **options):
        with Journal(path) as journal:
            player = api_player(config(url, **options), journal)
            memory = player.start([Row(match, 0)])
            keys = jax.random.split(jax.random.key(seed), 1)
            return player.reply(memory, [request._replace(text=text)], keys)[1]

    with fake.serving(always("<A>")) as (endpoint, url):
        ask()
        assert ask() == [Reply("<A>")] and len(endpoint.requests) == 1
        ask(max_tokens=7)
        ask(text="choose!")
        ask(match=1)
        ask(seed=1)  # another play, which asks the same and may hear something else
        assert len(endpoint.requests) == 5
        ask()
        ask(seed=1)
        assert len(endpoint.requests) == 5


def test_the_budget_counts_what_was_paid_before(path):
    requests = [Request(f"choose {i}", "choice", CHOICE, None) for i in range(5)]
    rows, keys = [Row(i, 0) for i in range(5)], jax.random.split(jax.random.key(0), 5)

    def ask(**limits):
        with Journal(path) as journal:
            player = api_player(config(url, **limits), journal)
            return player.reply(player.start(rows), requests, keys)[1]

    with fake.serving(always("<A>")) as (endpoint, url):
        for limit, sent in [(2, 2), (2, 2), (4, 4)]:
            with pytest.raises(ValueError, match=f"^max_requests is {limit}"):
                ask(max_requests=limit)
            assert len(endpoint.requests) == sent
        with pytest.raises(ValueError, match="^max_total_tokens is 2000: 40 were"):
            ask(max_total_tokens=2000, max_tokens=1950)
        assert ask(max_requests=5) == [Reply("<A>")] * 5
        assert len(endpoint.requests) == 5


def test_the_key_is_not_in_the_journal(path):
    with fake.serving(always(f"<A> {KEY}")) as (_, url), Journal(path) as journal:
        player = api_player(config(url, tries=1), journal)
        memory = player.start([Row(0, 0)])
        request = Request("choose", "choice", CHOICE, None)
        _, replies = player.reply(
            memory, [request], jax.random.split(jax.random.key(0), 1)
        )
    assert replies == [Reply("<A> [key]")]
    assert KEY not in path.read_text() and "[key]" in path.read_text()
