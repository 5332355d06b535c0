"""Runs of one environment in one figure."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from aajax.report import curves


def write_run(folder, **measures):
    folder.mkdir()
    rows = [
        {"update": update, **{name: [[x, x + update]] for name, x in measures.items()}}
        for update in (1, 2)
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def test_every_seed_and_their_mean(tmp_path, monkeypatch):
    runs = {
        "one": write_run(tmp_path / "one", apples=3.0, sustainability=50.0, zaps=0.0),
        "two": write_run(tmp_path / "two", apples=7.0, sustainability=60.0, zaps=2.0),
    }
    drawn = []
    monkeypatch.setattr(
        curves, "save_figure", lambda figure, path: drawn.append(figure)
    )
    curves.compared_figure(runs, tmp_path / "figure.png")
    apples, *others = drawn[0].axes
    assert [axes.get_ylabel() for axes in (apples, *others)] == [
        *curves.MEASURED.values()
    ]
    seeds, more, mean = apples.get_lines()[3:]
    np.testing.assert_array_equal(seeds.get_ydata(), [7, 7])
    np.testing.assert_array_equal(more.get_ydata(), [8, 9])
    np.testing.assert_array_equal(mean.get_ydata(), [7.5, 8])
    assert [text.get_text() for text in apples.get_legend().get_texts()] == [*runs]
    plt.close(drawn[0])


def test_only_environments_that_are_measured(tmp_path):
    run = write_run(tmp_path / "run", reward=1.0)
    with pytest.raises(ValueError, match="run is .*: one that has apples, sustainab"):
        curves.compared_figure({"run": run}, tmp_path / "figure.png")
