"""The alignment credit and its published pasts."""

import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import alignment as reference

from aajax.ops import alignment

PASTS = [
    "discounted_past",
    "strict_past",
    "inclusive_past",
    "fading_past",
    "summed_past",
    "mean_past",
]
GAMMA = 0.9
NUM_STEPS = 10
# Episodes of 4, 1 and 5 steps.
LAST = np.isin(np.arange(NUM_STEPS), (3, 4))

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-4, 4, width=32, allow_subnormal=False)
advantages = hnp.arrays(np.float32, (NUM_STEPS, 3), elements=numbers)
parametrize_pasts = pytest.mark.parametrize("name", PASTS)


@functools.cache
def jitted_past(name):
    return jax.jit(getattr(alignment, name))


@functools.cache
def jitted_credit(name="discounted_past"):
    past = getattr(alignment, name)
    return jax.jit(
        lambda advantage_t, gamma, beta, last_t=None: alignment.alignment_credit(
            advantage_t, gamma, beta, past, last_t=last_t
        )
    )


def modified(past, *functions):
    """The loop of `chain`: `functions` take the weight of one step, and its number
    within the episode."""

    def chained(a, gamma, last=None):
        weight = past(a, gamma, last)
        for t in range(len(a)):
            step = t - reference.episode_start(t, last)
            for function in functions:
                weight[t] = function(weight[t], step)
        return weight

    return chained


LOOPS = {
    "sign": lambda w, step: np.sign(w),
    "clip": lambda w, step: np.clip(w, -0.75, 0.75),
    "per_step": lambda w, step: w / (1 + step),
    "cooperative_start": lambda w, step: np.ones_like(w) if step == 0 else w,
}
OURS = {
    "sign": alignment.sign,
    "clip": alignment.clip(0.75),
    "per_step": alignment.per_step,
    "cooperative_start": alignment.cooperative_start,
}


@parametrize_pasts
def test_pasts_match_the_double_loop(maybe_jit, dtype, assert_close, normal, name):
    a = normal(NUM_STEPS, 2)
    past = maybe_jit(getattr(alignment, name))
    actual = past(jnp.asarray(a, dtype), GAMMA, jnp.asarray(LAST))
    assert_close(actual, getattr(reference, name)(a, GAMMA, LAST))


def test_pasts_by_hand():
    a = jnp.array([4.0, -2.0, 8.0])
    by_name = {
        "discounted_past": [0.0, 1.0, 0.0],
        "strict_past": [0.0, 2.0, 0.0],
        "inclusive_past": [4.0, 0.0, 8.0],
        "fading_past": [4.0, 1.0, 2.0],
        "summed_past": [0.0, 4.0, 2.0],
        "mean_past": [0.0, 4.0, 1.0],
    }
    for name, expected in by_name.items():
        np.testing.assert_array_equal(jitted_past(name)(a, 0.5), expected, name)


@parametrize_pasts
def test_credit_matches_the_triple_loop(dtype, assert_close, normal, name):
    advantage = normal(NUM_STEPS, 3)
    actual = jitted_credit(name)(jnp.asarray(advantage, dtype), GAMMA, 0.3)
    past = getattr(reference, name)
    assert_close(actual, reference.alignment_credit(advantage, GAMMA, 0.3, past))


def test_credit_uncompiled_and_by_default_uses_the_discounted_past(
    dtype, assert_close, normal
):
    advantage = normal(NUM_STEPS, 2)
    actual = alignment.alignment_credit(jnp.asarray(advantage, dtype), GAMMA, 0.3)
    assert_close(actual, reference.alignment_credit(advantage, GAMMA, 0.3))


def test_credit_by_hand():
    advantage = jnp.array([[1.0, -2.0], [3.0, 4.0]])
    # Second step, γ = ½ and β = 2: the pasts are ½ · ½ · (1, −2), so that the first
    # agent gets 3 + 2 · ¼ · 4, and the second 4 − 2 · ½ · 3.
    np.testing.assert_array_equal(
        jitted_credit()(advantage, 0.5, 2.0), [[1.0, -2.0], [5.0, 1.0]]
    )


@examples
@hypothesis.given(advantages, st.floats(0, 1, width=32, allow_subnormal=False))
def test_without_beta_the_credit_is_the_advantage(advantage, gamma):
    credit = jitted_credit()(advantage, gamma, 0.0)
    np.testing.assert_array_equal(credit, advantage)


