import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from aajax import lm
from aajax.lm.training.scoring import score

CONFIG = lm.DecoderConfig(
    "llama",
    vocab_size=37,
    hidden_size=8,
    intermediate_size=8,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=4,
)
BATCH, LENGTH = 2, 7
RNG = np.random.default_rng(0)
HEAD = RNG.normal(size=(37, 8)).astype(np.float32)
HIDDEN = RNG.normal(size=(BATCH, LENGTH, 8)).astype(np.float32)
TARGETS = RNG.integers(0, 37, (BATCH, LENGTH)).astype(np.int32)
TARGETS[0, -2:] = TARGETS[1, 0] = -1
# The parity of a target decides which tokens are allowed at its place.
STATE = np.where(TARGETS < 0, 2, TARGETS % 2).astype(np.int32)


def same_parity(state):
    """Of state 2, none."""
    return jnp.arange(37)[None, None] % 2 == state[:, :, None]


def loop(temperature, restricted):
    """Token by token, in float64."""
    log_prob, entropy = np.zeros((2, BATCH, LENGTH))
    for row, place in np.argwhere(TARGETS >= 0):
        target = TARGETS[row, place]
        tokens = [v for v in range(37) if not restricted or v % 2 == target % 2]
        x = HEAD[tokens].astype(float) @ HIDDEN[row, place] / temperature[row]
        log_probs = x - np.log(np.exp(x).sum())
        log_prob[row, place] = log_probs[tokens.index(target)]
        entropy[row, place] = -(np.exp(log_probs) * log_probs).sum()
    return log_prob, entropy


def scores(head=HEAD, hidden=HIDDEN, restricted=False, **options):
    if restricted:
        options |= {"allowed": same_parity, "state": jnp.asarray(STATE)}
    return score(
        CONFIG, {"head": head}, jnp.asarray(hidden), jnp.asarray(TARGETS), **options
    )


def whole(head, hidden, restricted, temperature):
    """Of all places at once, by library functions."""
    logits = jnp.einsum("bld,vd->blv", hidden, head) / temperature
    if restricted:
        mask = same_parity(jnp.asarray(STATE)) | (STATE == 2)[:, :, None]
        logits = jnp.where(mask, logits, -1e30)
    log_probs = jax.nn.log_softmax(logits)
    index = np.maximum(TARGETS, 0)[:, :, None]
    log_prob = jnp.take_along_axis(log_probs, index, 2)[:, :, 0]
    entropy = -(jnp.exp(log_probs) * log_probs).sum(2)
    present = (TARGETS >= 0).astype(np.float32)
    return log_prob * present, entropy * present


def weighed(pair):
    weight = np.arange(1, LENGTH + 1, dtype=np.float32)[None]
    return (pair[0] * weight).sum() + 0.3 * (pair[1] * weight).sum()


@pytest.mark.parametrize("chunk_size", [1, 3, 256])
@pytest.mark.parametrize("restricted", [False, True], ids=["all", "allowed"])
def test_scores_match_the_loop(chunk_size, restricted):
    temperature = np.array([0.5, 2.0], np.float32)
    function = jax.jit(
        lambda temperature: scores(
            restricted=restricted, temperature=temperature, chunk_size=chunk_size
        )
    )
    actual = function(temperature)
    for one, expected in zip(actual, loop(temperature, restricted), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("restricted", [False, True], ids=["all", "allowed"])
def test_gradients_are_those_of_the_whole(restricted):
    def chunked(head, hidden):
        options = {"temperature": 0.7, "chunk_size": 3}
        return weighed(scores(head, hidden, restricted, **options))

    def plain(head, hidden):
        return weighed(whole(head, hidden, restricted, 0.7))

    actual = jax.jit(jax.grad(chunked, (0, 1)))(HEAD, HIDDEN)
    expected = jax.jit(jax.grad(plain, (0, 1)))(HEAD, HIDDEN)
    for one, other in zip(actual, expected, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def largest(function):
    """Elements of the largest array within the gradient of a function of the head."""

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (variable.aval.size for variable in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    return max(sizes(jax.make_jaxpr(jax.grad(function))(HEAD).jaxpr))


def test_logits_of_all_places_never_exist():
    whole_size = BATCH * LENGTH * 37
    assert largest(lambda head: weighed(whole(head, HIDDEN, False, 1.0))) == whole_size
    chunked = largest(lambda head: weighed(scores(head, chunk_size=2)))
    assert chunked <= max(BATCH * 2 * 37, HEAD.size)


def test_a_target_that_is_not_allowed_is_impossible():
    actual = score(
        CONFIG,
        {"head": HEAD},
        jnp.asarray(HIDDEN),
        jnp.asarray(TARGETS),
        allowed=same_parity,
        state=jnp.asarray(1 - STATE),
    )
    np.testing.assert_array_equal(actual.log_prob[TARGETS >= 0], -np.inf)
    np.testing.assert_array_equal(actual.log_prob[TARGETS < 0], 0.0)
    assert np.isfinite(actual.entropy).all()


def test_scores_of_bfloat16_are_float32():
    head, hidden = jnp.asarray(HEAD, jnp.bfloat16), jnp.asarray(HIDDEN, jnp.bfloat16)
    actual = scores(head, hidden)
    exact = scores(head.astype(jnp.float32), hidden.astype(jnp.float32))
    assert actual.log_prob.dtype == actual.entropy.dtype == jnp.float32
    np.testing.assert_allclose(actual.log_prob, exact.log_prob, atol=1e-4)


def test_nothing_is_scored_of_nothing():
    empty = jnp.zeros((2, 0), jnp.int32)
    actual = score(CONFIG, {"head": HEAD}, jnp.zeros((2, 0, 8)), empty)
    assert actual.log_prob.shape == actual.entropy.shape == (2, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"allowed": same_parity}, "state is None"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        scores(**options)
