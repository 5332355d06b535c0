"""The files beside the code that people expect of a package."""

import ast
import hashlib
import re
import sys
import tomllib
from pathlib import Path

import yaml

import aajax

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
# Of https://www.apache.org/licenses/LICENSE-2.0.txt.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_license_is_the_standard_text():
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"


def test_the_citation_is_of_this_version_and_names_both_papers():
    assert CITATION["version"] == aajax.__version__
    assert {paper["url"] for paper in CITATION["references"]} == set(
        PROJECT["urls"].values()
    )


def test_the_changelog_has_this_version_and_what_comes_next():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    versions = [line.split()[1] for line in lines if line.startswith("## ")]
    assert versions[0] == "[Unreleased]"
    assert f"[{aajax.__version__}]" in versions
    kinds = {line for line in lines if line.startswith("### ")}
    words = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    assert kinds <= {f"### {word}" for word in words}


def test_types_are_marked_as_such():
    assert (Path(aajax.__file__).parent / "py.typed").exists()


def test_every_package_that_is_imported_is_declared():
    """Of the core, and of extras for users."""
    extras = PROJECT["optional-dependencies"]
    names = [
        *PROJECT["dependencies"],
        *(name for own in extras.values() for name in own),
    ]
    declared = {re.match(r"[\w-]+", name)[0].replace("-", "_") for name in names}
    modules = {"PIL": "pillow", "orbax": "orbax_checkpoint", "jaxlib": "jax"}
    for path in (ROOT / "aajax").rglob("*.py"):
        for module in imported(path) - sys.stdlib_module_names - {"aajax"}:
            assert modules.get(module, module) in declared, f"{path}: {module}"


def imported(path):
    """First names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
