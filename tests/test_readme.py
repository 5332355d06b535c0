"""The README's examples do what it says."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.optimised
def test_the_example_trains_tit_for_tat(capsys):
    example = EXAMPLES[0]
    assert len([line for line in example.splitlines() if line]) <= 12
    with jax.numpy_dtype_promotion("standard"):
        exec(example, {})
    numbers = re.findall(r"[\d.]+(?:e-\d+)?", capsys.readouterr().out)
    table = np.asarray(numbers, float).reshape(8, 5)
    start, both, exploited, exploiting, neither = table.T
    assert min(start.min(), both.min(), exploiting.min()) > 0.9
    assert max(exploited.max(), neither.max()) < 0.1


def test_the_other_examples_run(capsys):
    for example in EXAMPLES[1:]:
        exec(example, {})
        assert capsys.readouterr().out


def test_the_tree_names_what_is_there():
    """Every file that the tree names exists, and every folder is named."""
    tree = re.search(r"```\naajax/\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    root = README.parent / "aajax"
    for name in re.findall(r"\b(\w+\.py)\b", tree):
        found = [*root.rglob(name), *README.parent.joinpath("experiments").glob(name)]
        assert found, f"{name} is not there"
    for folder in filter(Path.is_dir, root.iterdir()):
        if folder.name != "__pycache__":
            assert f"{folder.name}/" in tree
