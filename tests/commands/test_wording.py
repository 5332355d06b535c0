"""`aajax wording copy`, as a user meets it."""

import pytest

from aajax import cli
from aajax.dialogue import registry

GAMES = tuple(registry.text_specs())


@pytest.mark.parametrize("wording", ["full", "short"])
@pytest.mark.parametrize("game", GAMES)
def test_a_copy_is_a_wording_of_ones_own(game, wording, tmp_path, capsys):
    folder = tmp_path / "new" / "mine"
    arguments = ["wording", "copy", game, str(folder), "--wording", wording]
    assert cli.main(arguments) == 0
    assert f"--prompts {folder}" in capsys.readouterr().out
    own, copied = (registry.make(game, x).templates() for x in (wording, folder))
    assert copied == own and "opening" in own
    first = folder / "opening.txt"
    first.write_text(f"Welcome.\n{first.read_text()}")
    changed = registry.make(game, folder).templates()
    assert changed["opening"] == f"Welcome.\n{own['opening']}"
    # What was changed is not lost to a second copy.
    assert cli.main(arguments) == 2
    line = capsys.readouterr().err
    assert line == (
        f"aajax wording copy: folder is {str(folder)!r}: an empty or new folder "
        "is needed\n"
    )
    assert registry.make(game, folder).templates() == changed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paste"], "command is 'paste': one of copy is needed"),
        (["copy"], "game is missing"),
        (["copy", "split"], "folder is missing"),
        (["copy", "chess", "DIR"], "game is 'chess': one of ipd"),
        (["copy", "split", "DIR", "--wording", "long"], "wording is 'long': one of"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["wording", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert cli.main(["wording", "copy", "ipd", str(tmp_path / "file")]) == 2
    assert (tmp_path / "file").read_text() == "mine"
    assert len(capsys.readouterr().err.splitlines()) == 1
