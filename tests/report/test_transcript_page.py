"""The page of what was said, by what is written in it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from transcript_matches import HOSTILE, Vocabulary, match, record

from aajax.errors import InputError
from aajax.report.transcript import page


class Elements(HTMLParser):
    """Everything in a page as a browser splits it: (tag, attributes, text)."""

    def __init__(self, text):
        super().__init__()
        self.found, self.is_open = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.is_open = True

    def handle_endtag(self, tag):
        self.is_open = False

    def handle_data(self, data):
        if self.is_open:
            self.found[-1][2] += data

    def of(self, tag):
        return [(attrs, text) for name, attrs, text in self.found if name == tag]


def blocks(text):
    """The JSON in a page, by id."""
    scripts = Elements(text).of("script")
    return {a["id"]: json.loads(body) for a, body in scripts if "type" in a}


@pytest.fixture(scope="module")
def made():
    """Vocabulary and records of two iterations of six matches, some hostile."""
    vocabulary = Vocabulary()
    records = [
        record(match(n, vocabulary, 4, iteration, hostile=n == 1), iteration)
        for iteration in (10, 20)
        for n in range(6)
    ]
    return vocabulary, records


@pytest.fixture(scope="module")
def written(made):
    vocabulary, records = made
    title = "a <b>run</b>"
    return page(records, title, vocabulary.token_bytes, {vocabulary.end: "<|end|>"})


def test_the_list_counts_what_was_played(made, written):
    _, records = made
    entries = blocks(written)["index"]["matches"]
    assert len(entries) == len(records) == 12
    for entry, one in zip(entries, records, strict=True):
        for name in ("number", "iteration", "group", "players"):
            assert entry[name] == one[name]
        np.testing.assert_allclose(entry["totals"], np.sum(one["rewards"], 0), 1e-5)
        turns = [turn for seat in one["turns"] for turn in seat]
        assert entry["invalid"] == sum(not turn["valid"] for turn in turns)
        assert entry["retried"] == sum(turn["tries"] > 1 for turn in turns)
    assert sum(entry["invalid"] for entry in entries) > 0
    assert sum(entry["retried"] for entry in entries) > 0


def test_rounds_hold_all_that_was_said_and_earned(made, written):
    _, records = made
    for place, one in enumerate(records):
        rounds = blocks(written)[f"match-{place}"]
        assert [len(of_round["steps"]) for of_round in rounds] == [3] * 4
        steps = [step for of_round in rounds for step in of_round["steps"]]
        for seat, turns in enumerate(one["turns"]):
            cells = [step[seat] for step in steps]
            assert [cell["told"] for cell in cells] == [turn["text"] for turn in turns]
            answers = [turn["answer"] for turn in turns]
            assert [cell.get("answer") for cell in cells] == answers
        for t, of_round in enumerate(rounds):
            assert of_round["facts"] == one["facts"][t]
            np.testing.assert_allclose(of_round["reward"], one["rewards"][t], 1e-5)
            for name in ("credit", "advantage"):
                numbers = np.array(of_round[name], float)
                expected = np.array(one[f"{name}s"][t], float)
                np.testing.assert_allclose(numbers, expected, 1e-5)


def test_tokens_spell_the_answers(made, written):
    vocabulary, records = made
    num_tokens = 0
    for place in range(len(records)):
        for of_round in blocks(written)[f"match-{place}"]:
            for cell in (cell for step in of_round["steps"] for cell in step):
                if "ids" not in cell:
                    continue
                num_tokens += len(cell["ids"])
                assert "".join(cell["texts"]) == cell["answer"]
                last = len(cell["ids"]) - 1
                assert cell["markers"] == {str(last): "<|end|>"}
                assert len(cell["log_prob"]) == len(cell["texts"]) == last + 1
    turns = [turn for one in records for seat in one["turns"] for turn in seat]
    assert num_tokens == sum(len(t["tokens"][1]) for t in turns if t["tokens"])


def first_answer(text):
    rounds = blocks(text)["match-0"]
    return next(c for r in rounds for s in r["steps"] for c in s if "ids" in c)


def with_answer(one, answer, ids):
    """The record of one round in which a model gives that answer."""
    turn = {"step": 0, "text": "told", "kind": "message", "answer": answer}
    tokens = [[7], ids, [-0.5] * len(ids), [0] * len(ids), [9] * len(ids)]
    turn |= {"valid": True, "tries": 1, "tokens": tokens}
    changed = {"turns": [[turn], [turn]], "actions": [[0, 0]], "rewards": [[1.0, 2.0]]}
    return one | changed | {"facts": [], "credits": None, "advantages": None}


def test_a_character_of_several_tokens_belongs_to_the_last(made):
    _, records = made
    face = "🙂".encode()
    one = with_answer(records[0], "a🙂b\ufffd", [97, *face, 98, 0xF0])
    cell = first_answer(page([one], token_bytes=lambda token: bytes([token])))
    assert cell["texts"] == ["a", "", "", "", "🙂", "b", "\ufffd"]


def test_tokens_of_another_tokenizer_are_not_spelled(made):
    _, records = made
    one = with_answer(records[0], "abc", [98, 99, 100])
    assert "texts" not in first_answer(page([one], token_bytes=lambda t: bytes([t])))
    assert "texts" not in first_answer(page([one]))
    named = dict(
        zip(
            ("prompt", "ids", "log_prob", "state", "remaining"),
            one["turns"][0][0]["tokens"],
            strict=True,
        )
    )  # noqa: E501
    one["turns"][0][0]["tokens"] = named
    assert first_answer(page([one]))["ids"] == [98, 99, 100]


def test_no_text_is_markup(made, written):
    assert HOSTILE not in written and "<img" not in written
    answers = [
        c.get("answer")
        for r in blocks(written)["match-1"]
        for s in r["steps"]
        for c in s
    ]  # noqa: E501
    assert HOSTILE in answers
    elements = Elements(written)
    programs = [text for attrs, text in elements.of("script") if not attrs]
    assert len(programs) == 1
    assert len(elements.of("script")) == 1 + 1 + 12
    assert not elements.of("b")  # of the title
    assert elements.of("title")[0][1] == "a <b>run</b>"


def test_nothing_but_its_own_script_may_run(written):
    elements = Elements(written)
    policy = next(
        attrs["content"]
        for attrs, _ in elements.of("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    (_, style), *_ = elements.of("style")
    program = next(text for attrs, text in elements.of("script") if not attrs)
    for source in (program, style):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    for _, attrs, _ in elements.found:
        assert not {"src", "href"} & set(attrs)
        assert not any(name.startswith("on") for name in attrs)


def test_colours_are_strongest_at_the_last_percent(made):
    _, records = made
    limits = [[x] for x in range(101)]
    one = with_answer(records[0], "a", [97])
    turns = [[seat[0] | {"step": t} for t in range(101)] for seat in one["turns"]]
    one |= {"turns": turns, "actions": [[0, 0]] * 101, "rewards": [[0.0, 0.0]] * 101}
    one |= {"credits": [[-x[0], None] for x in limits], "advantages": None}
    index = blocks(page([one]))["index"]
    assert index["limits"] == {"credit": pytest.approx(99), "advantage": None}
    one["credits"] = [[0.0, None]] * 101
    assert blocks(page([one]))["index"]["limits"]["credit"] == 0


def test_numbers_that_are_none_are_words(made):
    _, records = made
    one = with_answer(records[0], "a", [97])
    one["rewards"] = [[float("nan"), float("-inf")]]
    one["credits"] = [[float("nan"), 1.0]]
    one["turns"][0][0]["tokens"][2] = [float("-inf")]
    found = blocks(page([one]))
    assert found["match-0"][0]["reward"] == ["nan", "-inf"]
    assert found["match-0"][0]["credit"] == ["nan", 1.0]
    assert found["index"]["limits"]["credit"] == 1.0


def test_what_is_no_match_is_refused(made):
    _, records = made
    with pytest.raises(ValueError, match="matches is empty: at least one match"):
        page([])
    with pytest.raises(ValueError, match="matches has record 1: a match is needed"):
        page([records[0], {"number": 3}])
    halved = with_answer(records[0], "a", [97])
    halved["turns"][0][0]["tokens"] = [1, 2]
    with pytest.raises(InputError, match="matches has record 0: a match is needed"):
        page([halved])
    uneven = records[0] | {"rewards": [*records[0]["rewards"], [0.0, 0.0]]}
    with pytest.raises(ValueError, match=r"match 0 has \[12, 12\] turns: the same"):
        page([uneven])


def colours(scheme):
    """Variables of the style sheet, by name: "light" or "dark"."""
    style = (files("aajax.report") / "transcript.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    found = {}
    for part in [light] if scheme == "light" else [light, dark]:
        for name, value in re.findall(r"--([\w-]+): ([^;]+);", part):
            is_hex = value.startswith("#")
            digits = [value[i : i + 2] for i in (1, 3, 5)] if is_hex else value.split()
            found[name] = np.array([int(x, 16 if is_hex else 10) for x in digits]) / 255
    return found


def linear(colour):
    return np.where(colour > 0.04045, ((colour + 0.055) / 1.055) ** 2.4, colour / 12.92)


def contrast(a, b):
    """By WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(linear(x) @ weights) for x in (a, b))
    return (high + 0.05) / (low + 0.05)


