"""Keys in what is shown of errors."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aajax.dialogue.endpoints.redaction import redactor

SPELLINGS = (
    str,
    lambda c: rf"\u{ord(c):04x}",
    lambda c: rf"\\u{ord(c):04X}",
    lambda c: rf"\x{ord(c):02x}",
    lambda c: f"\\{c}" if c in "/\"'\\" else c,
    lambda c: f"%{ord(c):02X}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
    html.escape,
    lambda c: f"\0{c}\x1b",
)


@st.composite
def spelled_keys(draw, least=8):
    """A key, and how it is spelled."""
    letters = st.characters(min_codepoint=33, max_codepoint=126)
    key = draw(st.text(letters, min_size=least, max_size=40))
    ways = draw(
        st.lists(st.sampled_from(SPELLINGS), min_size=len(key), max_size=len(key))
    )
    return key, "".join(way(c) for way, c in zip(ways, key, strict=True))


@given(spelled_keys())
def test_a_key_is_hidden_in_any_spelling(pair):
    key, spelled = pair
    assert redactor(key)(f"bad key {spelled} bad") == "bad key [key] bad"


@given(spelled_keys(least=1), st.integers(0, 300))
def test_of_a_text_that_is_cut_no_beginning_is_left(pair, end):
    key, spelled = pair
    cut = redactor(key)(f"bad {spelled}"[: 4 + end], is_cut=True)
    # What begins no key stays, and a key that is whole is hidden.
    assert cut in ("bad ", "bad [key]")


@pytest.mark.parametrize(
    ("key", "spelled"),
    [("&000000000", "&#38;000000000"),
     ("sk&-secret", "sk&amp;-secret"),
     ("sk%-secret", "sk%25-secret"),
     ("sk\\-secret", r"sk\u005c-secret"),
     ("sk\\\\-secret", r"sk\\-secret"),
     ("sk\\u0041-s", r"sk\\u0041-s")],
)  # fmt: skip
def test_nor_where_a_sign_of_the_key_begins_a_spelling(key, spelled):
    hide = redactor(key)
    for end in range(1, len(spelled)):
        assert hide(f"bad {spelled[:end]}", is_cut=True) == "bad ", spelled[:end]


@pytest.mark.parametrize("last, spelled", [("x", r"\x78"), ("u", r"\u0075")])
def test_of_a_spelling_that_begins_with_the_letter_itself_nothing_is_left(
    last, spelled
):
    assert redactor(f"0000000{last}")(f"0000000{spelled} bad") == "[key] bad"


@pytest.mark.parametrize(
    ("last", "spelled"),
    [("x", r"\x78"), ("u", r"\u0075"), ("%", "%25"), ("&", "&#38;"), ("&", "&amp;")],
)
def test_nor_where_it_is_cut(last, spelled):
    hide, begun = redactor(f"0000000{last}"), len("bad 0000000")
    for end in range(begun, begun + len(spelled)):
        assert hide(f"bad 0000000{spelled}"[:end], is_cut=True) in ("bad ", "bad [key]")


def test_short_keys_are_hidden_as_whole_words():
    assert redactor("x")("max x, x-x 'x'") == "max [key], x-x '[key]'"
    assert redactor("-")("a - b -- c-d") == "a [key] b -- c-d"
    assert redactor("none")("none: nonesuch") == "[key]: nonesuch"
    assert redactor("sk-12345")("ask-12345") == "a[key]"


def test_without_a_key_all_is_shown_that_can_be():
    assert redactor("")("a\x1b[31m\tb\n\0", True) == "a[31m\tb\n"
