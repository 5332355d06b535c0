"""Patterns in words, and answers that are completed."""

import re

import pytest

from aajax.dialogue.players.forms import complete, in_words

WORDS = {
    "<A>|<B>": '"<A>" or "<B>"',
    "(<A>|<B>)": '"<A>" or "<B>"',
    "<s> ?(?:10|[0-9]) ?</s>": '"<s>", then ("10" or a digit), then "</s>"',
    "<m>[^<]{0,500}</m>":
        '"<m>", then up to 500 times a character other than <, then "</m>"',
    r"(?i:Take:(?:[ \t]*\d[ \t]*(?:hats?|balls?)[ \t]*,?)+)":
        '"Take:", then one or more times '
        '(a digit, then ("hat(s)" or "ball(s)"), then perhaps ",")',
    r"(?i)a{2}[\s\S]{2,3}(?P<x>c)*\.": '2 times "a", then 2 to 3 times a character, '
        'then any number of times "c", then "."',
    r"[a-c]{2,}.+\s": 'at least 2 times a character of a-c, then one or more times '
        'a character, then white space',
    r"\(\[\n[\]x]?": '"([\n", then perhaps a character of \\]x',
    "a||b": '"a" or nothing or "b"',
    "": "nothing",
}  # fmt: skip


@pytest.mark.parametrize("pattern", WORDS)
def test_in_words(pattern):
    assert in_words(pattern) == WORDS[pattern]


@pytest.mark.parametrize(
    "pattern", [r"\ba", "(?=a)", "^a$", "a)", "(a", "[a", "*", "\\"]
)
def test_others_are_shown_as_they_are(pattern):
    expected = f"a text that matches the regular expression {pattern}"
    assert in_words(pattern) == expected
    assert complete(pattern, " a ", "a".__eq__) == "a"


@pytest.mark.parametrize(
    ("pattern", "typed", "meant"),
    [("<A>|<B>", "a", "<A>"), ("<A>|<B>", "<b", "<B>"), ("<A>|<B>", "A B", None),
     ("<A>|[A]", "A", "A"), ("x.x|y.y", "b", None), ("-a-|=a=", "a", None),
     ("<A>|<B>", "", None), ("--|a", "?", None),
     ("<s> ?[0-9]</s>", "7", "<s>7</s>"), ("<s> ?[0-9]</s>", " 7</s>", "<s>7</s>"),
     ("<s> ?[0-9]</s>", "<s>7", "<s>7</s>"), ("<s> ?[0-9]</s>", "77", None),
     ("Take: [0-9]", "3", "Take: 3"), ("[0-9] coins", "3", "3 coins"),
     ("x[0-9]x|y[a-z]y", "b", "yby"), ("<m>.*</m>", "  ", None),
     ("<m>.*</m>", "<m> a </m>", "<m> a </m>"), (" *", "  ", "  "), ("a|", "", "")],
)  # fmt: skip
def test_complete(pattern, typed, meant):
    def accepts(text):
        return re.fullmatch(pattern, text) is not None

    assert complete(pattern, typed, accepts) == meant
