"""No two parts of an update draw the same chance."""

import importlib

import jax
import numpy as np

from aajax.keys import stream
from aajax.training import NetworkConfig, Opponents, Replay, RunConfig, transforms
from aajax.training.assemble import make_trainer


def bits(key):
    return [tuple(x) for x in np.asarray(jax.random.key_data(key)).reshape(-1, 2)]


def test_streams_of_an_update_are_all_different(monkeypatch):
    """Past selves and earlier games once were drawn by the key of the second game."""
    found = {}

    def spy(module, name, split=lambda key: key):
        original = getattr(module, name)

        def noted(key, *arguments, **options):
            found[name] = bits(split(key))
            return original(key, *arguments, **options)

        monkeypatch.setattr(module, name, noted)

    config = RunConfig(
        policy="mlp", hidden_size=4, network=NetworkConfig(encoder_layers=1),
        baseline="critic", opponents=Opponents(capacity=2, groups=2),
        replay=Replay(games=2, capacity=4), num_games=4, num_steps=2,
    )  # fmt: skip
    trainer = make_trainer(config)({})
    state = trainer.init(jax.random.key(5))
    # The package has a function of the module's name.
    module = importlib.import_module("aajax.training.self_play")
    spy(module, "begin", lambda key: jax.random.split(key, 4))
    spy(module, "rollout", lambda key: jax.random.split(key, 2))
    spy(transforms.pools, "draw")
    spy(transforms.replays, "mix")
    with jax.disable_jit():
        after, _ = trainer.update(state)
    assert set(found) == {"begin", "rollout", "draw", "mix"}
    every = [key for keys in found.values() for key in keys]
    every += bits(state.key) + bits(after.key)
    # Nor are they those of what is measured in the end.
    every += [
        key
        for what in ("with itself", "answers", "against others")
        for key in bits(stream(5, f"evaluation: {what}"))
    ]
    assert len(set(every)) == len(every) == 4 + 2 + 1 + 1 + 2 + 3
