"""What `aajax.lm` offers by itself, and that it needs the core's libraries alone."""

import subprocess
import sys

from aajax import lm

HEAVY = [
    *("transformers", "tokenizers", "safetensors", "outlines_core", "jinja2"),
    *("orbax", "torch", "matplotlib", "tyro"),
]


def test_importing_it_needs_no_library_of_files_or_text():
    program = f"import sys, aajax.lm; print([m for m in {HEAVY} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_every_name_is_there_once_and_says_what_it_is():
    assert lm.__all__ == sorted(set(lm.__all__))
    for name in lm.__all__:
        assert getattr(lm, name).__doc__, name
