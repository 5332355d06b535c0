"""Games on a terminal, as a user meets them."""

import io
import json
import re
import shutil
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from aajax import cli, envs
from aajax.commands import play
from aajax.commands.seats import sit_down
from aajax.training.config import Hyperparameters, RunConfig, Sweep
from aajax.training.run import load, open_folder, train

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two seeds at each of two settings, of policies next to deterministic."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = RunConfig(
        **{"num_games": 8, "num_steps": 5, "num_updates": 2, "seeds": 2},
        hyperparameters=Hyperparameters(learning_rate=30.0),
        sweep=Sweep(beta=(0.0, 3.0)),
    )
    with jax.numpy_dtype_promotion("standard"):
        open_folder(folder, "ipd", config, resume=False)
        train(folder, config)
    return folder


@pytest.fixture
def says(monkeypatch):
    """Has a person say these lines, and then leave."""

    def say(*lines):
        text = "".join(f"{line}\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return say


def shown(capsys, *arguments):
    """What a game prints: its steps, and what comes after them, line by line."""
    assert cli.main(["play", *map(str, arguments)]) == 0
    return blocks(capsys.readouterr().out)


def blocks(printed):
    _, *steps = re.split(r"^step \d+$", printed, flags=re.MULTILINE)
    steps[-1], _, end = steps[-1].partition("\nafter ")
    return [step.strip("\n").splitlines() for step in steps], end.splitlines()


def refused(capsys, *arguments):
    """The one line that a refused game prints on stderr."""
    assert cli.main(["play", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_prisoners_dilemma(capsys):
    steps, end = shown(
        capsys, "ipd", "--seat", "tit_for_tat", "always_defect", "--steps", "3"
    )
    assert steps == [
        ["the start", "0 tit_for_tat    C      -3", "1 always_defect  D       0"],
        ["last time C D", "0 tit_for_tat    D      -2", "1 always_defect  D      -2"],
        ["last time D D", "0 tit_for_tat    D      -2", "1 always_defect  D      -2"],
    ]
    assert end == [
        "3 steps",
        "0 tit_for_tat         -7 in all, -2.333 per step",
        "1 always_defect       -4 in all, -1.333 per step",
    ]


def test_a_coin_game_is_what_its_boards_and_moves_say(capsys):
    """Each board follows from the one before, and rewards from whose coin it was."""
    seats = ["--seat", "always_cooperate", "random"]
    world = ["--options", "height=4", "width=5"]
    steps, end = shown(capsys, "coin", *seats, *world, "--steps", "40", "--seed", "2")
    assert len(steps) == 40
    totals = np.zeros(2)
    for now, after in zip(steps, [*steps[1:], None], strict=True):
        cells = where(now[:4])
        seat_lines = [line.split() for line in now[4:]]
        assert [line[:2] for line in seat_lines] == [
            ["A", "always_cooperate"],
            ["B", "random"],
        ]
        (owner,) = [name for name in "ab" if name in cells]
        moved = {
            line[0]: np.add(cells[line[0]], MOVES[line[2]]) % (4, 5)
            for line in seat_lines
        }
        takers = [n for n, cell in moved.items() if tuple(cell) == cells[owner]]
        reward = {n: int(n in takers) for n in "AB"}
        if set(takers) - {owner.upper()}:
            reward[owner.upper()] -= 2
        assert [int(line[3]) for line in seat_lines] == [reward["A"], reward["B"]]
        totals += [reward["A"], reward["B"]]
        if after:
            then = where(after[:4])
            assert all(then[name] == tuple(cell) for name, cell in moved.items())
            if not takers:
                assert then[owner] == cells[owner]
    assert totals.any()
    per_step = [float(line.split()[-3]) for line in end[1:]]
    np.testing.assert_allclose(per_step, totals / 40, atol=6e-4)
    assert [float(line.split()[2]) for line in end[1:]] == totals.tolist()


def where(board):
    """The cell of every letter on a board, (row, column)."""
    return {
        letter: (row, column)
        for row, line in enumerate(board)
        for column, cell in enumerate(line.split())
        for letter in cell.strip(".")
    }


def test_a_seed_fixes_the_game(capsys):
    game = ["ipd", "--seat", "random", "random", "--steps", "20", "--seed"]
    first, again, other = (shown(capsys, *game, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_coin_game_is_drawn(tmp_path, capsys):
    seats = ["--seat", "tit_for_tat", "always_defect", "--steps", "7"]
    for name in ("new/game.gif", "game.PNG"):
        _, end = shown(capsys, "coin", *seats, "--out", tmp_path / name)
        assert end[-1] == f"wrote {tmp_path / name}"
    with Image.open(tmp_path / "new" / "game.gif") as image:
        assert (image.format, image.n_frames) == ("GIF", 8)
    with Image.open(tmp_path / "game.PNG") as image:
        assert image.format == "PNG"
        assert image.width > 4 * image.height


def test_a_harvest_is_what_its_boards_say_and_drawn(tmp_path, capsys):
    seats = "greedy", "sustainable", "random"
    options = ["--options", "map=tiny", "--steps", "8", "--out", tmp_path / "game.gif"]
    steps, _ = shown(capsys, "harvest", "--seat", *seats, *options)
    assert len(steps) == 8
    for step in steps:
        board, agents = step[:8], step[8:11]
        assert [line[:1] for line in board] == ["#"] * 8
        assert [line.split()[:2] for line in agents] == [
            [letter, name] for letter, name in zip("ABC", seats, strict=True)
        ]
    with Image.open(tmp_path / "game.gif") as image:
        assert image.n_frames == 9


def test_a_terminal_shows_a_harvest_in_one_place():
    """Its screen is cleared before every step, unless a person has to read it."""
    env = envs.make("harvest", map="tiny", num_steps=2)
    spec = envs.find_spec("harvest")
    words, clear = spec.view(env), "\x1b[2J"
    for is_terminal, show, times in [(1, 1, 2), (0, 1, 0), (1, 0, 0)]:
        out = io.StringIO()
        console = Console(file=out, force_terminal=bool(is_terminal))
        entries = ("pacifist",) * 3
        table = sit_down(console, spec, env, words, entries, (None,) * 3)
        assert len(list(play._game(console, env, words, table, 0, bool(show)))) == 2
        assert out.getvalue().count(clear) == times


def test_a_person_plays_coins_and_is_asked_again(says, capsys):
    says("north", "", "l", "RIGHT", " d ", "Up")
    seats = ["--seat", "tit_for_tat", "human"]
    steps, end = shown(capsys, "coin", *seats, "--steps", "4")
    assert [step[-1].split()[2] for step in steps] == ["left", "right", "down", "up"]
    question = "B human, left, right, up or down? "
    assert steps[0][3:8] == [
        "you are B, your coins b",
        question + "north",
        "answer is 'north': left, right, up or down is needed",
        question,
        "answer is '': left, right, up or down is needed",
    ]
    assert set(where(steps[0][:3])) & {"A", "B"} == {"A", "B"}
    assert end[0] == "4 steps"


def test_a_beginning_of_two_names_is_no_answer(says, capsys):
    says("st", "h")
    seats = ["--seat", "human", "always_cooperate"]
    steps, _ = shown(capsys, "stag_hunt", *seats, "--steps", "2")
    assert steps[0][-2].split() == ["0", "human", "stag", "+4"]
    assert steps[1][-2].split() == ["0", "human", "hare", "+3"]
    says("s", "straight", "sw")
    steps, _ = shown(capsys, "chicken", *seats, "--steps", "2")
    assert "answer is 's': swerve or straight is needed" in steps[0]
    assert [step[-2].split()[2] for step in steps] == ["straight", "swerve"]


def test_a_person_sees_the_game_from_its_own_seat(says, capsys):
    says("D", "C")
    seats = ["--seat", "always_cooperate", "always_defect", "human"]
    steps, _ = shown(capsys, "public_goods", *seats, "--steps", "2")
    assert steps[0][0] == "the start"
    assert steps[1][0] == "last time D from you, C from 0, D from 1"


def test_who_leaves_gets_the_totals_so_far(says, capsys):
    says("C", "D")
    game = ["play", "ipd", "--seat", "human", "always_cooperate", "--steps", "9"]
    assert cli.main(game) == 130
    printed = capsys.readouterr()
    assert printed.err == "aajax play: interrupted. The game was left in step 3.\n"
    _, end = blocks(printed.out)
    assert end[0] == "2 steps"
    assert end[1].split()[:3] == ["0", "human", "-1"]
    says()
    assert cli.main(game) == 130
    assert capsys.readouterr().err.endswith("left in step 1.\n")


def test_an_interrupt_at_the_prompt_leaves_no_file(tmp_path, monkeypatch, capsys):
    class Interrupts(io.StringIO):
        def readline(self, *_):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupts())
    out = ["--out", str(tmp_path / "game.gif")]
    assert cli.main(["play", "coin", "--seat", "human", "random", *out]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_person_negotiates(says, capsys):
    """Against who cooperates and asks for all of the third item alone.

    Worth (5, 5, 1) to the person and (1, 1, 5) to the other: asking for all earns
    5 + 5 + ½ of 15, and leaves ½ · 5; (0, 2.5, 0) earns 2.5 and leaves 5.
    """
    says("5 5", "5 5 5 5", "6 0 0", "-1 0 0", "nan 0 0", "a b c", "5, 5,5", "0 2.5 0")
    world = ["utilities=high_contrast_no_sampling", "observation=history"]
    seats = ["--seat", "human", "always_cooperate"]
    steps, end = shown(
        *(capsys, "negotiation", *seats, "--steps", "2", "--options", *world)
    )
    assert sum("three numbers from 0 to 5 are needed" in line for line in steps[0]) == 6
    assert steps[0][-2].split() == ["0", "human", "5", "5", "5", "+0.7"]
    assert steps[0][-1].split()[2:] == ["0", "0", "5", "+0.167"]
    assert steps[1][-2].split()[2:] == ["0", "2.5", "0", "+0.167"]
    assert steps[1][-1].split()[2:] == ["0", "0", "5", "+0.333"]
    seen = {line[:18].strip(): line[18:].split() for line in steps[1]}
    assert seen["own utility"] == ["5", "5", "1"]
    assert seen["other utility"] == ["1", "1", "5"]
    assert seen["other proposal"] == ["0", "0", "5"]
    assert seen["own reward"] == ["0.7"]
    assert end[1].split()[2] == "+0.867"


def test_a_person_sees_no_more_than_its_seat(says, capsys):
    says("1.5 0 0", "1 2 3")
    world = ["observation=private", "proposals=discrete"]
    steps, _ = shown(
        *(capsys, "negotiation", "--seat", "human", "random", "--steps", "1"),
        *("--options", *world),
    )
    parts = ["pool", "own utility", "own proposal", "other proposal"]
    assert [line[:18].strip() for line in steps[0][:4]] == parts
    assert "answer is '1.5 0 0': three whole numbers from 0 to 5 are needed" in steps[0]
    assert steps[0][-2].split()[2:5] == ["1", "2", "3"]


def test_onlookers_see_the_whole_table(capsys):
    world = ["utilities=high_contrast_no_sampling", "observation=private"]
    steps, _ = shown(
        *(capsys, "negotiation", "--seat", "always_defect", "random", "--steps", "1"),
        *("--options", *world),
    )
    assert steps[0][3].split() == ["worth", "to", "0", "5", "5", "1"]
    assert steps[0][4].split() == ["worth", "to", "1", "1", "1", "5"]


@pytest.mark.parametrize("game", envs.names())
def test_every_environment_can_be_shown(game, capsys):
    seats = ["random"] * envs.make(game).num_agents
    steps, end = shown(capsys, game, "--seat", *seats, "--steps", "2")
    assert len(steps) == 2
    assert len(end) == 1 + len(seats)


def test_seats_play_what_their_seed_of_the_run_has_learnt(trained, capsys):
    """Tables of P(C) near 0 or 1 say what is played after START, CC, CD, DC, DD."""
    _, _, state = load(trained)
    logits = np.asarray(state.learners[0].params["actor"]).reshape(4, 5, 2)
    assert np.abs(logits[..., 0] - logits[..., 1]).min() > 15
    tables = logits.argmax(-1)
    assert len({tuple(table) for table in tables}) > 1
    for pair in ((0, 1), (3, 2)):
        seats = [f"{trained}:{index}" for index in pair]
        steps, _ = shown(capsys, "ipd", "--seat", *seats)
        assert len(steps) == 5  # as the run was trained
        outcomes = [0, 0]
        for step in steps:
            played = [line.split()[2] for line in step[-2:]]
            for seat, index in enumerate(pair):
                assert played[seat] == "CD"[tables[index, outcomes[seat]]]
            first, second = map("CD".index, played)
            outcomes = [1 + 2 * first + second, 1 + 2 * second + first]


def test_a_run_takes_any_seat_for_any_number_of_steps(trained, capsys):
    seats = ["--seat", "tit_for_tat", trained]
    first, end = shown(capsys, "ipd", *seats, "--steps", "7")
    assert len(first) == 7
    assert end[2].split()[1] == str(trained)
    again = shown(capsys, "ipd", "--seat", "tit_for_tat", f"{trained}:0")
    moves = [[step[-1].split()[2] for step in steps] for steps in (first, again[0])]
    assert moves[0][:5] == moves[1]


def test_environments_that_differ_are_refused(trained, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    config = json.loads((other / "config.json").read_text())
    config["options"] = ["sucker=-4"]
    (other / "config.json").write_text(json.dumps(config))
    line = refused(capsys, "ipd", "--seat", trained, other)
    assert f"seat is '{other}': the environment of '{trained}' is" in line
    assert "without options and not sucker=-4" in line
    line = refused(
        *(capsys, "ipd", "--seat", trained, "random", "--options", "sucker=-4")
    )
    assert "options is ['sucker=-4']: none is needed" in line
    line = refused(capsys, "coin", "--seat", trained, "random")
    assert f"seat is '{trained}': a run of game 'coin' is needed" in line
    # The same environment in other words is no other environment.
    steps, _ = shown(
        *(capsys, "ipd", "--seat", other, "random"),
        *("--options", "sucker=-4.0", "temptation=0"),
    )
    assert len(steps) == 5


@pytest.mark.parametrize("index", ["4", "-1", "one", ""])
def test_seeds_that_are_not_there(trained, capsys, index):
    line = refused(capsys, "ipd", "--seat", f"{trained}:{index}", "random")
    assert "one of the seeds 0 to 3 is needed" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chess"], "game is 'chess': one of ipd"),
        (["ipd"], "seat is []: 2 players, one per seat, are needed"),
        (["coin", "--seat", "random"], "seat is ['random']: 2 players"),
        (["ipd", "--seat", "grim", "nobody"], "seat is 'nobody': one of "),
        (["ipd", "--seat", "grim", "runs/x:1"], "seat is 'runs/x:1': one of "),
        (["coin", "--seat", "grim", "random"], "one of always_cooperate"),
        (["ipd", "--options", "steps"], "options has 'steps': name=value"),
        (["coin", "--options", "depth=2"], "game 'coin' has no such option"),
        (["coin", "--options", "height=0"], "height is 0"),
        (["ipd", "--steps", "0"], "steps is 0: at least 1"),
        (["ipd", "--seed", "-1"], "seed is -1"),
        (["ipd", "--pause", "nan"], "pause is nan"),
        (
            ["ipd", "--seat", "grim", "grim", "--out", "ipd.gif"],
            "out is 'ipd.gif': only games 'coin' and 'harvest' can be drawn",
        ),
        (
            ["coin", "--seat", "random", "random", "--out", "coin.mp4"],
            "out is 'coin.mp4': a name in .gif or .png",
        ),
        (
            ["coin", "--seat", "random", "nobody", "--out", "new/coin.gif"],
            "seat is 'nobody'",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written(tmp_path, capsys):
    game = ["coin", "--seat", "random", "random", "--steps", "2", "--out"]
    (tmp_path / "folder.gif").mkdir()
    assert "a file to write to is needed" in refused(
        capsys, *game, tmp_path / "folder.gif"
    )
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in refused(
        capsys, *game, tmp_path / "file" / "coin.gif"
    )


def test_a_full_disk_is_one_line(tmp_path, capsys):
    (tmp_path / "coin.png").symlink_to("/dev/full")
    game = ["coin", "--seat", "random", "random", "--steps", "2", "--out"]
    assert "No space left on device" in refused(capsys, *game, tmp_path / "coin.png")
