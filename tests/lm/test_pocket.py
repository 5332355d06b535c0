"""A pocket model is a checkpoint folder like any other."""

import jax
import numpy as np
import pytest

from aajax.lm.chat import find_template
from aajax.lm.pocket import PocketConfig, train_pocket
from aajax.lm.tokens import load_tokenizer
from aajax.lm.weights import load_params, read_config

TINY = {"hidden_size": 16, "layers": 1, "heads": 2, "batch": 4, "length": 320}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pocket") / "model"
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix types
        return folder, train_pocket(folder, PocketConfig(**TINY, steps=20))


def test_it_learns_and_loads(trained):
    folder, loss = trained
    tokens, config = load_tokenizer(folder), read_config(folder)
    assert 0 < loss < np.log(tokens.vocab_size)
    assert config.hidden_size == 16
    params = load_params(folder)
    assert params["embedding"].shape[0] >= tokens.vocab_size
    assert find_template(tokens).opening("A or B?")


def test_what_is_there_is_not_overwritten(trained):
    folder, _ = trained
    with pytest.raises(ValueError, match="model"):
        train_pocket(folder, PocketConfig(**TINY, steps=1))
