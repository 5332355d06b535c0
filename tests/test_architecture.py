"""Who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "aajax"
FILES = sorted(ROOT.rglob("*.py"))
BASE = {"policies.base", "envs.base"}
FOR_ALL = {
    *("errors", "extras", "files", "keys", "schema", "records", "references"),
}
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "extras": {"errors"},
    "files": set(),
    "schema": set(),
    "records": set(),
    "references": set(),
    "keys": {"types"},
    "ops": {"types"},
    "envs": {"types", "ops", "policies.base"},
    "lm": {"types", "ops"},
    "policies": {"types", "ops"},
    "nets": {"types", "ops", "policies.base"},
    "rollout": {"types", *BASE},
    "learners": {"types", "ops", "policies.base", "nets"},
    "dialogue": {"types", "ops", "envs", "lm", "policies"},
    "training": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("lm", "dialogue"),
    },
    "tournament": {"types", "envs", "policies", "rollout", "dialogue"},
    "report": {"types"},
    "api": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("training", "tournament", "report", "lm", "dialogue"),
    },
    "bench": {
        *("types", "envs", "learners", "training", "lm"),
    },
    "commands": {
        *("types", "ops", "envs", "policies", "nets", "rollout", "learners"),
        *("training", "tournament", "report", "lm", "dialogue", "bench", "api"),
    },
    "cli": {"commands"},
    "__main__": {"cli"},
}


def imported(path):
    """Modules of the package that a file imports, as `package.module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("aajax.") for n in names if n.startswith("aajax."))


def layer(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = layer(path)
    if own == "__init__":
        return
    for name in imported(path):
        allowed = {own, *FOR_ALL, *MAY_IMPORT[own]}
        fits = any(name == door or name.startswith(f"{door}.") for door in allowed)
        assert fits, f"{own} may not import {name}"


def test_importing_the_package_needs_the_core_alone():
    heavy = ["matplotlib", "orbax", "tyro", "transformers", "torch", "scipy"]
    program = f"import sys, aajax; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_no_environment_is_asked_what_it_is():
    """Outside of a game's folder `EnvSpec` alone says what an environment has."""
    asks = re.compile(
        r"\b(type|isinstance|hasattr|getattr)\(\s*(self\.|\w+\.)*(env|environment)\b"
    )
    for path in FILES:
        parts = path.relative_to(ROOT).parts
        if parts[0] == "envs" and len(parts) > 2:
            continue
        found = asks.findall(path.read_text())
        assert not found, f"{path}: {found}"
