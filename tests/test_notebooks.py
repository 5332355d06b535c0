"""Notebooks are stored as they were run, to be read without running them.

nbmake runs them again. Stored outputs are made by

    jupyter execute --inplace notebooks/NAME.ipynb
"""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 1_000_000  # bytes; a repository keeps all versions of them


def test_there_are_notebooks_and_they_are_run(request):
    assert NOTEBOOKS
    assert FOLDER.name in request.config.getini("testpaths")
    assert request.config.getoption("nbmake")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_all_was_run_in_order_without_errors(path):
    assert path.stat().st_size < LARGEST
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert not [x for x in outputs if x["output_type"] == "error"]
    assert not [x for x in outputs if x.get("name") == "stderr"]
    assert not any(cell["metadata"] for cell in notebook["cells"])
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
