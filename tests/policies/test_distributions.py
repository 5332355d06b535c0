"""Distributions over actions, against SciPy and enumeration."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from aajax.policies import distributions

LOW, HIGH = -1.0, 4.0
NUM_DRAWS = 4000
# None and 0 are π itself.
every_epsilon = pytest.mark.parametrize("epsilon", [None, 0.0, 0.3, 1.0])
# Corrected or not, it is the mixture that acts.
every_mixture = pytest.mark.parametrize(
    ("epsilon", "corrected"), [(None, True), (0.3, True), (0.3, False), (1.0, True)]
)
SCORES = np.array([0.3, -1.2, 0.9, 0.1, 0.8, -0.5], np.float32)
KINDS = {
    "categorical": distributions.categorical,
    "multi": functools.partial(distributions.multi_categorical, 2, 3),
    "binned": functools.partial(distributions.binned, 2, LOW, HIGH, 3),
    "normal": functools.partial(distributions.tanh_normal, 2, LOW, HIGH),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def scores_of(kind):
    return SCORES[: {"categorical": 3, "normal": 4}.get(kind, 6)]


def mixture(logits, epsilon):
    """(1 − ε) softmax + ε / A."""
    return (1 - epsilon) * special.softmax(logits, -1) + epsilon / logits.shape[-1]


@functools.partial(jax.jit, static_argnames=("kind", "corrected"))
def draw(kind, epsilon, scores, corrected=True):
    distribution = KINDS[kind](epsilon, corrected)
    scores = jnp.broadcast_to(scores, (NUM_DRAWS, *scores.shape))
    action, log_prob = distribution.sample(jax.random.key(0), scores)
    return action, log_prob, distribution.log_prob(scores, action)


@functools.partial(jax.jit, static_argnames=("kind", "corrected"))
def log_prob_of(kind, epsilon, scores, action, corrected=True):
    scores = jnp.broadcast_to(scores, (len(action), *scores.shape))
    return KINDS[kind](epsilon, corrected).log_prob(scores, jnp.asarray(action))


@functools.partial(jax.jit, static_argnames="kind")
def entropy_of(kind, epsilon, scores):
    return KINDS[kind](epsilon).entropy(scores)


@every_kind
@pytest.mark.parametrize("corrected", [True, False])
def test_a_sample_comes_with_its_log_probability(kind, corrected):
    _, log_prob, again = draw(kind, 0.3, scores_of(kind), corrected)
    assert log_prob.shape == (NUM_DRAWS,)
    assert np.std(log_prob) > 0.1
    np.testing.assert_allclose(log_prob, again, rtol=1e-6)


def whole_actions(kind):
    """All actions of a discrete kind, and the bins of their parts."""
    if kind == "categorical":
        return np.arange(3, dtype=np.int32), np.arange(3)[:, None]
    bins = np.array(list(itertools.product(range(3), repeat=2)), np.int32)
    # Three bins reach both ends and the middle.
    values = np.array([LOW, (LOW + HIGH) / 2, HIGH], np.float32)[bins]
    return (bins if kind == "multi" else values), bins


def chances(kind, epsilon):
    """Of all actions: every part is ε-soft on its own."""
    parts = mixture(scores_of(kind).reshape(-1, 3).astype(float), epsilon)
    _, bins = whole_actions(kind)
    return np.prod([parts[i, bins[:, i]] for i in range(len(parts))], axis=0)


@pytest.mark.parametrize("kind", ["categorical", "multi", "binned"])
@every_epsilon
def test_discrete_actions_by_enumeration(kind, epsilon):
    actions, _ = whole_actions(kind)
    expected = chances(kind, epsilon or 0.0)
    np.testing.assert_allclose(expected.sum(), 1)
    log_prob = log_prob_of(kind, epsilon, scores_of(kind), actions)
    np.testing.assert_allclose(np.exp(log_prob), expected, rtol=1e-5)
    entropy = entropy_of(kind, epsilon, scores_of(kind))
    np.testing.assert_allclose(entropy, stats.entropy(expected), rtol=1e-5)
    # Without correction, π's own.
    plain = log_prob_of(kind, epsilon, scores_of(kind), actions, corrected=False)
    np.testing.assert_allclose(np.exp(plain), chances(kind, 0.0), rtol=1e-5)


@pytest.mark.parametrize("kind", ["categorical", "multi", "binned"])
@every_mixture
def test_discrete_samples_are_as_frequent_as_they_should_be(kind, epsilon, corrected):
    drawn, *_ = draw(kind, epsilon, scores_of(kind), corrected)
    actions, _ = whole_actions(kind)
    same = np.asarray(drawn)[:, None] == actions
    counts = same.reshape(NUM_DRAWS, len(actions), -1).all(-1).sum(0)
    assert counts.sum() == NUM_DRAWS
    expected = NUM_DRAWS * chances(kind, epsilon or 0.0)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize("corrected", [True, False])
def test_expectations_are_of_the_policy_that_acts(corrected):
    distribution = distributions.categorical(0.3, corrected)
    probs = distribution.probs(jnp.asarray(SCORES[:3]))
    np.testing.assert_allclose(probs, mixture(SCORES[:3], 0.3), rtol=1e-5)


def test_bins_are_evenly_spaced_from_end_to_end():
    distribution = distributions.binned(1, -1.0, 4.0, 6)
    assert distribution.num_scores == 6
    scores = jnp.zeros((400, 6))
    action, _ = distribution.sample(jax.random.key(0), scores)
    np.testing.assert_allclose(np.unique(action), np.arange(-1, 5), atol=1e-6)
    sure, values = 50 * jnp.eye(6), jnp.arange(-1.0, 5.0)[:, None]
    np.testing.assert_allclose(distribution.log_prob(sure, values), 0, atol=1e-6)


# Normals behind a tanh


def moments(scores):
    mean, log_std = np.split(np.asarray(scores, float), 2)
    return 3 * np.tanh(mean / 3), np.exp(-3 + 4 * special.expit(log_std + 1))


def density(scores, epsilon, action):
    """f64[...] at actions f64[..., size]."""
    mean, std = moments(scores)
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    share = (action - middle) / half
    x = np.arctanh(share)
    parts = stats.norm.pdf(x, mean, std) / (half * (1 - share**2))
    uniform = (HIGH - LOW) ** -action.shape[-1]
    return (1 - epsilon) * parts.prod(-1) + epsilon * uniform


@every_epsilon
def test_the_normals_density(epsilon):
    action = np.random.default_rng(0).uniform(LOW, HIGH, (200, 2))
    expected = density(SCORES[:4], epsilon or 0.0, action)
    log_prob = log_prob_of("normal", epsilon, SCORES[:4], action.astype(np.float32))
    np.testing.assert_allclose(log_prob, np.log(expected), rtol=1e-4, atol=1e-4)
    plain = log_prob_of(
        "normal", epsilon, SCORES[:4], action.astype(np.float32), corrected=False
    )
    expected = density(SCORES[:4], 0.0, action)
    np.testing.assert_allclose(plain, np.log(expected), rtol=1e-4, atol=1e-4)


@every_epsilon
@pytest.mark.parametrize("size", [1, 2])
def test_the_normals_density_integrates_to_one(size, epsilon):
    scores = np.array([0.4, -0.8])[:size]
    scores = np.concatenate([scores, np.array([-0.6, 0.2])[:size]]).astype(np.float32)
    # Midpoints, on a grid finer towards the ends; a density may rise steeply there.
    edges = np.tanh(np.linspace(-7, 7, 202))
    edges = (LOW + HIGH) / 2 + (HIGH - LOW) / 2 * edges
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    points = np.stack(np.meshgrid(*[middles] * size, indexing="ij"), -1)
    cells = np.prod(np.meshgrid(*[widths] * size, indexing="ij"), axis=0)
    flat = points.reshape(-1, size).astype(np.float32)
    distribution = distributions.tanh_normal(size, LOW, HIGH, epsilon)
    log_prob = jax.jit(distribution.log_prob)(
        jnp.broadcast_to(scores, (len(flat), 2 * size)), flat
    )
    total = np.sum(np.exp(np.asarray(log_prob, float)) * cells.ravel())
    np.testing.assert_allclose(total, 1, atol=5e-3)


@every_mixture
def test_normal_samples_have_the_distribution(epsilon, corrected):
    drawn, *_ = draw("normal", epsilon, SCORES[:4], corrected)
    mean, std = moments(SCORES[:4])
    explored = epsilon or 0.0

    def cumulative(action, i):
        share = (action - LOW) / (HIGH - LOW)
        below = stats.norm.cdf(np.arctanh(2 * share - 1), mean[i], std[i])
        return (1 - explored) * below + explored * share

    for i in range(2):
        fit = stats.kstest(np.asarray(drawn, float)[:, i], cumulative, args=(i,))
        assert fit.pvalue > 1e-3


def test_whole_actions_are_explored():
    """All numbers of an action are drawn uniformly together, or none is."""
    epsilon = 0.4
    scores = np.array([0.0, 0.0, -30.0, -30.0], np.float32)  # σ = e^−3
    drawn, *_ = draw("normal", epsilon, scores)
    near = np.abs(np.asarray(drawn) - 1.5) < 0.5
    chance = 1 / 5  # that a uniform number comes so near
    expected = [
        epsilon * (1 - chance) ** 2,
        2 * epsilon * chance * (1 - chance),
        1 - epsilon + epsilon * chance**2,
    ]
    counts = np.bincount(near.sum(1), minlength=3)
    assert stats.chisquare(counts, NUM_DRAWS * np.array(expected)).pvalue > 1e-3


@pytest.mark.parametrize(
    "scores",
    [(0.0, -1.0), (1.5, -0.5), (-2.0, -2.0), (0.5, 1.0), (0.0, 9.0), (9.0, 9.0)],
)
def test_the_normals_entropy(scores):
    """By a fine sum over x, at the widest scales too."""
    (mean,), (std,) = moments(scores)
    most = np.arctanh(1 - 1e-6)
    normal = stats.truncnorm((-most - mean) / std, (most - mean) / std, mean, std)

    def surprise(x):
        slope = np.log(HIGH - LOW) - np.log(2) - 2 * np.log(np.cosh(x))
        return normal.pdf(x) * (slope - normal.logpdf(x))

    begin, end = max(-most, mean - 9 * std), min(most, mean + 9 * std)
    expected, _ = integrate.quad(surprise, begin, end, limit=200)
    # Exploration is left out.
    for epsilon in (None, 0.5):
        entropy = entropy_of("normal", epsilon, np.repeat(scores, 2).astype("f")) / 2
        np.testing.assert_allclose(entropy, expected, atol=1e-3)


@pytest.mark.parametrize("scores", [(0.0, 0.0), (3.0, 1.0), (9.0, 3.0), (-9.0, 9.0)])
def test_the_normals_samples_have_the_density_that_they_are_given(scores):
    """E[∇ log π] = 0 and E[−log π] = H, also where many samples come near the ends."""
    (mean,), (std,) = moments(scores)
    count = 200_000
    distribution = distributions.tanh_normal(1, LOW, HIGH)
    each = jnp.broadcast_to(jnp.asarray(scores, jnp.float32), (count, 2))
    action, log_prob = jax.jit(distribution.sample)(jax.random.key(3), each)
    score = jax.jit(jax.grad(lambda s: distribution.log_prob(s, action).sum()))(each)
    error = np.std(score, axis=0) / np.sqrt(count)
    np.testing.assert_array_less(np.abs(np.mean(score, axis=0)), 4 * error + 1e-3)
    entropy = distribution.entropy(each[0])
    np.testing.assert_allclose(-np.mean(log_prob), entropy, atol=0.02)
    assert np.abs(action).max() < HIGH


EXTREMES = [0.0, 60.0, -60.0, 1e4, -1e4]


@functools.partial(jax.jit, static_argnames="kind")
def everything(kind, epsilon, scores):
    """Actions, and the sum of all that is differentiated, with its gradient."""
    distribution = KINDS[kind](epsilon)
    action, _ = distribution.sample(jax.random.key(0), scores)
    ends = jnp.full_like(action, HIGH if kind in ("binned", "normal") else 2)

    def total(scores):
        of_both = [distribution.log_prob(scores, x) for x in (action, ends)]
        return sum(x.sum() for x in of_both) + distribution.entropy(scores).sum()

    return action, *jax.value_and_grad(total)(scores)


@every_kind
@every_epsilon
def test_nothing_breaks_at_extreme_scores(kind, epsilon):
    """Actions stay in the box, and gradients are finite, at its very ends too."""
    rng = np.random.default_rng(0)
    shape = 200, len(scores_of(kind))
    scores = rng.choice(EXTREMES, shape).astype(np.float32)
    action, total, gradient = everything(kind, epsilon, scores)
    low, high = (LOW, HIGH) if kind in ("binned", "normal") else (0, 2)
    assert low <= np.min(action) < np.max(action) <= high
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()