def strongest():
    script = (files("aajax.report") / "transcript_match.js").read_text()
    return float(re.search(r"STRONGEST = ([\d.]+)", script)[1])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_legible_on_every_colour(scheme):
    found, share = colours(scheme), strongest()
    for pole in ("plus", "minus", "rare"):
        behind = share * found[pole] + (1 - share) * found["raised"]
        assert contrast(found["ink"], behind) >= 4.5
    for surface in ("surface", "raised", "sunken"):
        for ink in ("ink", "soft", *(f"seat-{i}" for i in range(6))):
            assert contrast(found[ink], found[surface]) >= 4.5
    for name in ("bad", "again"):
        assert contrast(found[name], found[f"{name}-wash"]) >= 4.5


# Machado, Oliveira and Fernandes 2009, of full severity, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],  # noqa: E501
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],  # noqa: E501
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],  # noqa: E501
}  # fmt: skip
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(light):
    """CIE L*a*b* of linear RGB."""
    x = np.array(XYZ) @ light / np.array([0.9505, 1.0, 1.089])
    x = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * x[1] - 16, 500 * (x[0] - x[1]), 200 * (x[1] - x[2])])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", BLINDNESS)
def test_signs_are_told_apart_by_all_eyes(scheme, eyes):
    found, share = colours(scheme), strongest()
    seen = {
        pole: lab(
            np.clip(
                BLINDNESS[eyes]
                @ linear(share * found[pole] + (1 - share) * found["raised"]),
                0,
                1,
            )
        )  # noqa: E501
        for pole in ("plus", "minus")
    }
    neutral = lab(np.clip(BLINDNESS[eyes] @ linear(found["raised"]), 0, 1))
    assert np.linalg.norm(seen["plus"] - seen["minus"]) > 30
    for pole in seen.values():
        assert np.linalg.norm(pole - neutral) > 20
