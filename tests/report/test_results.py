"""What is said of rows of metrics that are not those of a run."""

import json

import pytest

from aajax.errors import InputError
from aajax.report.results import read_metrics, tell_missing


@pytest.fixture
def read(tmp_path, caplog):
    """Reads rows of these updates of a run; what is logged."""

    def read(updates, length=None):
        rows = [json.dumps({"update": update}) + "\n" for update in updates]
        (tmp_path / "metrics.jsonl").write_text("".join(rows))
        if length is not None:  # a finished run
            (tmp_path / "config.json").write_text(json.dumps({"num_updates": length}))
            (tmp_path / "summary.json").write_text("{}")
        caplog.clear()
        found = read_metrics(tmp_path)
        assert [row["update"] for row in found] == updates
        tell_missing(tmp_path, found)
        return [x.message.split(": ")[1] for x in caplog.records]

    return read


@pytest.mark.parametrize(
    ("updates", "length"),
    [
        ([1], None),
        ([3, 6, 9], 9),
        ([3, 6, 9], 11),  # not a multiple of what is logged
        ([1, 2, 3, 4, 6, 9, 12], 12),  # extended
    ],
)
def test_rows_of_a_run_are_read_without_a_word(read, updates, length):
    assert read(updates, length) == []


def test_rows_that_are_missing_are_told(read):
    assert read([1, 2, 4, 5]) == ["rows of updates 3 to 3 are missing"]
    assert read([2, 4, 10, 12]) == ["rows of updates 5 to 9 are missing"]
    assert read([1, 2, 3], 5) == ["rows of updates 4 to 5 are missing"]


def test_rows_come_one_after_another(read):
    for updates in [1, 2, 2, 3], [1, 3, 2]:
        with pytest.raises(InputError, match=r"update of line 3 is 2: more than the"):
            read(updates)
