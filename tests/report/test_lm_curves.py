"""What language models' runs show where measures are missing."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from rich.console import Console

from aajax.api import lm_training, progress
from aajax.errors import InputError
from aajax.report import lm_curves
from aajax.report.tables import measures_table


def write_rows(folder, *rows, end="\n"):
    rows = [{"update": i + 1, "seconds": 0.0, **row} for i, row in enumerate(rows)]
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) + end if rows else ""
    (folder / "metrics.jsonl").write_text(text)
    return folder


def drawn(folder, monkeypatch):
    """Panel → label → what is drawn thickly, and the labels of the first legend."""
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    lm_curves.lm_figure(folder, folder / "figure.png")
    monkeypatch.undo()
    (figure,) = figures
    panels = {
        axes.get_title(): {
            line.get_label(): line.get_ydata()
            for line in axes.get_lines()
            if not line.get_label().startswith("_")
        }
        for axes in figure.axes
    }
    legend = figure.axes[0].get_legend()
    labels = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    plt.close(figure)
    assert (folder / "figure.png").stat().st_size > 0
    return panels, labels


def test_a_figure_of_matches_with_others_alone(tmp_path, monkeypatch):
    row = {"reward": None, "cooperation": None, "entropy": 0.5}
    rows = [row | {"reward_against_others": x} for x in (1.0, 3.0)]
    panels, labels = drawn(write_rows(tmp_path, *rows), monkeypatch)
    assert list(panels) == ["reward", "entropy"]
    np.testing.assert_array_equal(panels["reward"]["with others"], [1, 2])
    assert list(panels["reward"]) == labels == ["with others"]


def test_a_figure_of_measures_that_come_and_go(tmp_path, monkeypatch):
    rows = {"reward": 2.0}, {"reward": None, "reward_against_others": 5.0}
    # A line that was cut short is none.
    folder = write_rows(tmp_path, *rows, {"reward": 9.0}, end="")
    panels, labels = drawn(folder, monkeypatch)
    np.testing.assert_array_equal(panels["reward"]["with itself"], [2, 2])
    np.testing.assert_array_equal(panels["reward"]["with others"], [np.nan, 5])
    assert labels == ["with itself", "with others"]


@pytest.mark.parametrize("other", [[[1.0]], [], [5.0], [["x", "y"]], 5.0, [{}]])
def test_a_figure_of_seeds_that_vary_is_refused(tmp_path, other):
    """Of a population of two seeds, and of rows that all are of another shape."""
    line = "metrics.jsonl: reward of every row is needed as a list over settings"
    for rows in ([{"reward": [[1.0, 2.0]]}, {"reward": other}], [{"reward": other}]):
        folder = write_rows(tmp_path, *rows)
        if rows[0]["reward"] in ([[1.0]], 5.0):
            continue  # of a run of one seed
        with pytest.raises(InputError, match=line):
            lm_curves.lm_figure(folder, folder / "figure.png")


def test_a_figure_of_nothing_is_refused(tmp_path):
    for rows, message in (
        ([], r"^file is .*metrics\.jsonl: at least one row of metrics is needed"),
        ([{"reward": None, "weight": 3.0}], r"^folder is '.*': metrics\.jsonl with at"),
        ([{"reward": "1"}], r"^file is .*: reward of line 1 is '1': a number, or null"),
    ):
        folder = write_rows(tmp_path, *rows)
        with pytest.raises(InputError, match=message):
            lm_curves.lm_figure(folder, tmp_path / "figure.png")
    assert not (tmp_path / "figure.png").exists()


def test_last_iterations_are_averaged_where_there_are_numbers():
    early = [{"reward": 9.0}] * 18
    late = {"reward": 1.0, "reward_against_others": 4.0}, {"reward": None, "kl": None}
    rows = [*early, *late]
    assert lm_training._last(rows) == {"reward": 1.0, "reward_against_others": 4.0}
    # Of settings and seeds, one.
    rows = [{"reward": [[9.0, 2.0], [9.0, None]], "kl": None, "update": 7}] * 3
    assert lm_training._last(rows, (0, 1)) == {"reward": 2.0}
    assert lm_training._last(rows, (1, 1)) == {}


def test_a_line_of_progress_says_what_there_is():
    told = {
        "reward 1.500": {"reward": 1.5},
        "against others 2.000": {"reward": None, "reward_against_others": 2.0},
        "reward 1.500, against others 2.000": {
            "reward": 1.5,
            "reward_against_others": 2.0,
        },
        "": {"reward": None},
    }
    for line, row in told.items():
        assert progress._told_lm(row) == line


def test_a_table_has_a_column_for_others_in_training():
    summary = {
        "preset": "lm-ipd",
        "seed": 0,
        "measures": {"itself": {"reward": 3.0, "deals": None}},
        "training": {"reward": 2.5, "kl": 0.1},
    }

    def lines():
        console = Console(width=80)
        with console.capture() as found:
            console.print(measures_table(summary))
        return found.get()

    assert "others" not in lines() and "deals" not in lines()
    summary["training"]["reward_against_others"] = 1.25
    assert "others, in training" in lines()
    assert "3.000" in lines() and "1.250" in lines()
