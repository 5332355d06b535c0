"""Experiments and notebooks use the public API, and nothing of the command line."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(path):
    if path.suffix == ".py":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    source = ["".join(x["source"]) for x in cells if x["cell_type"] == "code"]
    return "\n".join(re.sub(r"(?m)^[%!].*$", "", text) for text in source)


@pytest.mark.parametrize("path", [*EXPERIMENTS, *NOTEBOOKS], ids=lambda path: path.name)
def test_nothing_is_imported_from_commands(path):
    for node in ast.walk(ast.parse(code(path))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        assert not [name for name in names if name.startswith("aajax.commands")]


def test_bad_input_is_told_in_one_line(tmp_path):
    program = (
        "import runpy, sys\n"
        "for name, *words in eval(sys.argv[1]):\n"
        "    sys.argv = [name, *words]\n"
        "    try:\n"
        "        runpy.run_path(name, run_name='__main__')\n"
        "    except SystemExit as stopped:\n"
        "        print(stopped.code, flush=True)\n"
    )
    calls = {
        ("ipd.py", "--presets", "idp"): "preset is 'idp': one of those that aajax",
        ("coin.py", "--seeds", "x"): "seeds is 'x': a whole number is needed",
        ("harvest.py", "--nope"): "option is --nope: there is none of that name; ",
        ("exploitability.py", "nowhere"): "run is 'nowhere': a folder with a run is",
        ("ablation_ipd.py", "--sweep.beta", "x"): "sweep.beta has 'x': a number in ",
    }
    words = [[str(ROOT / "experiments" / name), *rest] for name, *rest in calls]
    done = subprocess.run(
        [sys.executable, "-c", program, repr(words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    codes = [line for line in done.stdout.splitlines() if not line.startswith("|")]
    assert codes == ["2"] * len(calls)
    lines = done.stderr.splitlines()
    assert len(lines) == len(calls), lines
    for line, ((name, *_), message) in zip(lines, calls.items(), strict=True):
        assert line.startswith(f"{name}: {message}")