def test_own_credit_is_the_advantage(normal):
    advantage = jnp.asarray(normal(NUM_STEPS, 3), jnp.float32)
    for last_t in (None, jnp.asarray(LAST)):
        credit = alignment.own_credit(advantage, last_t=last_t)
        np.testing.assert_array_equal(credit, advantage)


@pytest.mark.parametrize("name", ["discounted_past", "mean_past"])
def test_pairwise_credit_matches_the_loop(dtype, assert_close, normal, name):
    advantage, by = normal(NUM_STEPS, 3), normal(NUM_STEPS, 3, 3)
    credit = jax.jit(
        lambda a, by: alignment.pairwise_credit(
            a,
            GAMMA,
            0.3,
            getattr(alignment, name),
            advantage_by_t=by,
            last_t=jnp.asarray(LAST),
        )
    )
    actual = credit(jnp.asarray(advantage, dtype), jnp.asarray(by, dtype))
    past = getattr(reference, name)
    expected = reference.pairwise_credit(advantage, by, GAMMA, 0.3, past, LAST)
    assert_close(actual, expected)


def test_each_is_paid_back_for_what_it_did_itself():
    """The second agent has served the first, the third has harmed it as much."""
    by = jnp.zeros((2, 3, 3)).at[0, 0].set(jnp.array([7.0, 4.0, -4.0]))
    now = jnp.array([[0.0, 0.0, 0.0], [0.0, 2.0, 3.0]])
    credit = alignment.pairwise_credit(now, 0.5, 1.0, advantage_by_t=by)
    np.testing.assert_array_equal(credit[1], [4 / 4 * 2 - 4 / 4 * 3, 2, 3])
    # As one past they would cancel, and the first agent would do neither.
    together = now.at[0, 0].set(by[0, 0, 1:].sum())
    plain = alignment.alignment_credit(together, 0.5, 1.0)
    assert plain[1, 0] == 0


def test_pairwise_credit_with_parts_of_another_shape_is_refused():
    with pytest.raises(AssertionError):
        alignment.pairwise_credit(
            jnp.ones((3, 2)), 0.9, 0.3, advantage_by_t=jnp.ones((3, 2))
        )


@parametrize_pasts
@examples
@hypothesis.given(advantages, st.permutations(range(3)))
def test_relabelling_the_agents_relabels_the_credit(name, advantage, order):
    order = np.asarray(order)
    np.testing.assert_allclose(
        jitted_credit(name)(advantage[:, order], GAMMA, 0.3, LAST),
        np.asarray(jitted_credit(name)(advantage, GAMMA, 0.3, LAST))[:, order],
        rtol=1e-5,
        atol=1e-4,
    )


@examples
@hypothesis.given(advantages, st.floats(-2, 2, width=32, allow_subnormal=False))
def test_the_alignment_term_is_linear_in_beta(advantage, beta):
    term = jitted_credit()(advantage, GAMMA, 1.0) - advantage
    np.testing.assert_allclose(
        jitted_credit()(advantage, GAMMA, beta),
        advantage + beta * term,
        rtol=1e-5,
        atol=1e-3,
    )


@parametrize_pasts
@examples
@hypothesis.given(advantages, advantages)
def test_nothing_after_the_last_step_counts(name, advantage, padding):
    padded = np.where(np.arange(NUM_STEPS)[:, None] > 3, padding, advantage)
    for function in (
        lambda a: jitted_past(name)(a, GAMMA, LAST),
        lambda a: jitted_credit(name)(a, GAMMA, 0.3, LAST),
    ):
        np.testing.assert_array_equal(function(padded)[:4], function(advantage)[:4])


def test_every_episode_is_weighed_as_if_it_were_alone(normal):
    a = jnp.asarray(normal(NUM_STEPS, 2), jnp.float32)
    past = jitted_past("mean_past")
    alone = [past(part, GAMMA) for part in jnp.split(a, (4, 5))]
    np.testing.assert_allclose(
        past(a, GAMMA, jnp.asarray(LAST)), jnp.concatenate(alone), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("discounted_past", 0),
        ("strict_past", 0),
        ("inclusive_past", 1),
        ("fading_past", 1),
        ("summed_past", 0),
        ("mean_past", 0),
    ],
)
def test_at_a_single_step_only_the_inclusive_pasts_count(name, weight):
    a = jnp.array([[2.0, -3.0]])
    np.testing.assert_array_equal(jitted_past(name)(a, 0.5), weight * a)
    np.testing.assert_array_equal(
        jitted_credit(name)(a, 0.5, 0.5), [[2 - weight * 3, -3 - weight * 3]]
    )


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.999, 1.0])
def test_a_thousand_equal_steps_weigh_as_the_geometric_series(gamma):
    num_steps = 1000
    t = np.arange(num_steps)
    powers = gamma ** t.astype(float)
    strict = np.append(0.0, np.cumsum(powers[1:]))
    expected = {
        "discounted_past": gamma * strict,
        "strict_past": strict,
        "inclusive_past": 1 + strict,
        "fading_past": strict + powers,
        "summed_past": t,
        "mean_past": t > 0,
    }
    for name, weight in expected.items():
        actual = jitted_past(name)(jnp.ones(num_steps), gamma)
        np.testing.assert_allclose(actual, weight, rtol=1e-4, err_msg=name)


