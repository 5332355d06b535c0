"""What is proved of advantage alignment, in numbers, over all games of three steps.

LOQA's and LOLA's ways to shape a co-player, against the alignment credit of
https://arxiv.org/abs/2406.14662. Agent i is 0, its co-player j is 1; policies are
tables with a row for every step and environment state, so that every row is reached at
one step alone.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import short_games

from aajax.learners import LearnerState
from aajax.learners.lola import lola_exact, start_values
from aajax.ops import alignment, dice

NUM_STEPS = 3
RNG = np.random.default_rng(0)
PAYOFF = RNG.normal(size=(2, 2, 2))
LOGITS = RNG.normal(size=(2, NUM_STEPS, 5, 2))
GAMMAS = [1.0, 0.7]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@jax.jit
def alignment_term(advantage, gamma, beta):
    """The credit's second part for both agents, f[G, T, 2]."""
    credit = jax.vmap(lambda a: alignment.alignment_credit(a, gamma, beta))
    return credit(advantage) - advantage


def weighted_by_past(past, own, other, gamma):
    """past(own)_t · other_t in every game, f[G, T]."""
    return np.asarray(jax.vmap(lambda a: past(a, gamma))(jnp.asarray(own))) * other


# LOQA


def loqa_term(log_prob_t, game, gamma, lambda_, normalised):
    """Σ_t A_i,t log π̂_j(b_t), π̂_j a softmax of Q_j with, in place of its entry for
    the action taken, r_j,t + γ R̃_j,t+1, the return that knows what shaped it."""
    return_t, value_t, reward_t, action_t, q_t, own_advantage_t = game
    loaded = dice.loaded_dice_returns(log_prob_t, return_t, value_t, gamma, lambda_)
    taken = reward_t + gamma * jnp.append(loaded[1:], 0.0)
    logits = q_t.at[np.arange(NUM_STEPS), action_t].set(taken)
    normaliser = jax.nn.logsumexp(logits, axis=1)
    if not normalised:
        normaliser = jax.lax.stop_gradient(normaliser)
    log_policy = taken - normaliser
    return jnp.sum(own_advantage_t * log_policy), jnp.exp(log_policy)


def loqa_weights(play, return_, gamma, lambda_, normalised):
    """∂ loqa_term / ∂ log π_i(a_i,t) and π̂_j(b_t) in every game, each f[G, T]."""
    log_prob = short_games.log_probs(play.games, jnp.asarray(LOGITS))[..., 0]
    games = (
        return_,
        play.value[..., 1],
        play.games.reward[..., 1],
        play.games.action[..., 1],
        play.co_player_q,
        play.advantage[..., 0],
    )
    slope = jax.grad(partial(loqa_term, normalised=normalised), has_aux=True)
    of_games = jax.jit(jax.vmap(slope, in_axes=(0, 0, None, None)))
    return map(np.asarray, of_games(log_prob, games, gamma, lambda_))


@pytest.mark.parametrize(("gamma", "lambda_"), [(0.7, 0.9), (1.0, 1.0), (0.7, 0.0)])
def test_loqas_gradient_has_a_closed_form(gamma, lambda_):
    """Exactly, in every game and whatever the critics say:

    Σ_k ∇ log π_i,k A_j,k Σ_{t<k} γ (γλ)^(k−t−1) (1 − π̂_j(b_t)) A_i,t,

    where A_j,k = R_j,k − V_j,k. Assumed of LOQA: temperature 1, the current reward and
    A_i,t not differentiated.
    """
    play = short_games.play(PAYOFF, LOGITS, gamma)
    return_ = short_games.returns(play.games, gamma)[..., 1]
    actual, chosen = loqa_weights(play, return_, gamma, lambda_, normalised=True)
    co_advantage = return_ - play.value[..., 1]
    expected = np.zeros_like(actual)
    for k in range(NUM_STEPS):
        for t in range(k):
            weight = gamma * (gamma * lambda_) ** (k - t - 1) * (1 - chosen[:, t])
            expected[:, k] += weight * play.advantage[:, t, 0] * co_advantage[:, k]
    # What multiplies the scores is equal game by game, and with it every gradient.
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
    assert (np.abs(expected[:, 1:]).max(axis=0) > 0.01).all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_loqa_is_alignment_once_its_normaliser_is_constant(gamma):
    """With β = 1/γ, given λ = 1, exact advantages, and a co-player that is modelled as
    ∝ exp Q_j with a normaliser that is not differentiated (1 − π̂_j becomes 1; any
    other constant c becomes β = c/γ).

    Game by game for advantages A_j = Q_j − V_j; on average for Monte-Carlo returns.
    """
    play = short_games.play(PAYOFF, LOGITS, gamma)
    term = np.asarray(alignment_term(play.advantage, gamma, 1 / gamma))[..., 0]
    exact = play.value[..., 1] + play.advantage[..., 1]
    actual, _ = loqa_weights(play, exact, gamma, 1.0, normalised=False)
    np.testing.assert_allclose(actual, term, rtol=1e-10, atol=1e-12)
    sampled = short_games.returns(play.games, gamma)[..., 1]
    actual, _ = loqa_weights(play, sampled, gamma, 1.0, normalised=False)
    assert np.abs(actual - term).max() > 0.01
    mean = play.expected(term)
    np.testing.assert_allclose(play.expected(actual), mean, atol=1e-12)
    assert np.abs(mean).max() > 0.01


