"""Training against an endpoint: what breaks off is not paid for twice."""

import json

import jax
import pytest
from dialogue import fake_endpoint as fake
from tiny_speech import LORA, tiny_folder

from aajax import cli
from aajax.dialogue.endpoints import endpoint as endpoints
from aajax.dialogue.endpoints.journal import Journal

NEEDED = 2 * 4 * 2  # iterations, matches, rounds


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setattr(endpoints, "_pause", lambda config, attempt: 0.0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def words(model, url, out, *more):
    return [
        *("train", "lm-ipd-vs-api", "--guest", f"api:{url}#clever", "--out", str(out)),
        *("--model", str(model), "--prompts", "short", "--options", "num_rounds=2"),
        *("--num-iterations", "2", "--num-matches", "4", "--eval.matches", "2"),
        *("--lora.rank", "2", "--lora.alpha", "4", "--lora.targets", *LORA.targets),
        *("--speaking.max-tokens", "8", "--api.concurrency", "1"),
        *map(str, more),
    ]


def answered(number, request):
    """Now this, now that, as the dialogue has been."""
    return fake.answer(f"<{'AB'[len(json.dumps(request['messages'])) % 2]}>")


def rows_of(out):
    rows = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: x for name, x in row.items() if not name.startswith("seconds")}
        for row in rows
    ]


def journal_of(out):
    (file,) = out.glob("answers_*.jsonl")
    return Journal(file)


def test_what_breaks_off_is_not_paid_for_twice(model, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with fake.serving(answered) as (endpoint, url):
        assert cli.main(words(model, url, whole)) == 0
        assert len(endpoint.requests) == NEEDED
        asked = sorted(json.dumps(request) for request in endpoint.requests)
        endpoint.requests.clear()

        # In the second iteration, before anything is saved.
        endpoint.behave = lambda number, request: (
            answered(number, request) if number < NEEDED - 3 else fake.status(401)
        )
        assert cli.main(words(model, url, parts)) == 2
        assert "it answers 401" in capsys.readouterr().err
        assert not (parts / "checkpoints").exists()
        assert len(endpoint.requests) == NEEDED - 2
        endpoint.behave = answered
        assert cli.main([*words(model, url, parts), "--resume"]) == 0
        assert len(endpoint.requests) == NEEDED + 1
        refused = endpoint.requests.pop(NEEDED - 3)
        assert refused == endpoint.requests[NEEDED - 3]
        assert sorted(map(json.dumps, endpoint.requests)) == asked
    assert rows_of(parts) == rows_of(whole)
    with journal_of(parts) as journal:
        assert journal.spent().requests == NEEDED + 1
        assert len(list(journal.answers())) == NEEDED
    for file in parts.rglob("*"):
        assert file.is_dir() or b"secret" not in file.read_bytes()


def test_limits_hold_however_often_a_run_is_resumed(model, tmp_path, capsys):
    out = tmp_path / "run"
    with fake.serving(lambda number, request: fake.status(500)) as (endpoint, url):
        limited = words(model, url, out, "--api.max-requests", 3)
        for more in ([], ["--resume"], ["--resume"]):
            assert cli.main([*limited, *more]) == 2
            line = capsys.readouterr().err
            assert line.startswith("aajax train: max_requests is 3: all were sent")
            assert line.count("\n") == 1 and len(endpoint.requests) == 3

        # What changes answers stays as it was; limits and the like need not.
        other = words(model, url, out, "--api.temperature", 0.5, "--resume")
        assert cli.main(other) == 2
        line = capsys.readouterr().err
        assert "another run (api.temperature is None there and 0.5 here)" in line
        endpoint.behave = answered
        more = ("--api.max-requests", 3 + NEEDED, "--api.timeout", 60, "--resume")
        assert cli.main(words(model, url, out, *more)) == 0
        assert len(endpoint.requests) == 3 + NEEDED
    record = json.loads((out / "config.json").read_text())
    assert record["api"]["max_requests"] == 3 + NEEDED
    assert record["api"]["temperature"] is None


def test_options_of_endpoints_without_one(model, tmp_path, capsys):
    out = tmp_path / "run"
    line = words(model, "http://a", out, "--guest", "random")
    line[2:4] = []  # the guest before
    assert cli.main(line) == 2
    assert capsys.readouterr().err == (
        "aajax train: api.concurrency is 1: a player api:URL#MODEL is needed with it\n"
    )
    assert not out.exists()


def test_limits_and_several_processes(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    line = words(model, "http://a", tmp_path / "run", "--api.max-requests", 2)
    monkeypatch.setattr("aajax.training.lm_run.check_processes", lambda parts: None)
    assert cli.main(line) == 2
    assert "api.max_requests is 2: None is needed with 2" in capsys.readouterr().err