def test_a_long_past_fades():
    a = np.random.default_rng(0).normal(size=1000)
    weight = jitted_past("discounted_past")(jnp.asarray(a, jnp.float32), 0.1)
    # What lies more than forty steps back weighs less than 1e-40.
    expected = reference.discounted_past(a[-50:], 0.1)[-10:]
    np.testing.assert_allclose(weight[-10:], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("function", list(LOOPS))
def test_functions_of_the_past_match_the_loop(dtype, assert_close, normal, function):
    a = normal(NUM_STEPS, 2)
    past = alignment.chain(alignment.strict_past, OURS[function])
    actual = jax.jit(past)(jnp.asarray(a, dtype), GAMMA, jnp.asarray(LAST))
    loop = modified(reference.strict_past, LOOPS[function])
    assert_close(actual, loop(a, GAMMA, LAST))


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("sign", "clip", "per_step", "cooperative_start"),
        ("cooperative_start", "per_step", "clip"),
        ("per_step", "sign"),
    ],
)
def test_chain_applies_its_functions_in_order(dtype, assert_close, normal, names):
    advantage = normal(NUM_STEPS, 3)
    past = alignment.chain(alignment.strict_past, *(OURS[name] for name in names))
    loop = modified(reference.strict_past, *(LOOPS[name] for name in names))
    credit = jax.jit(
        lambda a: alignment.alignment_credit(
            a, GAMMA, 0.3, past, last_t=jnp.asarray(LAST)
        )
    )
    expected = reference.alignment_credit(advantage, GAMMA, 0.3, loop, LAST)
    assert_close(credit(jnp.asarray(advantage, dtype)), expected)


def test_the_order_within_a_chain_matters():
    a = jnp.array([3.0, 0.0])
    divide, bound = alignment.per_step, alignment.clip(1.0)
    divided_first = alignment.chain(alignment.summed_past, divide, bound)
    bounded_first = alignment.chain(alignment.summed_past, bound, divide)
    np.testing.assert_array_equal(jax.jit(divided_first)(a, 1.0), [0.0, 1.0])
    np.testing.assert_array_equal(jax.jit(bounded_first)(a, 1.0), [0.0, 0.5])


@pytest.mark.parametrize("limit", [0, -1.5, float("nan")])
def test_clip_refuses_a_limit_that_is_not_positive(limit):
    with pytest.raises(ValueError, match=f"limit is {limit}"):
        alignment.clip(limit)


def test_credit_is_a_constant_to_gradients(normal):
    advantage = jnp.asarray(normal(NUM_STEPS, 3), jnp.float32)
    gradient = jax.grad(lambda a: jnp.square(jitted_credit()(a, GAMMA, 0.3)).sum())
    np.testing.assert_array_equal(gradient(advantage), np.zeros((NUM_STEPS, 3)))


def test_a_sweep_over_gamma_and_beta_is_one_credit_after_another(normal):
    advantage = jnp.asarray(normal(NUM_STEPS, 2), jnp.float32)
    gamma, beta = jnp.array([0.0, 0.5, 1.0]), jnp.array([1.0, 0.3, 0.0])
    credit = jitted_credit()
    swept = jax.vmap(credit, in_axes=(None, 0, 0))(advantage, gamma, beta)
    for k in range(3):
        np.testing.assert_allclose(
            swept[k], credit(advantage, gamma[k], beta[k]), rtol=1e-5, atol=1e-5
        )


def test_shapes_and_types_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        alignment.alignment_credit(jnp.ones(3), 0.9, 0.3)
    with pytest.raises(AssertionError):
        alignment.alignment_credit(jnp.ones((3, 2), jnp.int32), 0.9, 0.3)
    with pytest.raises(AssertionError):
        alignment.discounted_past(jnp.ones((3, 2)), 0.9, jnp.zeros(4, bool))
