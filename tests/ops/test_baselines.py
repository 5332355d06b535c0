"""Leave-one-out baselines and whitening."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import baselines as reference

from aajax.ops import baselines

NUM_MEMBERS = 8

examples = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-4, 4, width=32, allow_subnormal=False)
members = hnp.arrays(np.float32, NUM_MEMBERS, elements=numbers)
groups = hnp.arrays(np.int32, NUM_MEMBERS, elements=st.integers(-2, 4))
jitted_leave_one_out = jax.jit(baselines.leave_one_out)
jitted_whiten = jax.jit(baselines.whiten)


@pytest.mark.parametrize(
    "group",
    [None, [7, -1, 7, 900, 7, -1, 5, 7]],
    ids=["all", "groups"],
)
def test_leave_one_out_matches_the_loop(maybe_jit, dtype, assert_close, normal, group):
    x = normal(NUM_MEMBERS, 3, 2)
    ids = None if group is None else jnp.asarray(group, jnp.int32)
    actual = maybe_jit(baselines.leave_one_out)(jnp.asarray(x, dtype), ids)
    assert_close(actual, reference.leave_one_out(x, group))


def test_leave_one_out_by_hand():
    x = jnp.array([1.0, 2.0, 6.0, 5.0, 9.0])
    group = jnp.array([4, 4, 4, 1, 0])
    # 1 − (2 + 6)/2, 2 − (1 + 6)/2, 6 − (1 + 2)/2; the other two are alone.
    np.testing.assert_allclose(
        jitted_leave_one_out(x, group), [-3.0, -1.5, 4.5, 5.0, 9.0], rtol=1e-6
    )


@pytest.mark.parametrize("group", [None, jnp.array([3])])
def test_a_single_member_keeps_its_value(group):
    x = jnp.array([[1.5, -2.0]])
    np.testing.assert_array_equal(jitted_leave_one_out(x, group), x)


@examples
@hypothesis.given(members, groups)
def test_groups_of_more_than_one_sum_to_zero_and_lone_members_keep_theirs(x, group):
    result = np.asarray(jitted_leave_one_out(x, group))
    for member in range(NUM_MEMBERS):
        same = group == group[member]
        if same.sum() == 1:
            assert result[member] == x[member]
        else:
            np.testing.assert_allclose(result[same].sum(), 0, atol=1e-4)


@examples
@hypothesis.given(members, groups, st.permutations(range(7)))
def test_the_names_of_groups_do_not_matter(x, group, names):
    renamed = np.asarray(names, np.int32)[group + 2]
    np.testing.assert_allclose(
        jitted_leave_one_out(x, renamed), jitted_leave_one_out(x, group), atol=1e-5
    )


@examples
@hypothesis.given(members, groups, st.permutations(range(NUM_MEMBERS)))
def test_the_order_of_members_does_not_matter(x, group, order):
    order = np.asarray(order)
    np.testing.assert_allclose(
        jitted_leave_one_out(x[order], group[order]),
        np.asarray(jitted_leave_one_out(x, group))[order],
        atol=1e-5,
    )


@examples
@hypothesis.given(members, groups, numbers)
def test_a_member_does_not_move_its_own_baseline(x, group, other):
    member = 3
    changed = x.copy()
    changed[member] = other
    baseline = x[member] - jitted_leave_one_out(x, group)[member]
    same = other - jitted_leave_one_out(changed, group)[member]
    np.testing.assert_allclose(same, baseline, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_whiten_matches_the_loop(maybe_jit, dtype, assert_close, normal, masked):
    x = 3 + 2 * normal(5, 4)
    mask = normal(5, 4) > -0.3 if masked else None
    ours = jnp.asarray(mask) if masked else None
    actual = maybe_jit(baselines.whiten)(jnp.asarray(x, dtype), ours)
    assert_close(actual, reference.whiten(x, mask))


@examples
@hypothesis.given(members, st.integers(2, NUM_MEMBERS), members)
def test_whitened_entries_have_mean_zero_and_deviation_one(x, count, padding):
    mask = np.arange(NUM_MEMBERS) < count
    hypothesis.assume(x[:count].std() > 0.1)
    result = np.asarray(jitted_whiten(x, mask))
    np.testing.assert_allclose(result[:count].mean(), 0, atol=1e-4)
    np.testing.assert_allclose(result[:count].std(), 1, rtol=1e-4)
    assert not result[count:].any()
    np.testing.assert_array_equal(
        jitted_whiten(np.where(mask, x, padding), mask), result
    )


@examples
@hypothesis.given(members, st.floats(0.5, 4, width=32, allow_subnormal=False), numbers)
def test_whitening_forgets_shift_and_scale(x, scale, shift):
    hypothesis.assume(x.std() > 0.1)
    moved = np.float32(scale) * x + np.float32(shift)
    np.testing.assert_allclose(jitted_whiten(moved), jitted_whiten(x), atol=1e-3)


def test_equal_entries_whiten_to_zero():
    result = jitted_whiten(jnp.full(4, 2.5))
    np.testing.assert_array_equal(result, np.zeros(4))


def test_epsilon_is_added_to_the_deviation():
    # Deviation 1, so that ε = 1 halves the result.
    result = jitted_whiten(jnp.array([1.0, 3.0]), epsilon=1.0)
    np.testing.assert_array_equal(result, [-0.5, 0.5])


def test_masked_entries_may_be_anything():
    result = jitted_whiten(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1, 1, 0]) > 0)
    np.testing.assert_allclose(result, [-1.0, 1.0, 0.0], rtol=1e-6)


def test_shapes_and_types_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError):
        baselines.leave_one_out(jnp.ones(3), jnp.zeros(2, jnp.int32))
    with pytest.raises(AssertionError):
        baselines.leave_one_out(jnp.ones(3, jnp.int32))
    with pytest.raises(AssertionError):
        baselines.whiten(jnp.ones(3), jnp.ones(2, bool))


sizes = st.sampled_from([1, 2, 3, 7, 64, 192])
values = st.floats(-1e6, 1e6, allow_subnormal=False)


@examples
@hypothesis.given(sizes, values, groups, st.sampled_from(["float32", "float64"]))
def test_equal_members_give_exactly_zero(size, value, group, dtype):
    """Whatever they are: a residue of rounding would be whitened to unit size."""
    with jax.enable_x64(dtype == "float64"):
        x = jnp.full((size, 2), value, dtype)
        for result in (
            baselines.advantage_over_group(x),
            baselines.whiten(x),
            baselines.whiten(x, jnp.ones((size, 2), bool).at[0].set(size == 1)),
        ):
            np.testing.assert_array_equal(result, np.zeros((size, 2), dtype))
        if size > 1:
            np.testing.assert_array_equal(baselines.leave_one_out(x), 0 * x)
        # Equal within groups, and not from one to the other.
        ids = jnp.asarray(group)
        x = value * (1 + ids.astype(dtype))
        result = baselines.advantage_over_group(x, ids)
        np.testing.assert_array_equal(result, np.zeros(NUM_MEMBERS, dtype))


def test_what_is_compared_with_nothing_is_no_advantage():
    x = jnp.array([1.0, 2.0, 6.0, 5.0, 9.0])
    group = jnp.array([4, 4, 4, 1, 0])
    result = baselines.advantage_over_group(x, group)
    np.testing.assert_allclose(result, [-3.0, -1.5, 4.5, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(baselines.advantage_over_group(x[:1]), [0.0])
