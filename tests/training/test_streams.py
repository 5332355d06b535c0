"""No two parts of an update draw the same chance."""

import importlib

import jax
import numpy as np

from aajax.keys import stream
from aajax.training import Opponents, Replay, RunConfig, transforms
from aajax.training.assemble import make_trainer


def bits(data):
    return [tuple(x) for x in np.asarray(data).reshape(-1, 2)]


def test_streams_of_an_update_are_all_different(monkeypatch):
    """Past selves and earlier games once were drawn by the key of the second game."""
    found = {}

    def spy(module, name, split=lambda key: key):
        original = getattr(module, name)

        def noted(key, *arguments, **options):
            found[name] = jax.random.key_data(split(key))
            return original(key, *arguments, **options)

        monkeypatch.setattr(module, name, noted)

    config = RunConfig(
        opponents=Opponents(capacity=2, groups=2),
        replay=Replay(games=2, capacity=4),
        num_games=4,
        num_steps=2,
    )
    trainer = make_trainer(config)({})
    state = trainer.init(jax.random.key(5))
    # The package has a function of the module's name.
    module = importlib.import_module("aajax.training.self_play")
    spy(module, "begin", lambda key: jax.random.split(key, 4))
    spy(module, "rollout", lambda key: jax.random.split(key, 2))
    spy(transforms.pools, "draw")
    spy(transforms.replays, "mix")

    @jax.jit
    def keys_of(state):
        after, _ = trainer.update(state)
        return found | {"after": jax.random.key_data(after.key)}

    keys = keys_of(state) | {"before": jax.random.key_data(state.key)}
    assert set(found) == {"begin", "rollout", "draw", "mix"}
    every = [key for data in keys.values() for key in bits(data)]
    # Nor are they those of what is measured in the end.
    every += [
        key
        for what in ("with itself", "answers", "against others")
        for key in bits(jax.random.key_data(stream(5, f"evaluation: {what}")))
    ]
    assert len(set(every)) == len(every) == 4 + 2 + 1 + 1 + 2 + 3