# LOLA


def test_exact_lola_is_the_second_order_identity():
    """Exactly, for one imagined step, θ_j' = θ_j + α ∇_j V_j(θ):

    ∇_i V_i(θ_i, θ_j') + α (∇_i ∇_j V_j(θ)) ∇_j V_i(θ_i, θ_j').
    """
    gamma, rate, payoff = 0.9, 1.5, jnp.asarray(PAYOFF)
    tables = tuple(jnp.asarray(LOGITS[:, 0]))

    def slope(of, by):
        return jax.grad(lambda *x: start_values(payoff, x, gamma)[of], by)

    @partial(jax.jit, static_argnums=(0, 1))
    def parts(i, j, *tables):
        ahead = list(tables)
        ahead[j] = ahead[j] + rate * slope(j, by=j)(*tables)
        cross = jax.jacfwd(slope(j, by=i), j)(*tables)
        shaped = jnp.tensordot(cross, slope(i, by=j)(*ahead), 2)
        return slope(i, by=i)(*ahead), rate * shaped

    optimizer = optax.sgd(1.0)
    learner = lola_exact(payoff, gamma, optimizer, lookahead_rate=rate)
    params = [{"actor": x, "critic": jnp.zeros(5)} for x in tables]
    states = tuple(LearnerState(p, optimizer.init(p)) for p in params)
    learned, _ = jax.jit(learner.update)(jax.random.key(0), states)
    for i, j in ((0, 1), (1, 0)):
        own, shaped = parts(i, j, *tables)
        moved = learned[i].params["actor"] - tables[i]
        np.testing.assert_allclose(moved, own + shaped, rtol=1e-10, atol=1e-12)
        assert np.abs(shaped).max() > 0.01


def value_of(agent, own, other, gamma, payoff=PAYOFF):
    return short_games.start_values(payoff, jnp.stack([own, other]), gamma)[agent]


def gradient_step(own, other, gamma):
    """∇_j V_j."""
    return jax.grad(lambda x: value_of(1, own, x, gamma))(other)


def natural_step(own, other, gamma, frozen, payoff=PAYOFF):
    """A_j(s, b) for all of the co-player's rows, f[T, S, A], agent i's action averaged
    out; through θ_i beyond the present step alone if `frozen`."""
    both = jnp.stack([own, other])
    action_value, _ = short_games.action_values(payoff, both, gamma)
    now = jax.nn.softmax(jax.lax.stop_gradient(own) if frozen else own)
    q = jnp.einsum("tsab,tsa->tsb", action_value[:, :, 1], now)
    return q - jnp.sum(jax.nn.softmax(other) * q, axis=-1, keepdims=True)


def shaping(step, gamma, payoff=PAYOFF, logits=LOGITS):
    """∇_i [∇_j V_i · Δ_j(θ_i)] for the co-player's step Δ_j = `step(own, other)`: what
    looking ahead adds to agent i's gradient, per α, at first order in α."""

    @jax.jit
    def of(own, other):
        pull = jax.grad(lambda x: value_of(0, own, x, gamma, payoff))(other)
        pull = jax.lax.stop_gradient(pull)
        return jax.grad(lambda x: jnp.vdot(pull, step(x, other)))(own)

    return np.asarray(of(*jnp.asarray(logits)))


