"""Characters that an encoding has not."""

import io
import sys

import pytest

from aajax.commands.spelling import NAME, spell, spelled_out


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("plain", "plain"),
        ("−1.5 ± 0.2", "-1.5 +- 0.2"),
        ("┏━┓│├┤┃┡╇┩─", "+-+|++|+++-"),
        ("ε, λ, β, γ, τ, Σ, π", "epsilon, lambda, beta, gamma, tau, sum, pi"),
        ("10⁹ bytes, 10⁻¹²", "10^9 bytes, 10^-12"),
        ("x₁ → é, ﬁ…", "x1 -> e, fi..."),
        ("2 × 3 ≤ 7 ≠ ∞", "2 x 3 <= 7 != inf"),
        ("漢", "?"),
    ],
)
def test_what_stands_for_a_text(text, ascii_text):
    assert spell(text) == ascii_text
    assert text.encode("ascii", NAME) == ascii_text.encode()


def test_only_what_is_missing_is_replaced():
    assert "± γ".encode("cp1252", NAME) == "± gamma".encode("cp1252")
    assert "± γ 漢".encode("utf-8", NAME) == "± γ 漢".encode()


def test_bytes_of_file_names_stay_what_they_are():
    for encoding in ("ascii", "cp1252", "utf-8"):
        assert "a\udcffb\udc80".encode(encoding, NAME) == b"a\xffb\x80"
    assert "\ud800".encode("utf-8", NAME) == b"?"


def test_bytes_that_cannot_be_read_are_no_matter_of_it():
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", NAME)


def test_streams_are_left_as_they_were(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with spelled_out():
        print("±")
    assert stream.errors == "strict"
    stream.flush()
    assert stream.buffer.getvalue() == b"+-\n"
