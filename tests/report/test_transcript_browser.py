"""The page of what was said as a reader meets it, in a real browser."""

import math
import os
import shutil

import pytest
from playwright.sync_api import sync_playwright
from transcript_matches import HOSTILE, Vocabulary, match, record

from aajax.report.transcript import page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
# Where nothing can be skipped unseen, a browser is a must.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason=f"no Chromium is installed: one of {', '.join(PROGRAMS)}",
)
NUM_MATCHES = 12


@pytest.fixture(scope="module")
def browser():
    assert CHROMIUM is not None, f"none of {', '.join(PROGRAMS)} is installed"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def made():
    """Vocabulary and records of two iterations; match 2 is hostile."""
    vocabulary = Vocabulary()
    half = NUM_MATCHES // 2
    records = [
        record(match(n, vocabulary, 6, iteration, hostile=n == 2), iteration)
        for n in range(NUM_MATCHES)
        for iteration in [10 * (n // half)]
    ]
    # The last match shows numbers of every sign, and reasoning.
    last = records[-1]
    last["trained"], last["credits"] = [True, True], [[0.0, -1.0]] * 5 + [[9.0, None]]
    answers = [turn for turn in last["turns"][0] if turn["kind"] is not None]
    text = "<think>What do they hold?</think>I hold rock."
    ids = [*vocabulary.encode(text), vocabulary.end]
    size = len(ids)
    tokens = [[1], ids, [-math.log(k + 2) for k in range(size)], [0] * size, ids]
    answers[0] |= {"answer": text, "tokens": tokens}
    return vocabulary, records


@pytest.fixture(scope="module")
def file(made, tmp_path_factory):
    vocabulary, records = made
    path = tmp_path_factory.mktemp("page") / "page.html"
    markers = {vocabulary.end: "<|end|>"}
    path.write_text(page(records, "a run", vocabulary.token_bytes, markers))
    return path


@pytest.fixture
def tab(browser, file):
    """The page, just opened; nothing may have gone wrong in it at the end."""
    tab = browser.new_page(viewport={"width": 1200, "height": 800})
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.on(
        "request",
        lambda request: (
            request.is_navigation_request() or errors.append(f"asks for {request.url}")
        ),
    )
    tab.goto(file.as_uri())
    yield tab
    assert tab.evaluate("1 + 1") == 2
    assert errors == []
    tab.close()


def count(tab, selector):
    return tab.locator(selector).count()


def hover(tab, selector):
    """Points at an element where it rests: the event of scrolling there comes a
    frame late, and hides what a pointer shows."""
    tab.locator(selector).first.scroll_into_view_if_needed()
    frames = "new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
    tab.evaluate(frames)
    tab.hover(selector)


def chosen(tab):
    assert count(tab, "[aria-selected=true]") == 1
    number = tab.inner_text("#transcript h2").removeprefix("Match ")
    assert tab.inner_text("[aria-selected=true] .number") == f"#{number}"
    return int(number)


def test_matches_are_chosen_by_click_and_key(tab):
    assert tab.inner_text("#count") == f"{NUM_MATCHES} matches"
    assert count(tab, ".option") == NUM_MATCHES
    assert chosen(tab) == 0
    tab.click(".option:nth-child(4)")
    assert chosen(tab) == 3
    for key, number in [
        *[("ArrowDown", 4), ("ArrowUp", 3), ("End", 11), ("ArrowDown", 11)],
        *[("Home", 0), ("ArrowUp", 0), ("j", 1), ("j", 2), ("k", 1)],
    ]:
        tab.keyboard.press(key)
        assert chosen(tab) == number
    tab.click("#next")
    assert chosen(tab) == 2
    tab.click("#previous")
    assert chosen(tab) == 1
    assert tab.evaluate("location.hash") == "#1"


def test_what_a_match_shows(tab, made):
    _, records = made
    tab.click(".option:nth-child(4)")
    one = records[3]
    about = tab.inner_text(".about")
    assert f"group {one['group']}" in about and "iteration 0" in about
    assert f"environment seed {one['env_seed']}" in about and "6 rounds" in about
    assert count(tab, ".round") == 6
    totals = [0.0, 0.0]
    for t, rewards in enumerate(one["rewards"]):
        for seat, reward in enumerate(rewards):
            totals[seat] += reward
            place = f"#round-{t} > .columns:last-child > :nth-child({seat + 1})"
            shown = tab.inner_text(place).replace("\u2212", "-").split()
            assert float(shown[0]) == pytest.approx(reward, rel=1e-3)
            so_far = shown[shown.index("far") + 1]
            assert float(so_far) == pytest.approx(totals[seat], rel=1e-3)
            credit = one["credits"][t][seat]
            if credit is None:
                assert "credit" not in shown
            else:
                figure = float(shown[shown.index("credit") + 1])
                assert figure == pytest.approx(credit, rel=1e-3)
            hand = one["facts"][t]["hand"][seat]
            facts = f"#round-{t} .columns > .facts:nth-child({seat + 1})"
            assert f"hand {hand}" in tab.inner_text(facts)
    answers = [t for seat in one["turns"] for t in seat if t["kind"] is not None]
    assert count(tab, ".answer") == len(answers)
    assert count(tab, ".chart rect.fill") == 12
    assert count(tab, ".chart polyline") == 2


def test_invalid_and_retried_answers_are_marked(tab, made):
    _, records = made
    tab.click("#troubled")
    num_shown = count(tab, ".option")
    assert 0 < num_shown < NUM_MATCHES
    seen = 0
    for place in range(num_shown):
        tab.click(f".option:nth-child({place + 1})")
        one = records[chosen(tab)]
        answers = [t for seat in one["turns"] for t in seat if t["kind"] is not None]
        num_invalid = sum(not turn["valid"] for turn in answers)
        assert count(tab, ".answer.invalid .badge.bad") == num_invalid
        num_retried = sum(turn["tries"] > 1 for turn in answers)
        assert count(tab, ".answer.retried .badge.again") == num_retried
        seen += num_invalid + num_retried
    turns = [t for one in records for seat in one["turns"] for t in seat]
    assert seen == sum((t["tries"] > 1) + (not t["valid"]) for t in turns)


def test_the_list_is_filtered_and_sorted(tab, made):
    _, records = made
    tab.fill("#search", "greedy")
    with_greedy = [one["number"] for one in records if "greedy" in one["players"]]
    assert 0 < len(with_greedy) < NUM_MATCHES
    listed = "[...document.querySelectorAll('.option .number')].map(e => +e.textContent.slice(1))"  # noqa: E501
    assert tab.evaluate(listed) == with_greedy
    assert tab.inner_text("#count") == f"{len(with_greedy)} of {NUM_MATCHES} matches"
    tab.evaluate("byId('search').value = ''; byId('iteration').value = '10'; arrange()")
    assert tab.evaluate(listed) == list(range(6, 12))
    tab.evaluate(
        "byId('iteration').value = ''; byId('order').value = 'points of all'; arrange()"
    )  # noqa: E501
    sums = [sum(map(sum, one["rewards"])) for one in records]
    order = tab.evaluate(listed)
    assert [sums[n] for n in order] == pytest.approx(sorted(sums))
    tab.click("#direction")
    assert [sums[n] for n in tab.evaluate(listed)] == pytest.approx(sorted(sums)[::-1])
    tab.fill("#search", "nobody")
    assert count(tab, ".option") == 0 and tab.inner_text("#list") == "No match fits."


def test_prompts_fold_all_and_each(tab):
    num_told = count(tab, ".told")
    assert num_told == 2 * 6 * 3 and count(tab, ".told[open]") == 0
    tab.click("#round-1 .told summary")
    assert count(tab, ".told[open]") == 1
    assert "Round 2. Your hand is" in tab.inner_text(".told[open] .text")
    tab.click("#prompts")
    assert count(tab, ".told[open]") == num_told
    assert tab.inner_text("#prompts") == "Hide prompts"
    tab.keyboard.press("j")
    assert count(tab, ".told[open]") == num_told
    tab.keyboard.press("p")
    assert count(tab, ".told[open]") == 0


def test_numbers_of_a_token_are_shown_under_the_pointer(tab, made):
    _, records = made
    one = records[2]
    seat, turn = next(
        (seat, turn)
        for seat, turns in enumerate(one["turns"])
        for turn in turns[:3]
        if turn["tokens"] is not None
    )
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    at = f'[data-at="[0,{turn["step"]},{seat}]"]'
    assert tab.evaluate("byId('tip').hidden")
    hover(tab, f"#transcript {at.replace('[data', '.words[data')} .token:nth-child(2)")
    tab.locator("#tip").wait_for(state="visible")
    shown = tab.inner_text("#tip").replace("\u2212", "-").split("\n")
    _, ids, log_prob, *_ = turn["tokens"]
    numbers = dict(zip(shown[1::2], shown[2::2], strict=True))
    assert int(numbers["token id"]) == ids[1]
    assert float(numbers["log-prob"]) == pytest.approx(log_prob[1], rel=1e-3)
    probability = float(numbers["probability"].removesuffix(" %"))
    assert probability == pytest.approx(100 * math.exp(log_prob[1]), rel=1e-2)
    assert float(numbers["credit"]) == pytest.approx(one["credits"][0][seat], rel=1e-3)
    advantage = one["advantages"][0][seat]
    assert float(numbers["advantage"]) == pytest.approx(advantage, rel=1e-3)
    assert numbers["token"] == f"2 of {len(ids)}"
    tab.hover("#transcript h2")
    assert tab.evaluate("byId('tip').hidden")
    tab.click("#round-0 .token")  # as a finger does, which cannot hover
    tab.hover("#transcript h2")
    assert not tab.evaluate("byId('tip').hidden")
    tab.keyboard.press("Escape")
    assert tab.evaluate("byId('tip').hidden")


def background(tab, selector):
    """Red, green, blue and share of a colour behind a text."""
    text = tab.evaluate(
        f"getComputedStyle(document.querySelector({selector!r})).backgroundColor"
    )  # noqa: E501
    numbers = text[text.index("(") + 1 : -1].replace("/", " ").replace(",", " ").split()
    return [float(x) for x in numbers] + [1.0] * (4 - len(numbers))


def test_colours_follow_the_credit(tab):
    tab.keyboard.press("End")
    zero = background(tab, "#round-0 .cell.seat-0 .token")
    red, _, blue, share = background(tab, "#round-0 .cell.seat-1 .token")
    assert zero[3] == 0
    assert red > blue and 0 < share < 0.62
    red, _, blue, share = background(tab, "#round-5 .cell.seat-0 .token")
    assert blue > red and share == pytest.approx(0.62)
    assert background(tab, "#round-5 .cell.seat-1 .token")[3] == 0
    assert tab.inner_text("#legend").split()[1] == "0"
    tab.keyboard.press("c")
    assert tab.evaluate("byId('colour').value") == "advantage"
    tab.keyboard.press("c")
    assert tab.inner_text("#legend").startswith("100 %")
    first = '[data-at="[0,0,0]"] .token'
    if count(tab, first) == 0:
        first = '[data-at="[0,1,0]"] .token'
    shares = [background(tab, f"{first}[data-place='{k}']")[3] for k in (0, 3, 8)]
    assert shares == pytest.approx(
        [0.62 * math.log(k + 2) / math.log(100) for k in (0, 3, 8)], abs=2e-3
    )
    tab.keyboard.press("c")
    assert background(tab, "#round-5 .cell.seat-0 .token")[3] == 0


def test_reasoning_folds(tab):
    tab.keyboard.press("End")
    assert count(tab, ".reasoning") == 1 and count(tab, ".reasoning[open]") == 0
    tab.click(".reasoning summary")
    assert (
        "".join(tab.inner_text(".reasoning").split("\n")[1:])
        == "<think>What do they hold?</think>"
    )  # noqa: E501


def test_hostile_answers_are_text(tab):
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("p")
    assert HOSTILE in tab.inner_text("#transcript")
    assert count(tab, "#transcript script") == count(tab, "#transcript img") == 0
    assert tab.evaluate("typeof window.hacked") == "undefined"


def test_dark_and_narrow_windows(tab):
    light = background(tab, "body")
    assert min(light[:3]) > 230
    tab.emulate_media(color_scheme="dark")
    assert max(background(tab, "body")[:3]) < 40
    left = "document.querySelector('#round-0 .cell.seat-0').getBoundingClientRect()"
    right = left.replace("seat-0", "seat-1")
    assert tab.evaluate(f"{left}.right < {right}.left && {left}.top === {right}.top")
    tab.set_viewport_size({"width": 400, "height": 800})
    assert tab.evaluate(f"{left}.bottom <= {right}.top")
    assert "seat 0 · learner" in tab.inner_text("#round-0 .cell")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_five_hundred_matches_are_no_burden(tab, made, tmp_path):
    vocabulary, records = made
    many = [records[n % NUM_MATCHES] | {"number": n} for n in range(500)]
    file = tmp_path / "many.html"
    file.write_text(page(many, "many", vocabulary.token_bytes))
    tab.goto(file.as_uri())
    assert count(tab, ".option") == 500
    seconds = tab.evaluate(
        """(() => {
          const began = performance.now();
          for (let n = 1; n <= 10; n++) { move(1); document.body.offsetHeight; }
          return (performance.now() - began) / 10000;
        })()"""
    )
    assert chosen(tab) == 10
    assert seconds < 1  # about 0.1 where nothing else runs


def test_answers_without_a_tokenizer_are_coloured_as_a_whole(tab, made, tmp_path):
    _, records = made
    file = tmp_path / "whole.html"
    file.write_text(page(records[-1:]))
    tab.goto(file.as_uri())
    assert count(tab, ".token:not(.whole)") == 0
    answers = [t for seat in records[-1]["turns"] for t in seat if t["kind"]]
    assert count(tab, ".words") == len(answers)
    assert count(tab, ".reasoning") == 1
    place = "#round-5 .cell.seat-0 .token"
    assert background(tab, place)[3] == pytest.approx(0.62)
    hover(tab, place)
    tab.locator("#tip").wait_for(state="visible")
    assert "credit\n+9" in tab.inner_text("#tip")
