"""Streams of chance: named ones are never those of `split`, or of one another."""

import jax
import numpy as np

from aajax.keys import numpy_stream, stream

DOMAINS = ("worlds", "play", "evaluation", "league", "")


def bits(key):
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_keys_differ():
    key = jax.random.key(3)
    # What made this necessary.
    assert bits(jax.random.fold_in(key, 1)) == bits(jax.random.split(key, 8)[1])
    found = [bits(k) for k in jax.random.split(key, 64)]
    found += [bits(stream(3, domain)) for domain in DOMAINS]
    found += [bits(stream(3, domain, n)) for domain in DOMAINS for n in range(4)]
    found += [bits(stream(3, domain, 0, n)) for domain in DOMAINS for n in range(4)]
    found += [bits(stream(seed, "worlds")) for seed in (0, 1, 2)]
    assert len(set(found)) == len(found)


def test_a_seed_is_its_key_and_numbers_may_be_traced():
    expected = bits(stream(3, "play", 7))
    assert bits(stream(jax.random.key(3), "play", 7)) == expected
    traced = jax.jit(lambda key, n: stream(key, "play", n))
    assert bits(traced(jax.random.key(3), np.int32(7))) == expected


def test_generators_differ():
    def draw(generator):
        return tuple(generator.integers(0, 2**62, 4).tolist())

    # What made this necessary.
    assert draw(np.random.default_rng(0)) == draw(np.random.default_rng([0, 0]))
    found = [draw(np.random.default_rng(seed)) for seed in (0, 1, [0, 1])]
    for seed in (0, 1):
        for domain in DOMAINS:
            numbers = ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
            found += [draw(numpy_stream(seed, domain, *own)) for own in numbers]
    assert len(set(found)) == len(found)
