"""Journals of paid answers, and evaluations that resume by them."""

import errno
import json
import os
import resource
import threading

import fake_endpoint as fake
import jax
import pytest
from tiny_words import CHOICE, TinyWords

from aajax.dialogue.endpoints.api import api_player
from aajax.dialogue.endpoints.api_config import ApiConfig
from aajax.dialogue.endpoints.completions import most_tokens
from aajax.dialogue.endpoints.endpoint import EndpointError
from aajax.dialogue.endpoints.journal import Journal, Place, digest
from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.base import Reply, Request, Row
from aajax.dialogue.players.scripted import scripted_player
from aajax.errors import InputError

ANSWER = {"text": "<A>", "reasoning": "", "finish": "stop"}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def config(url, **options):
    options = {"backoff": 0.001, "retries": 1} | options
    return ApiConfig(url, "some-model", **options)


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


@pytest.mark.parametrize(
    "line",
    ["?", "{}", "[]", '{"match": 0}', "\0\0", "[" * 10_000,
     '{"match": 0, "seat": 0, "step": 0, "attempt": 0, "digest": "a", "answer": {}}',
     '{"match": 0, "seat": 0, "step": 0, "attempt": 0, "digest": "a", "answer": '
     '{"text": "", "tokens": -1}}',
     '{"request": 0, "most_tokens": 1}', '{"request": 2, "most_tokens": 1}',
     '{"request": 1, "tokens": 1}', '{"request": 1, "most_tokens": true}',
     '{"request": "0", "tokens": 1}', '{"request": 0, "tokens": 1.5}'],
)  # fmt: skip
def test_a_file_that_is_no_journal(path, line):
    with Journal(path) as journal:
        journal.begin(10)
    with path.open("a") as file:
        file.write(f"{line}\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"^(journal|file) is .*journal.jsonl: line 2"):
        Journal(path)
    assert path.read_bytes() == before


def test_what_was_spent_is_known_again(path):
    with Journal(path) as journal:
        assert journal.spent() == (0, 0)
        assert [journal.begin(100) for _ in range(3)] == [0, 1, 2]
        assert journal.spent() == (3, 300)
        journal.end(1, 7)
        journal.end(0, 0)
        assert journal.spent() == (3, 107)
    whole = path.read_bytes()
    with Journal(path) as journal:
        # Of one only the beginning is known: it may have cost the most.
        assert journal.spent() == (3, 107)
        assert journal.begin(5) == 3
    last = whole.rindex(b"{")
    for end in range(last, len(whole)):  # the end of request 0 was not written
        path.write_bytes(whole[:end])
        with Journal(path) as journal:
            assert journal.spent() == (3, 207)


def test_a_journal_without_requests_has_their_cost_with_the_answers(path):
    old = {"match": 0, "seat": 0, "step": 0, "attempt": 0, "digest": "abc"}
    answers = [{"text": "<A>", "requests": 3, "tokens": 31}, ANSWER]
    lines = [{**old, "step": i, "answer": x} for i, x in enumerate(answers)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Journal(path) as journal:
        assert journal.find(Place(0, 0, 0, 0), "abc")["text"] == "<A>"
        assert journal.spent() == (3, 31)
        journal.end(journal.begin(100), 4)
    with Journal(path) as journal:
        assert journal.spent() == (4, 35)


def test_a_full_disk(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        journal.begin(100)
        whole = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
        try:
            for write in [
                lambda: journal.begin(100),
                lambda: journal.end(0, 5),
                lambda: journal.add(Place(0, 0, 0, 0), "abc", ANSWER),
            ]:
                with pytest.raises(OSError, match="File too large") as error:
                    write()
                assert error.value.filename == str(path)
                assert path.read_bytes() == whole
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert journal.spent() == (1, 100)
        assert journal.find(Place(0, 0, 0, 0), "abc") is None
        journal.end(0, 5)  # and there is room again
    with Journal(path) as journal:
        assert journal.spent() == (1, 5)


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
    matchups = [
        Matchup(number, 0, number, (Seat("api"), Seat(("random", "api")[number % 2])))
        for number in range(4)
    ]

    def evaluate(url, journal):
        at_table = {
            "api": api_player(config(url), journal),
            "random": scripted_player(game, "random"),
        }
        return play(game, at_table, matchups, jax.random.key(0))

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


def ask_of(path, url, count=5, **options):
    """The replies to so many questions, by a process of its own."""
    requests = [Request(f"choose {i}", "choice", CHOICE, None) for i in range(count)]
    rows = [Row(i, 0) for i in range(count)]
    keys = jax.random.split(jax.random.key(0), count)
    with Journal(path) as journal:
        player = api_player(config(url, **options), journal)
        return player.reply(player.start(rows), requests, keys)[1]


def test_the_budget_counts_what_was_paid_before(path):
    with fake.serving(always("<A>")) as (endpoint, url):
        for limit, sent in [(2, 2), (2, 2), (4, 4)]:
            with pytest.raises(InputError, match=f"^max_requests is {limit}"):
                ask_of(path, url, max_requests=limit)
            assert len(endpoint.requests) == sent
        with pytest.raises(InputError, match="^max_total_tokens is 2000: 40 were"):
            ask_of(path, url, max_total_tokens=2000, max_tokens=1950)
        assert ask_of(path, url, max_requests=5) == [Reply("<A>")] * 5
        assert len(endpoint.requests) == 5


@pytest.mark.parametrize("tokens", [True, 10**30])
def test_what_a_server_says_of_tokens_keeps_no_journal_from_being_read(path, tokens):
    with fake.serving(lambda number, request: fake.answer("<A>", tokens)) as (
        endpoint,
        url,
    ):
        for _ in range(2):
            assert ask_of(path, url, max_total_tokens=10**5) == [Reply("<A>")] * 5
    assert len(endpoint.requests) == 5


def test_failures_are_paid_for_once_and_for_all(path):
    with fake.serving(lambda number, request: fake.status(500)) as (endpoint, url):
        for _ in range(3):
            with pytest.raises(InputError, match="^max_requests is 4: all were sent"):
                ask_of(path, url, max_requests=4, retries=9)
            assert len(endpoint.requests) == 4
        with pytest.raises(InputError, match="^max_requests is 6: all were sent"):
            ask_of(path, url, max_requests=6, retries=9)
        assert len(endpoint.requests) == 6
        # An endpoint that says that it failed has written nothing.
        with Journal(path) as journal:
            assert journal.spent() == (6, 0)


def test_so_are_tokens_that_may_have_been_written(path):
    garbage = fake.status(200, b"?")
    with fake.serving(lambda number, request: garbage) as (endpoint, url):
        most = most_tokens(config(url), [{"role": "user", "content": "choose 0"}])
        limit = 2 * most + 10
        for _ in range(3):
            with pytest.raises(InputError, match=f"{limit}: {2 * most} were spent"):
                ask_of(path, url, max_total_tokens=limit, retries=9, concurrency=1)
            assert len(endpoint.requests) == 2


def test_who_dies_over_a_request_has_paid_for_it(path):
    class KilledError(Exception):
        """Nothing is written after it."""

    seen = []

    def behave(number, request):
        seen.append(path.read_text())
        return fake.answer("<A>")

    def die(*arguments):
        raise KilledError

    with fake.serving(behave) as (endpoint, url):
        limits = {"max_requests": 2, "concurrency": 1}
        with pytest.MonkeyPatch.context() as context:
            context.setattr(Journal, "end", die)
            for sent in (1, 2):
                with pytest.raises(KilledError):
                    ask_of(path, url, **limits)
                assert len(endpoint.requests) == sent
        with pytest.raises(InputError, match="^max_requests is 2: all were sent"):
            ask_of(path, url, **limits)
        assert len(endpoint.requests) == 2
        most = most_tokens(config(url), [{"role": "user", "content": "choose 0"}])
        with Journal(path) as journal:
            assert journal.spent() == (2, 2 * most)
    # It was written down before the endpoint heard of it.
    lines = [[json.loads(line) for line in text.splitlines()] for text in seen]
    assert lines[0] == [{"request": 0, "most_tokens": most}]
    assert lines[1] == [*lines[0], {"request": 1, "most_tokens": most}]


def test_nothing_is_sent_that_cannot_be_written_down(path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Journal, "begin", full)
    with fake.serving(always("<A>")) as (endpoint, url):
        with pytest.raises(OSError, match="No space left on device"):
            ask_of(path, url)
        assert endpoint.requests == []


def test_answers_are_journalled_as_they_are(path):
    with fake.serving(always("<A> sk-very-secret")) as (_, url):
        said = [Reply("<A> sk-very-secret")]
        assert ask_of(path, url, 1, tries=1) == ask_of(path, url, 1, tries=1) == said
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    most = most_tokens(config(url), [{"role": "user", "content": "choose 0"}])
    assert lines[:2] == [
        {"request": 0, "most_tokens": most}, {"request": 0, "tokens": 10}
    ]  # fmt: skip
    assert lines[2]["answer"] == {**ANSWER, "text": "<A> sk-very-secret"}
    assert len(lines) == 3 and "Bearer" not in path.read_text()
