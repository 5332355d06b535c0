"""A critic on the base of the policy: what it says, and what it learns."""

import jax
import numpy as np
import optax
import pytest
from tiny_speech import TINY, tiny_adapters, tiny_hidden

from aajax.dialogue.learning.batch import Place, speech_batch
from aajax.dialogue.learning.critic import make_critic
from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Tokens

TARGET = np.array([[3.0, 0.5], [-1.0, 0.5], [3.0, 9.0], [-1.0, 0.5]], np.float32)


@pytest.fixture(autouse=True)
def standard_promotion():
    """Optax raises a float to an integer power."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def batch():
    """Four seats of two rounds, told A or B; the third has no answer in round 1."""

    def turn(step, letter):
        return Turn(
            step, "", "c", "", True, 1,
            Tokens([258, ord(letter), 260], [60, 257], [0.0] * 2, [0] * 2, [2, 1]),
        )  # fmt: skip

    matches = []
    for m in range(4):
        turns = [turn(0, "AB"[m % 2]), turn(1, "C")]
        if m == 2:
            turns[1] = Turn(1, "")
        matches.append(
            Match(
                "",
                0,
                0,
                0,
                ("m", "m"),
                (0, 0),
                (tuple(turns), ()),
                [],
                [[0.0, 0.0]] * 2,
            )  # fmt: skip
        )
    batch = speech_batch(matches, [Place(m, 0) for m in range(4)])
    assert batch.decisions.tolist() == [[2, 7], [2, 7], [2, -1], [2, 7]]
    return batch


@pytest.fixture(scope="module")
def params(model):
    return model().params


def hidden_at_decisions(params, batch, adapters):
    hidden = np.asarray(tiny_hidden(params, batch, adapters))
    places = np.maximum(batch.decisions, 0)[:, :, None]
    return np.take_along_axis(hidden, places, 1)


def test_a_critic_learns_what_differs(params, batch):
    adapters = tiny_adapters(1)
    critic = make_critic(TINY, optax.adam(0.03), adapters.scale)
    state = critic.init(adapters.weights)
    assert not np.asarray(critic.value(state, params, batch)).any()
    losses = []
    for _ in range(80):
        state, loss = critic.update(state, params, batch, TARGET)
        losses.append(float(loss))
    # Huber's loss of 0: |x| − 1/2, and x²/2 up to 1; seven rounds were answered.
    assert losses[0] == pytest.approx((2 * 2.5 + 2 * 0.5 + 3 * 0.125) / 7, rel=1e-5)
    assert losses[-1] < 1e-3
    value = np.asarray(critic.value(state, params, batch))
    answered = batch.decisions >= 0
    np.testing.assert_allclose(value[answered], TARGET[answered], atol=0.1)
    assert value[2, 1] == 0
    # The adapter has learned too, and the value is of what it reads.
    weights = state.weights
    assert not np.allclose(weights["adapter"]["mlp"]["down"]["b"],
                           adapters.weights["mlp"]["down"]["b"])  # fmt: skip
    tuned = adapters._replace(weights=weights["adapter"])
    hidden = hidden_at_decisions(params, batch, tuned)
    expected = hidden @ np.asarray(weights["head"]) + float(weights["bias"])
    np.testing.assert_allclose(value[answered], expected[answered], atol=1e-4)


def test_a_step_by_hand_in_parts_and_clipped(params, batch):
    """V is 0 at first, so that the head alone has a gradient: Σ δ h / rounds."""
    adapters = tiny_adapters(1)
    optimizer = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    critic = make_critic(TINY, optimizer, adapters.scale, num_microbatches=2)
    state = critic.init(adapters.weights)
    before = jax.device_get(state.weights)
    answered = batch.decisions >= 0
    delta = np.where(answered, np.clip(-TARGET, -1, 1), 0)
    hidden = hidden_at_decisions(params, batch, adapters)
    head, bias = np.einsum("st,std->d", delta, hidden) / 7, delta.sum() / 7
    norm = np.sqrt((head**2).sum() + bias**2)
    assert norm > 0.1
    state, loss = critic.update(state, params, batch, TARGET)
    assert float(loss) == pytest.approx((2 * 2.5 + 2 * 0.5 + 3 * 0.125) / 7, rel=1e-5)
    after = state.weights
    np.testing.assert_allclose(after["head"], -1e-3 * head / norm, atol=1e-7)
    np.testing.assert_allclose(after["bias"], -1e-3 * bias / norm, atol=1e-7)
    jax.tree.map(np.testing.assert_array_equal, after["adapter"], before["adapter"])
    # In parts, values come back in order.
    value = np.asarray(critic.value(state, params, batch))
    expected = hidden @ np.asarray(after["head"]) + float(after["bias"])
    np.testing.assert_allclose(value, np.where(answered, expected, 0), atol=1e-6)


def test_rounds_without_an_answer_teach_nothing(params, batch):
    adapters = tiny_adapters(1)
    critic = make_critic(TINY, optax.adam(0.03), adapters.scale)
    results = []
    for unanswered in (9.0, -50.0):
        target = TARGET.copy()
        target[2, 1] = unanswered
        state = critic.init(adapters.weights)
        state, loss = critic.update(state, params, batch, target)
        results.append((jax.device_get(state.weights), float(loss)))
    jax.tree.map(np.testing.assert_array_equal, *results)
