"""`aajax transcript`, as a user types it."""

import errno
import gzip
import json
import os
import re
from pathlib import Path

import pytest
from transcript_matches import Vocabulary, match

from aajax import cli
from aajax.dialogue.play.matches import save_matches
from aajax.lm.text.pocket_tokenizer import pocket_tokenizer
from aajax.training.lm_config import LmConfig

ITERATIONS = (0, 5, 10, 15)


class Spelled:
    """A `Vocabulary` of a real tokenizer."""

    def __init__(self, tokens):
        self.encode = tokens.encode
        self.end = tokens.markers["<|done|>"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder as training leaves it, whose model lies in a folder beside it."""
    folder = tmp_path_factory.mktemp("runs")
    vocabulary = Spelled(pocket_tokenizer(folder / "run" / "model_folder"))
    saved = folder / "run" / "matches"
    saved.mkdir()
    for iteration in ITERATIONS:
        matches = [match(n, vocabulary, 1, iteration) for n in range(4)]
        save_matches(saved / f"iteration_{iteration:06d}.jsonl.gz", matches)
    config = {"preset": "words", "model": "model_folder"}
    (folder / "run" / "config.json").write_text(json.dumps(config))
    return folder / "run"


def made(file):
    """Index and matches that a page holds."""
    text = file.read_text(encoding="utf-8")
    found = re.findall(r'json" id="([\w-]+)">(.*?)</script>', text)
    index, *matches = (json.loads(block) for _, block in found)
    return index["matches"], matches


def cells(matches):
    return [c for rounds in matches for r in rounds for s in r["steps"] for c in s]


def places(index):
    return [(entry["iteration"], entry["number"]) for entry in index]


def command(capsys, *arguments):
    assert cli.main(["transcript", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_page_of_the_last_iterations(run, capsys):
    output = command(capsys, run)
    file = run / "transcript.html"
    assert output == f"wrote {file}: 12 matches of 3 of 4 iterations\n"
    index, matches = made(file)
    assert places(index) == [(i, n) for i in (5, 10, 15) for n in range(4)]
    assert "<title>run: what was said</title>" in file.read_text()
    answers = [cell for cell in cells(matches) if "ids" in cell]
    assert answers
    for cell in answers:
        assert "".join(cell["texts"]) == cell["answer"]
        assert [*cell["markers"].values()] == ["<|done|>"]


@pytest.mark.parametrize(
    ("iterations", "most", "expected"),
    [
        ("1", 200, [(15, n) for n in range(4)]),
        ("9", 200, [(i, n) for i in ITERATIONS for n in range(4)]),
        ("4:11", 200, [(i, n) for i in (5, 10) for n in range(4)]),
        (":5", 200, [(i, n) for i in (0, 5) for n in range(4)]),
        ("10:", 3, [(10, 0), (10, 3), (15, 3)]),
        ("9", 2, [(0, 3), (15, 3)]),
        ("9", 1, [(15, 3)]),
    ],
)
def test_which_matches_are_shown(run, tmp_path, capsys, iterations, most, expected):
    file = tmp_path / "page.html"
    limits = ["--iterations", iterations, "--matches", most]
    output = command(capsys, run, "--out", file, *limits)
    assert places(made(file)[0]) == expected
    noun = "match" if len(expected) == 1 else "matches"
    num_iterations = len({iteration for iteration, _ in expected})
    counts = f"{len(expected)} {noun} of {num_iterations} of 4 iterations"
    assert output == f"wrote {file}: {counts}\n"


def test_a_league_has_one_file(tmp_path, capsys):
    matches = [match(n, Vocabulary(), 1) for n in range(5)]
    save_matches(tmp_path / "matches.jsonl.gz", matches)
    output = command(capsys, tmp_path, "--matches", 3)
    assert "no tokenizer was found: answers are coloured as a whole\n" in output
    assert output.endswith("transcript.html: 3 matches\n")
    index, matches = made(tmp_path / "transcript.html")
    assert places(index) == [(None, 0), (None, 2), (None, 4)]
    assert any("ids" in cell for cell in cells(matches))
    assert not any("texts" in cell for cell in cells(matches))


def test_a_tokenizer_may_be_named(run, tmp_path, capsys):
    vocabulary = Spelled(pocket_tokenizer(tmp_path / "elsewhere"))
    save_matches(tmp_path / "matches.jsonl.gz", [match(0, vocabulary, 1)])
    command(capsys, tmp_path, "--model", tmp_path / "elsewhere")
    _, matches = made(tmp_path / "transcript.html")
    assert any("texts" in cell for cell in cells(matches))


def refused(capsys, *arguments):
    """The one line that a refused command prints on stderr."""
    assert cli.main(["transcript", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_line(run, tmp_path, capsys):
    file = tmp_path / "page.html"
    for arguments, message in [
        ([tmp_path], f"run is {str(tmp_path)!r}: a folder with matches/"),
        ([tmp_path / "nowhere"], "a folder with matches/"),
        ([run, "--matches", 0], "matches is 0: at least 1 is needed"),
        ([run, "--iterations", "0"], "iterations is '0': a number above 0"),
        ([run, "--iterations", "a:b"], "iterations is 'a:b': a number above 0"),
        ([run, "--iterations", "11:14"], "iterations is '11:14': some of those from 0"),
        ([run, "--model", tmp_path], f"model is '{tmp_path}': a folder with tokenizer"),
    ]:
        error = refused(capsys, *arguments, "--out", file)
        assert error.startswith("aajax transcript: ") and message in error
    assert not file.exists()
    where = tmp_path / "no" / "such" / "page.html"
    assert "No such file or directory" in refused(capsys, run, "--out", where)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_no_page(run, tmp_path, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "page.html"
    line = f"aajax transcript: No space left on device: {file}"
    monkeypatch.setattr(os, "fsync", full)
    assert refused(capsys, run, "--out", file) == line
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    line = "aajax transcript: No space left on device: /dev/full"
    assert refused(capsys, run, "--out", "/dev/full") == line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "matches.jsonl.gz: matches are needed (Not a gzipped file"),
        (gzip.compress(b""), "at least one match in it is needed"),
        (gzip.compress(b"{}\n"), "matches.jsonl.gz: line 1 is no match ('turns')"),
        (gzip.compress(b"[1]\n"), "matches.jsonl.gz: line 1 is no match"),
        (gzip.compress(b'{"turns": []}\n'), "matches has record 0: a match is needed"),
        (gzip.compress(b"{}\n")[:-9], "matches.jsonl.gz: matches are needed"),
        (gzip.compress(b"")[:10] + b"\xff" * 9, "matches.jsonl.gz: matches are needed"),
    ],
    # Compressed bytes hold the time; processes that share the tests agree on names.
    ids=["plain", "empty", "no match", "list", "no turns", "cut short", "damaged"],
)
def test_files_that_hold_no_matches(tmp_path, capsys, content, message):
    (tmp_path / "matches.jsonl.gz").write_bytes(content)
    assert message in refused(capsys, tmp_path)


@pytest.mark.parametrize("member", [-1, 2, "0", True, None])
def test_a_match_of_nobody(member, tmp_path, capsys):
    config = {"preset": "lm-ipd", **LmConfig(seeds=2).to_json()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    line = json.dumps({"turns": [[]], "member": member}).encode() + b"\n"
    (tmp_path / "matches.jsonl.gz").write_bytes(gzip.compress(line))
    message = f"line 1 is no match (member is {member!r}: one of 2 is needed)"
    assert message in refused(capsys, tmp_path)


def test_the_help_names_the_command(capsys):
    assert cli.main([]) == 0
    assert "transcript  show what was said" in capsys.readouterr().out
