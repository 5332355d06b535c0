"""Players behind an endpoint, against one that fails in every way."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
import traceback

import fake_endpoint as fake
import jax
import pytest
from tiny_words import CHOICE, TinyWords

from aajax.dialogue.endpoints import api, exchange
from aajax.dialogue.endpoints.api import api_player, reminder
from aajax.dialogue.endpoints.api_config import ApiConfig
from aajax.dialogue.endpoints.budget import Budget
from aajax.dialogue.endpoints.completions import most_tokens, read_completion
from aajax.dialogue.endpoints.endpoint import EndpointError
from aajax.dialogue.play.lockstep import Matchup, Seat, play
from aajax.dialogue.players.base import Reply, Request, Row
from aajax.dialogue.players.scripted import scripted_player
from aajax.errors import InputError

KEY = "sk-very-secret"
ONE_FAILURE = {"408": 408, "409": 409, "429": 429, "500": 500, "503": 503}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module", autouse=True)
def warm():
    """The library reads a part of itself at the first request, by whose deadline."""
    with fake.serving(always(fake.answer("<A>"))) as (_, url):
        ask(ApiConfig(url, "some-model", key_variable=None))


@pytest.fixture
def serve():
    """Starts an endpoint: `(behave, **config) -> endpoint, config`."""
    open_ = []

    def start(behave, **options):
        server = fake.serving(behave)
        open_.append(server)
        endpoint, url = server.__enter__()
        options = {"backoff": 0.001, "timeout": 5.0, "retries": 2} | options
        return endpoint, ApiConfig(url, "some-model", **options)

    yield start
    for server in open_:
        server.__exit__(None, None, None)


def always(response):
    return lambda number, request: response


def first(response, then=None):
    then = then or fake.answer("<A>")
    return lambda number, request: response if number == 0 else then


def choice(text="choose"):
    return Request(text, "choice", CHOICE, None)


def listen(text):
    return Request(text, None, None, None)


def keys(num_rows, seed=0):
    return jax.random.split(jax.random.key(seed), num_rows)


def ask(config, requests=None, **options):
    """The replies of a new player to a first step."""
    requests = requests or [choice()]
    player = api_player(config, **options)
    memory = player.start([Row(number, 0) for number in range(len(requests))])
    return player.reply(memory, requests, keys(len(requests)))[1]


def said(request):
    return [message["content"] for message in request["messages"]]


def test_a_dialogue(serve):
    answers = ["<A>", "<B>"]
    endpoint, config = serve(lambda number, request: fake.answer(answers[number]))
    player = api_player(config)
    memory = start = player.start([Row(0, 1)])
    replies = []
    for request in [listen("rules"), choice("one"), listen("news"), choice("two")]:
        memory, reply = player.reply(memory, [request], keys(1))
        replies += reply
    assert replies == [None, Reply("<A>"), None, Reply("<B>")]
    assert endpoint.requests[1] == {
        "model": "some-model",
        "max_tokens": 1024,
        "messages": [
            {"role": "user", "content": "rules\n\none"},
            {"role": "assistant", "content": "<A>"},
            {"role": "user", "content": "news\n\ntwo"},
        ],
    }
    assert endpoint.headers["path"] == "/v1/chat/completions"
    assert endpoint.headers["Authorization"] == f"Bearer {KEY}"
    assert start == player.start([Row(0, 1)])  # memory is a value


def test_options_that_are_sent(serve):
    options = {"reasoning_effort": "low", "max_tokens": 7, "temperature": 0.5}
    endpoint, config = serve(always(fake.answer("<A>")), key_variable=None, **options)
    ask(config)
    assert "Authorization" not in endpoint.headers
    sent = endpoint.requests[0]
    assert (sent["reasoning_effort"], sent["max_completion_tokens"]) == ("low", 7)
    assert sent["temperature"] == 0.5 and "max_tokens" not in sent


def test_answers_of_another_form_are_asked_for_again(serve):
    answers = ["I choose <A>", "", "<B>", "<A>"]
    endpoint, config = serve(lambda number, request: fake.answer(answers[number]))
    player = api_player(config)
    memory, replies = player.reply(player.start([Row(0, 0)]), [choice("one")], keys(1))
    assert replies == [Reply("<B>", tries=3)]
    again = f"one\n\n{reminder(CHOICE)}"
    assert [said(request) for request in endpoint.requests] == [
        ["one"], [again], [f"{again}\n\n{reminder(CHOICE)}"],
    ]  # fmt: skip
    assert CHOICE in again
    player.reply(memory, [choice("two")], keys(1))
    assert said(endpoint.requests[3]) == ["one", "<B>", "two"]


@pytest.mark.parametrize("text", ["<C>", ""])
def test_the_last_answer_is_returned_whatever_it_is(serve, text):
    endpoint, config = serve(always(fake.answer(text)), tries=2)
    player = api_player(config)
    memory, replies = player.reply(player.start([Row(0, 0)]), [choice("one")], keys(1))
    assert replies == [Reply(text, tries=2)] and len(endpoint.requests) == 2
    player.reply(memory, [choice("two")], keys(1))
    # Who answered nothing has said nothing: endpoints refuse messages without text.
    assert said(endpoint.requests[2]) == (
        ["one", "<C>", "two"] if text else ["one\n\ntwo"]
    )


@pytest.mark.parametrize(
    "failure",
    [*map(fake.status, ONE_FAILURE.values()), fake.cut, fake.drop,
     fake.status(200, b"no JSON"), fake.status(200, {"choices": []}),
     fake.status(200, b"[" * 100_000)],
    ids=[*ONE_FAILURE, "cut", "drop", "garbage", "no choice", "deep"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(serve, failure):
    endpoint, config = serve(first(failure))
    assert ask(config) == [Reply("<A>")]
    assert len(endpoint.requests) == 2
    assert endpoint.requests[0] == endpoint.requests[1]


BODY = json.dumps({"choices": [{"message": {"content": "<A>"}}]}).encode()
OK = b"HTTP/1.1 200 OK\r\n"
REST = b"\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
DRIPS = {  # each ends in a whole answer, for who waits
    "status": (OK[:9], b"0", b"200 OK" + REST),
    "header": (OK + b"A: ", b"b", REST),
    "headers": (OK, b"A: b\r\n", REST[2:]),
    "not yet": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", OK + REST[2:]),
    "body": (OK + b"\r\n", b" ", BODY),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1\r\n \r\n",
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    ),
}


@pytest.mark.parametrize(
    "failure",
    [fake.hang, *(fake.drip(*parts) for parts in DRIPS.values())],
    ids=["hang", *DRIPS],
)
def test_time_runs_out(serve, failure):
    _, config = serve(first(failure), timeout=0.3, retries=9)
    assert ask(config) == [Reply("<A>")]
    _, config = serve(always(failure), timeout=0.2, retries=1)
    with pytest.raises(EndpointError, match="no answer within 0.2 s; 2 requests"):
        ask(config)


def test_time_runs_out_before_anything_is_sent():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        config = ApiConfig(url, "some-model", timeout=0.6, retries=1, backoff=0.001)
        expected = "no connection within 0.3 s; 2 requests"
        with pytest.raises(EndpointError, match=expected):
            ask(config)


@pytest.mark.parametrize("code", [401, 500])
def test_an_error_whose_words_do_not_end_is_what_its_status_says(serve, code):
    begun = b"HTTP/1.1 %d Oh\r\n\r\n" % code
    endpoint, config = serve(
        always(fake.drip(begun + b"no", b"n")), timeout=1.0, retries=1
    )
    with pytest.raises(EndpointError, match=f"it answers {code}: n"):
        ask(config)
    assert len(endpoint.requests) == (1 if code == 401 else 2)


@pytest.mark.parametrize("code", [302, 307, 400, 401, 404, 422])
def test_what_does_not_pass_is_one_clear_error(serve, code):
    body = {"error": {"message": f"no, {KEY}\nis wrong"}}
    endpoint, config = serve(always(fake.status(code, body, Location="/elsewhere")))
    with pytest.raises(EndpointError) as error:
        ask(config)
    assert error.value.strerror == f"it answers {code}: no, [key] is wrong"
    assert error.value.filename == f"{config.url}/chat/completions"
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("place", ["http://[bad", "", "/a b", "http://a:b/"])
def test_where_a_redirect_points_to_is_not_looked_at(serve, place):
    endpoint, config = serve(always(fake.status(302, b"there", Location=place)))
    with pytest.raises(EndpointError, match="it answers 302: there'?:"):
        ask(config)
    assert len(endpoint.requests) == 1


def test_a_long_body_is_not_read_to_its_end(serve):
    size = 50 << 20
    endpoint, config = serve(always(fake.flood(200, size)))
    with pytest.raises(EndpointError, match="its answer is longer than 8 MiB'?:"):
        ask(config)
    assert len(endpoint.requests) == 1 and endpoint.written < size
    endpoint, config = serve(first(fake.flood(503, size)))
    assert ask(config) == [Reply("<A>")]
    assert endpoint.written < size
    # Up to the limit all is read.
    long = "a" * (7 << 20)
    _, config = serve(always(fake.answer(long)), tries=1)
    assert ask(config) == [Reply(long)]


def test_a_client_thrown_away_in_the_loop_of_another_is_not_waited_for(monkeypatch):
    waited_for = []
    monkeypatch.setattr(threading.Thread, "join", lambda *a, **b: waited_for.append(a))
    one, other = (exchange.Client("http://a/", {}, 1) for _ in range(2))

    async def close():
        other.close()  # as where garbage is collected there

    asyncio.run_coroutine_threadsafe(close(), one._loop).result()
    assert waited_for == []


def test_connections_are_used_again(serve):
    endpoint, config = serve(always(fake.answer("<A>")), concurrency=2)
    player = api_player(config)
    memory = player.start([Row(number, 0) for number in range(4)])
    for _ in range(3):
        memory, _ = player.reply(memory, [choice()] * 4, keys(4))
    assert len(endpoint.requests) == 12
    assert endpoint.connections <= 2


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(fake.status(500, b"<html>\n oh"), "it answers 500: <html> oh"),
     (fake.status(200, {"error": {"message": "busy"}}), "no message: busy"),
     (fake.status(200, b"?"), "no JSON: '?'")],
)  # fmt: skip
def test_what_does_not_pass_in_time_is_one_clear_error(serve, failure, reason):
    endpoint, config = serve(always(failure))
    with pytest.raises(EndpointError) as error:
        ask(config)
    assert f"{reason}; 3 requests failed" in error.value.strerror
    assert len(endpoint.requests) == 3


SPELLED = {
    "as it is": KEY,
    "unicode": "".join(rf"\u{ord(c):04x}" for c in KEY),
    "one letter": KEY.replace("v", r"\u0076"),
    "twice": KEY.replace("-", r"\\u002D"),
    "percent": KEY.replace("-", "%2d"),
    "html": KEY.replace("-", "&#45;"),
    "invisible": "\0".join(KEY),
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize(
    "body",
    ['{"error": {"message": "no, %s, no"}}', '{"error": "%s"}', '{"detail": ["%s"]}',
     "<p>%s</p>", '{"error": "%s', "%s", "Bearer %s", " " * 300 + "%s" + "a" * 300,
     "a" * 190 + " %s"],
)  # fmt: skip
@pytest.mark.parametrize("code", [200, 400])
def test_an_error_shows_no_key_that_a_server_echoes(serve, spelled, body, code):
    data = body.replace("%s", spelled).encode()
    _, config = serve(always(fake.status(code, data)), retries=0)
    with pytest.raises(EndpointError) as error:
        ask(config)
    said = error.value.strerror
    if code == 400 or "detail" not in body:
        assert "[key" in said or said.endswith("a...; 1 requests failed")
    assert "very" not in said and "secret" not in said and "76" not in said


def test_nothing_that_is_raised_holds_the_key(serve):
    failures = [fake.status(400, b"no"), fake.drop, fake.cut, fake.status(200, b"?")]
    for failure in failures:
        _, config = serve(always(failure), retries=0)
        with pytest.raises(EndpointError) as error:
            ask(config)
        whole, seen = error.value, []
        while whole is not None:
            seen.append(str(whole) + repr(whole) + str(vars(whole)))
            told = traceback.TracebackException.from_exception(
                whole, capture_locals=True
            )
            seen += told.format()
            whole = whole.__cause__ or whole.__context__
        assert KEY not in "".join(seen) and "Bearer" not in "".join(seen)
    player = api_player(config)
    assert KEY not in repr(player) + repr(player.ask)


@pytest.mark.parametrize(
    "key", ["x", "1", "-", "none", "null", "EMPTY", "ollama", "A", KEY]
)
def test_what_a_model_says_is_never_changed(serve, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    text = f"I take 10 - exactly, none; 1 null max EMPTY <A> {key}: {key}"
    answer = fake.answer(text, reasoning=text)
    endpoint, config = serve(always(answer), tries=1)
    assert ask(config) == [Reply(text)]
    assert len(endpoint.requests) == 1
    assert endpoint.headers["Authorization"] == f"Bearer {key}"


def test_nobody_is_there():
    with fake.serving(always(fake.drop)) as (_, url):
        pass
    config = ApiConfig(url, "some-model", retries=1, backoff=0.001)
    with pytest.raises(EndpointError, match="ConnectionRefusedError.*2 requests"):
        ask(config)


def test_waits_as_long_as_the_server_asks(serve):
    _, config = serve(first(fake.status(429, Retry_After="0.3")))
    began = time.monotonic()
    assert ask(config) == [Reply("<A>")]
    assert time.monotonic() - began > 0.3
    day = "Fri, 31 Dec 2100 23:59:59 GMT"
    endpoint, config = serve(always(fake.status(503, Retry_After=day)))
    with pytest.raises(EndpointError, match="it answers 503; it asks to wait [0-9]+ s"):
        ask(config)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [("1e300", r"1e\+300"), ("inf", "inf"), ("9" * 400, "inf"), ("3e5", "300000"),
     ("Fri, 31 Dec 9999 23:59:59 GMT", "[0-9]+"), ("121", "121")],
)  # fmt: skip
def test_a_wait_that_is_too_long_is_told_at_once(serve, asked, said):
    endpoint, config = serve(always(fake.status(429, Retry_After=asked)))
    with pytest.raises(EndpointError, match=rf"429; it asks to wait {said} s'?:"):
        ask(config)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "asked",
    ["soon", "-1e300", "-inf", "nan", "", "Fri, 31 Dec 99999 23:59:59 GMT",
     "Mon, 0 Jan 0000 00:00:00 GMT", "Fri, 31 Dec 2100 23:59:59 +9999999999",
     "Sat, 01 Jan 2000 00:00:00 GMT"],
)  # fmt: skip
def test_a_wait_that_is_none(serve, asked):
    _, config = serve(first(fake.status(429, Retry_After=asked)))
    assert ask(config) == [Reply("<A>")]


def test_waits_double(serve):
    _, config = serve(always(fake.status(500)), retries=3, backoff=0.04)
    began = time.monotonic()
    with pytest.raises(EndpointError, match="4 requests"):
        ask(config)
    assert time.monotonic() - began > (0.04 + 0.08 + 0.16) / 2


def test_few_at_once_and_in_order(serve):
    barrier = threading.Barrier(3)

    def behave(number, request):
        barrier.wait(5)  # until there are three
        return fake.answer("<A>" if "even" in said(request)[0] else "<B>")

    endpoint, config = serve(behave, concurrency=3)
    endpoint.pause = 0.03
    requests = [choice(("even", "odd")[i % 2]) for i in range(9)]
    replies = ask(config, [*requests[:4], listen("even"), *requests[4:]])
    assert endpoint.most_at_once == 3
    assert replies.pop(4) is None
    assert [reply.text for reply in replies] == [*["<A>", "<B>"] * 4, "<A>"]


def test_an_error_stops_all_others(serve):
    def behave(number, request):
        return fake.status(401 if said(request) == ["bad"] else 500)

    endpoint, config = serve(behave, concurrency=2, backoff=30.0, retries=9)
    began = time.monotonic()
    with pytest.raises(EndpointError, match="it answers 401"):
        ask(config, [choice("good"), choice("bad"), *[choice("later")] * 20])
    assert time.monotonic() - began < 5
    assert len(endpoint.requests) <= 2


def test_an_interrupt_stops_all(serve):
    def behave(number, request):
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return fake.status(500)

    endpoint, config = serve(behave, concurrency=2, backoff=30.0)
    # Whoever starts tests in the background has interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(config, [choice()] * 9)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 1 <= len(endpoint.requests) <= 2  # those that were under way


def test_an_interrupt_while_jobs_are_handed_in_stops_those_under_way():
    class Interrupted(list):
        def __iter__(self):
            yield self[0]
            raise KeyboardInterrupt

    halted = []
    jobs = Interrupted([lambda halt: halted.append(halt.wait(20))] * 2)
    with pytest.raises(KeyboardInterrupt):
        api._all_at_once(jobs, 2)
    assert halted == [True]


def test_no_more_requests_than_allowed(serve):
    endpoint, config = serve(always(fake.answer("<A>")), max_requests=4)
    with pytest.raises(ValueError, match="^max_requests is 4: all were sent"):
        ask(config, [choice()] * 6)
    assert len(endpoint.requests) == 4
    endpoint, config = serve(always(fake.status(500)), max_requests=2)
    said = "^max_requests is 2: .* go on; the last one failed: it answers 500$"
    with pytest.raises(InputError, match=said):
        ask(config)
    assert len(endpoint.requests) == 2


def test_no_more_tokens_than_allowed(serve):
    message = [{"role": "user", "content": "choose"}]
    most = most_tokens(ApiConfig("http://a", "b", max_tokens=100), message)
    assert most > 100 + len("choose")
    # Room for one at a time, and for five that turn out to cost 10.
    endpoint, config = serve(
        always(fake.answer("<A>", tokens=10)),
        max_tokens=100, max_total_tokens=most + 45,
    )  # fmt: skip
    endpoint.pause = 0.02
    with pytest.raises(ValueError, match="^max_total_tokens is [0-9]+: 50 were spent"):
        ask(config, [choice()] * 7)
    assert (len(endpoint.requests), endpoint.most_at_once) == (5, 1)
    # What may have been written and got lost counts in full.
    endpoint, config = serve(first(fake.cut), max_tokens=100, max_total_tokens=most)
    with pytest.raises(ValueError, match=f": {most} were spent"):
        ask(config)
    endpoint, config = serve(
        first(fake.status(500)), max_tokens=100, max_total_tokens=most
    )
    assert ask(config) == [Reply("<A>")]


def test_a_budget_without_limits():
    budget = Budget()
    with budget.request(10**9, None) as paid:
        paid.tokens = 7
    with pytest.raises(KeyError), budget.request(10, None):
        raise KeyError  # whatever happened, it may have been paid for
    assert (budget.requests, budget.tokens) == (2, 17)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [({"content": " <A>\n"}, "<A>", ""),
     ({"content": None, "reasoning_content": "hm"}, "", "hm"),
     ({"reasoning": " hm", "content": "<A>"}, "<A>", "hm"),
     ({}, "", ""),
     ({"content": "<think>a\nb</think>\n\n<A>"}, "<A>", "a\nb"),
     ({"content": "a</think><A>", "reasoning": 3}, "<A>", "a"),
     ({"content": "<think>cut off"}, "", "cut off"),
     ({"content": [{"type": "text", "text": "<A"}, {"text": ">"}, 1]}, "<A>", ""),
     ({"content": "\ud83d<A>"}, "?<A>", "")],
)  # fmt: skip
def test_messages_of_all_kinds(message, text, reasoning):
    body = json.dumps({"choices": [{"message": message}], "usage": None})
    completion = read_completion(body)
    assert completion == (text, reasoning, None, None)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{}", '{"choices": [{"message": "hi"}]}', '{"choices": 1}'],
)
def test_what_is_no_completion(body):
    with pytest.raises(ValueError, match="^its answer (is no JSON|has no message)"):
        read_completion(body)


@pytest.mark.parametrize("usage", [True, -1, 2**53, 10**30, 7.0, "7", None])
def test_tokens_that_are_no_count_are_not_said(usage):
    body = {"choices": [{"message": {"content": "<A>"}}]}
    completion = read_completion(json.dumps(body | {"usage": {"total_tokens": usage}}))
    assert completion == ("<A>", "", None, None)


def test_a_mark_before_json_is_no_part_of_it(serve):
    body = {"choices": [{"message": {"content": "<A>"}}]}
    marked = json.dumps(body).encode("utf-8-sig")
    endpoint, config = serve(always(fake.status(200, marked)))
    assert ask(config) == [Reply("<A>")]
    assert len(endpoint.requests) == 1

    marked = json.dumps({"error": {"message": "no such model"}}).encode("utf-8-sig")
    _, config = serve(always(fake.status(404, marked)))
    with pytest.raises(EndpointError, match="it answers 404: no such model: 'http"):
        ask(config)


def test_a_pattern_that_is_none_costs_nothing(serve):
    endpoint, config = serve(always(fake.answer("<A>")))
    with pytest.raises(ValueError, match="a regular expression in the syntax"):
        ask(config, [choice(), Request("", "choice", "(", None)])
    assert endpoint.requests == []


def test_at_the_table(serve):
    def behave(number, request):
        word = said(request)[-1].startswith("word")
        return fake.answer("<m>hi</m>" if word else "<B>")

    endpoint, config = serve(behave)
    game = TinyWords()
    at_table = {"api": api_player(config), "nice": scripted_player(game, "tit_for_tat")}
    seats = (Seat("api"), Seat("nice"))
    matchups = [Matchup(number, 0, 0, seats) for number in range(2)]
    matches = play(game, at_table, matchups, jax.random.key(0))
    assert [match.rewards for match in matches] == [[[5, 0], [1, 1]]] * 2
    assert len(endpoint.requests) == 8
    texts = "word 0 <m>hi</m> choice 1 <B> word 2 <m>hi</m> choice 3"
    longest = max((said(request) for request in endpoint.requests), key=len)
    assert " ".join(longest) == texts


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"key_variable": KEY}, "key_variable is no name of"),
     ({"longest_wait": 1e300}, "longest_wait is 1e\\+300"),
     ({"concurrency": 0}, "concurrency is 0"), ({"tries": 0}, "tries is 0"),
     ({"timeout": 0.0}, "timeout is 0.0"), ({"backoff": -1.0}, "backoff is -1.0"),
     ({"temperature": float("nan")}, "temperature is nan"),
     ({"max_tokens": None, "max_total_tokens": 9}, "max_tokens is None")],
)  # fmt: skip
def test_what_is_no_configuration(options, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        ApiConfig(**{"url": "http://a", "model": "b", **options})


IMPOSSIBLE = (
    "ftp://a", "http://", "http:///v1", "https://:80", "a", "localhost:8000/v1", "",
    "http://a:0", "http://a:65536", "http://a:-1", "http://a:b", "http://a:80:80",
    "http://a b/v1", "http://a/v 1", " http://a", "http://a\n", "http://a\x00b",
    "http://[bad", "http://[::1", "http://[::g]", "http://256.1.1.1", "http://a..b",
    "http://.", "http://" + "x" * 64, "http://" + "x.x" * 85, "http://a,b", "http://%41",
    "http://xn--a.de", "http://\u2488.de", "http://\udc80", "http://a/\udc80",
    "http://a\\b",
)  # fmt: skip


@pytest.mark.parametrize("url", IMPOSSIBLE)
def test_an_address_that_is_impossible(url):
    with pytest.raises(InputError) as error:
        ApiConfig(url, "b")
    expected = f"url is {url!r}: one like https://api.openai.com/v1 is needed"
    assert str(error.value) == expected and "\n" not in expected


@pytest.mark.parametrize(
    "url",
    ["http://a", "HTTPS://A.b.:8000/v1/", "http://127.0.0.1:1/", "http://[::1]:65535/v1",
     "http://my_service:8000/v1", "http://b\u00fccher.de/v1", "http://a/@b/%20"],
)  # fmt: skip
def test_an_address_that_is_none_of_those(url):
    assert ApiConfig(url, "b").url == url


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@a", f"http://a?key={KEY}", f"http:me:{KEY}@[", f"a#{KEY}"]
)
def test_no_secret_in_an_address(url):
    with pytest.raises(ValueError, match="^url has more") as error:
        ApiConfig(url, "b")
    assert KEY not in str(error.value)


def test_surroundings_that_are_impossible(monkeypatch):
    monkeypatch.delenv("no_proxy")
    for name, value in [
        ("ALL_PROXY", f"nothing://me:{KEY}@a"), ("HTTPS_PROXY", "http://a:b"),
        ("SSL_CERT_FILE", "/nowhere"),
    ]:  # fmt: skip
        with monkeypatch.context() as context:
            context.setenv(name, value)
            with pytest.raises(InputError, match="^environment has no usable") as error:
                api_player(ApiConfig("https://a", "b"))
        assert "\n" not in str(error.value) and KEY not in str(error.value)


def test_without_httpx(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="^httpx is not installed: pip install 'aajax"):
        ApiConfig("http://a", "b")


@pytest.mark.parametrize("key", ["", " \n", "a\nb", "ключ"])
def test_a_key_that_is_none(monkeypatch, key):
    monkeypatch.setenv("OTHER_KEY", key)
    config = ApiConfig("http://a", "b", key_variable="OTHER_KEY")
    with pytest.raises(ValueError, match="^key_variable is 'OTHER_KEY'"):
        api_player(config)
