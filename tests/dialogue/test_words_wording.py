"""Templates: those that come with the games, and what is wrong with others."""

from pathlib import Path

import pytest

from aajax import envs
from aajax.dialogue.registry import make, text_specs
from aajax.envs import wording
from aajax.envs.wording import Placeholders, joined, load_wording, number

GAMES = tuple(text_specs())

NEEDED = {
    "opening": Placeholders((("form", "example"),), ("coins",)),
    "round": Placeholders((("hand",),)),
    "wait": Placeholders(),
}
FILES = {"opening": "{coins} coins: {form}", "round": "You: {hand}", "wait": "Wait."}


def folder_of(path, **files):
    for name, text in {**FILES, **files}.items():
        if text is not None:
            (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path


def test_a_folder_is_read(tmp_path):
    (tmp_path / "notes.md").write_text("no template")
    folder = folder_of(tmp_path, opening="\n{{{form}}}\n", wait="")
    loaded = load_wording(folder, "game", NEEDED)
    assert loaded.write("opening", form="{x}", coins=3) == "\n{{x}}"
    assert loaded.write("round", hand="rock") == "You: rock"
    assert loaded.write("wait") == ""


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"wait": None}, r"wording is '.*': a file .*wait\.txt is needed"),
        ({"more": ""}, r"file .*more\.txt: only opening\.txt, round\.txt, wait\.txt"),
        ({"round": "You"}, r"a file .*round\.txt: \{hand\} is needed in it"),
        ({"opening": "{coins}"}, r"opening\.txt: \{form\} or \{example\} is needed"),
        (
            {"round": "{hand} {coins}"},
            r"placeholder is \{coins\} in .*round\.txt: one of \{hand\} is needed",
        ),
        ({"wait": "{hand}"}, r"placeholder is \{hand\} in .*: one of none is needed"),
        ({"round": "{hand.real}"}, r"placeholder is \{hand\.real\} in "),
        ({"round": "{hand[0]}"}, r"placeholder is \{hand\[0\]\} in "),
        ({"round": "{hand!r}"}, r"placeholder is \{hand!r\} in "),
        ({"round": "{hand:>9}"}, r"placeholder is \{hand:>9\} in "),
        ({"round": "{hand} {}"}, r"placeholder is \{\} in "),
        ({"round": "{hand} {0}"}, r"placeholder is \{0\} in "),
        ({"round": "{hand"}, r"file .*round\.txt: braces around placeholders alone"),
        ({"round": "{hand} }"}, r"file .*round\.txt: braces around placeholders alone"),
    ],
)
def test_wrong_templates(files, message, tmp_path):
    folder = folder_of(tmp_path, **files)
    with pytest.raises(ValueError, match=message) as caught:
        load_wording(folder, "game", NEEDED)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "wait.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"wait\.txt: UTF-8 is needed"):
        load_wording(folder, "game", NEEDED)


def test_no_folder(tmp_path):
    with pytest.raises(
        ValueError, match=r"^wording is 'long': full, brief, short or a folder"
    ):
        make("ipd", "long")
    with pytest.raises(ValueError, match=r"^wording is '.*nowhere': full, brief, "):
        make("ipd", tmp_path / "nowhere")


@pytest.mark.parametrize("name", GAMES)
def test_every_game_takes_a_folder_of_its_own(name, tmp_path):
    game = make(name, "short")
    for file, template in game.wording.templates.items():
        (tmp_path / f"{file}.txt").write_text(template + "\n")
    again = make(name, tmp_path)
    assert again.wording == game.wording
    (tmp_path / "opening.txt").write_text("Have a nice day.\n")
    with pytest.raises(ValueError, match=r"opening\.txt: \{.*\} is needed in it"):
        make(name, str(tmp_path))


def test_all_wordings_have_the_same_files():
    root = Path(envs.__file__).parent
    files = {
        kind: sorted(
            f"{file.parts[-4]}/{file.name}"
            for file in root.glob(f"*/wordings/{kind}/*")
        )
        for kind in wording.WORDINGS
    }
    assert files["full"] == files["brief"] == files["short"]
    assert all(file.endswith(".txt") for file in files["full"])


def test_a_game_has_the_wordings_that_it_has(tmp_path):
    (tmp_path / "game" / "full").mkdir(parents=True)
    folder_of(tmp_path / "game" / "full")
    loaded = load_wording("full", tmp_path / "game", NEEDED)
    assert loaded.write("wait") == "Wait."
    with pytest.raises(ValueError, match=r"^wording is 'brief': full or a folder is"):
        load_wording("brief", tmp_path / "game", NEEDED)
    with pytest.raises(ValueError, match=r"^wording is '': full or a folder is needed"):
        load_wording("", tmp_path / "game", NEEDED)


@pytest.mark.parametrize("name", GAMES)
def test_what_is_not_judged_is_told_alike(name):
    rule = "White space around an answer is ignored."
    for kind in ("full", "brief"):
        assert rule in make(name, kind).wording.templates["opening"]


@pytest.mark.parametrize("name", GAMES)
def test_brief_is_brief(name):
    brief, full = (
        dict(make(name, kind).wording.templates) for kind in ("brief", "full")
    )
    opening = brief.pop("opening")
    assert "as you can" in opening
    assert len(opening) < 0.55 * len(full["opening"])
    assert all(len(text) < 230 for text in brief.values())
    assert sum(map(len, brief.values())) < 0.6 * sum(map(len, full.values()))


@pytest.mark.parametrize("name", GAMES)
def test_short_is_short_and_full_names_the_goal(name):
    short, full = (
        dict(make(name, kind).wording.templates) for kind in ("short", "full")
    )
    assert len(short.pop("opening").split()) <= 15
    for template in short.values():
        assert len(template.split()) <= 7
    assert "as many points for yourself as you can" in full["opening"]
    assert "nothing else" in full["opening"]


def test_parts_and_numbers():
    assert joined("", "a", "", "b") == "a\nb"
    assert joined() == ""
    shown = [number(points) for points in (105.0, 160 / 3, 0.04, -0.04, -1.25, 1e6)]
    assert shown == ["105", "53.3", "0", "0", "-1.2", "1000000"]


def test_unknown_games_and_options():
    names = "ipd, chicken, stag-hunt, deal-or-no-deal, split, trust-and-split, public"
    with pytest.raises(ValueError, match=f"^game is 'go': one of {names}-goods, or "):
        make("go")
    for name in GAMES:
        with pytest.raises(
            ValueError, match=f"^tokens is 3: game '{name}' has no such option, only"
        ):
            make(name, tokens=3)