@pytest.mark.parametrize("gamma", GAMMAS)
def test_lolas_shaping_in_advantages(gamma):
    """Exactly, and before any assumption: with s the scores and g = ∇_j V_i,

    E[Σ_t γ^t A_j,t (s_i,t Σ_{k≤t} ⟨s_j,k, g⟩ + Σ_{k<t} s_i,k ⟨s_j,t, g⟩)],

    where g = E[Σ_k γ^k A_i,k s_j,k]: pairs of advantages, by the likeness of the
    co-player's scores. The first sum is alignment; the second rewards an agent's past
    actions for the states that they led to.
    """
    play = short_games.play(PAYOFF, LOGITS, gamma)
    discount = gamma ** np.arange(NUM_STEPS)
    g = play.expected(discount * play.advantage[..., 0], agent=1)
    likeness = np.einsum("gtxsa,xsa->gt", play.score[:, :, 1], g)
    paid = discount * play.advantage[..., 1]
    until = np.cumsum(likeness, axis=1)
    after = np.cumsum((paid * likeness)[:, ::-1], axis=1)[:, ::-1] - paid * likeness
    expected = play.expected(paid * until) + play.expected(after)
    actual = shaping(partial(gradient_step, gamma=gamma), gamma)
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    # Plain gradient steps are not alignment: directions differ.
    term = play.expected(np.asarray(alignment_term(play.advantage, gamma, 1.0))[..., 0])
    cosine = np.vdot(actual, term) / np.linalg.norm(actual) / np.linalg.norm(term)
    assert cosine < 0.9


def test_natural_gradients_move_logits_by_advantages():
    """Scores of different actions and states are orthonormal in the co-player's Fisher
    metric, up to the constant of each row that a softmax does not see: F⁺ ∇_j V_j is
    A_j(s, b) in every row that is reached."""
    gamma, play = 0.7, short_games.play(PAYOFF, LOGITS, 0.7)
    own, other = jnp.asarray(LOGITS)
    gradient = np.asarray(jax.jit(gradient_step)(own, other, gamma))
    weight = gamma ** np.arange(NUM_STEPS) * play.chance[:, None]
    scores = play.score[:, :, 1].reshape(*weight.shape, -1)
    fisher = np.einsum("gt,gtx,gty->xy", weight, scores, scores)
    step = (np.linalg.pinv(fisher) @ gradient.ravel()).reshape(gradient.shape)
    moved = np.asarray(natural_step(own, other, gamma, frozen=False))
    reached = np.zeros((NUM_STEPS, 5), bool)
    reached[0, 0] = reached[1:, 1:] = True
    np.testing.assert_allclose(np.diff(step)[reached], np.diff(moved)[reached])


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("frozen", [False, True])
def test_lola_against_natural_gradients_is_alignment(gamma, frozen):
    """Exactly, if the co-player steps along its natural gradient, Δ_j = A_j(s, b):

    E[Σ_t ∇ log π_i,t A_j,t Σ_{k≤t} γ^(t−k) γ^k A_i,k],

    A_i,k that of the co-player's action b_k, the agent's own averaged out. The present,
    k = t, drops out if the co-player judges b_t as though a_t did not move (LOQA's
    current reward). The credit leaves out γ^k, the weight of early steps, as policy
    gradients do; at γ = 1 there is none.
    """
    play = short_games.play(PAYOFF, LOGITS, gamma)
    past = alignment.strict_past if frozen else alignment.inclusive_past
    actual = shaping(partial(natural_step, gamma=gamma, frozen=frozen), gamma)
    discount, served = gamma ** np.arange(NUM_STEPS), play.advantage[..., 1]
    own = discount * play.of_co_players_action
    expected = play.expected(weighted_by_past(past, own, served, gamma))
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    assert np.abs(actual).max() > 0.01
    # With advantages of the joint action, as they are sampled, it is not exact.
    own = discount * play.advantage[..., 0]
    sampled = play.expected(weighted_by_past(past, own, served, gamma))
    assert np.abs(actual - sampled).max() > 0.001


def test_lola_is_the_credit_where_an_agents_own_action_does_not_pay():
    """Exactly `alignment_credit` of advantages as they are sampled, at γ = 1 and β = α,
    if besides A_i,k depends on b_k alone: agent i earns by the co-player's action, and
    the co-player minds its own last action alone."""
    payoff = PAYOFF.copy()
    payoff[0] = PAYOFF[0, :1]
    logits = LOGITS.copy()
    # CC and DC look alike to the co-player, and so do CD and DD.
    logits[1, :, 3:] = logits[1, :, 1:3]
    play = short_games.play(payoff, logits, 1.0)
    np.testing.assert_allclose(
        play.advantage[..., 0], play.of_co_players_action, atol=1e-12
    )
    step = partial(natural_step, gamma=1.0, frozen=True, payoff=payoff)
    actual = shaping(step, 1.0, payoff, logits)
    term = np.asarray(alignment_term(play.advantage, 1.0, 1.0))[..., 0]
    np.testing.assert_allclose(actual, play.expected(term), atol=1e-12)
    assert np.abs(actual).max() > 0.01
