"""What tests of text games share: a tiny language model at the prisoner's dilemma."""

import dataclasses

import pytest
from tiny_speech import tiny_adapters, tiny_folder

from aajax.dialogue.players.language_model import load_language_model
from aajax.dialogue.registry import make


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def dilemma():
    return make("ipd", "short", num_rounds=3)


@pytest.fixture(scope="session")
def model(folder, dilemma):
    """`model(**options)`: the same model with three adapters that differ."""
    base = load_language_model(
        folder, list(dilemma.patterns.values()), adapters=tiny_adapters(3),
        max_tokens=8, cache_size=128,
    )  # fmt: skip
    return lambda **options: dataclasses.replace(base, **options)
