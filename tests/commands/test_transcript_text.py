"""`aajax transcript --text`: one match in the terminal."""

import dataclasses
import gzip
import json

import pytest
from transcript_matches import HOSTILE, Vocabulary, match

from aajax import cli
from aajax.dialogue.play.matches import save_matches
from aajax.errors import InputError
from aajax.report.transcript_text import match_text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "matches").mkdir()
    for iteration in (0, 5):
        matches = [match(n, Vocabulary(), 2, iteration) for n in range(3)]
        file = folder / "matches" / f"iteration_{iteration:06d}.jsonl.gz"
        save_matches(file, matches)
    return folder


def record(**options):
    return json.loads(json.dumps(dataclasses.asdict(match(1, Vocabulary(), **options))))


def printed(capsys, monkeypatch, *arguments, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.main(["transcript", *map(str, arguments), "--text"]) == 0
    return capsys.readouterr().out


def test_the_last_match_or_one_by_number(run, monkeypatch, capsys):
    last = printed(capsys, monkeypatch, run)
    assert last.startswith("trust_and_split, match 2 of iteration 5, environment seed")
    assert printed(capsys, monkeypatch, run, "--match", 2) == last
    other = printed(capsys, monkeypatch, run, "--match", 0, "--iterations", "0:4")
    assert other.startswith("trust_and_split, match 0 of iteration 0, environment")
    assert {path.name for path in run.iterdir()} == {"matches"}  # no page


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_all_that_was_said_is_quoted_in_the_width(width, run, monkeypatch, capsys):
    lines = printed(capsys, monkeypatch, run, width=width).splitlines()
    quoted = [line for line in lines if line.startswith("    |")]
    assert quoted and max(map(len, quoted)) <= width
    made = match(2, Vocabulary(), 2, 5)
    words = " ".join(line.removeprefix("    |").strip() for line in quoted).split()
    turns = [turn for step in zip(*made.turns, strict=True) for turn in step]
    said = " ".join(f"{turn.text} {turn.answer or ''}" for turn in turns)
    assert words == said.split()
    assert lines.count("round 1") == lines.count("round 2") == 1
    for t, (first, second) in enumerate(made.rewards):
        line = [line for line in lines if line.startswith("  earned: ")][t]
        assert line == f"  earned: seat 0 {first:+g}, seat 1 {second:+g}"


def test_who_sits_where_and_what_went_wrong():
    made = record(num_rounds=1)
    made["turns"][1][-1] |= {"valid": False, "tries": 3, "answer": "no"}
    lines = match_text(made, 80).splitlines()
    assert lines[1].startswith("seat 0: learner, adapter 0, learns; earns +")
    assert "  seat 1 says (try 3, not in the form that was asked for)" in lines


def test_codes_of_terminals_are_shown_and_not_obeyed():
    made = record(num_rounds=2, hostile=True)
    made["turns"][0][0]["text"] = "a\x1b[2J\x07\u202eb\nc"
    made["players"][0] = "x\x1b[31m"
    text = match_text(made, 80)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "    | a\ufffd[2J\ufffd\ufffdb\n    | c\n" in text
    assert HOSTILE.split()[0] in text


def test_a_match_of_an_earlier_version():
    made = record(num_rounds=1)
    seed = made.pop("env_seed")
    assert f"environment seed {seed}\n" in match_text({**made, "world_seed": seed}, 80)


def test_bad_input(run, capsys):
    def refused(*arguments):
        assert cli.main(["transcript", str(run), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("aajax transcript: ")

    line = refused("--text", "--match", "9")
    assert line == "match is 9: one of the 6 from 0 to 2 is needed"
    assert refused("--match", "1") == "match is 1: --text is needed with it"
    assert refused("--text", "--out", "x") == (
        "out is 'x': --text prints, and writes no file"
    )
    assert refused("--text", "--match", "-1").startswith("match is -1: at least 0")
    for broken in ({}, {"turns": []}, record(num_rounds=1) | {"rewards": [[1]]}):
        with pytest.raises(InputError, match="^match"):
            match_text(broken, 80)


def test_matches_without_numbers(tmp_path, capsys):
    (tmp_path / "matches").mkdir()
    lines = [json.dumps(record() | {"number": number}) for number in (None, "1")]
    with gzip.open(tmp_path / "matches/iteration_000000.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    assert cli.main(["transcript", str(tmp_path), "--text", "--match", "9"]) == 2
    line = "match is 9: one of the 0 with a number is needed"
    assert line in capsys.readouterr().err
