"""The loss of what was said, and its gradient, derived by hand and summed in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_speech import TINY, tiny_adapters, tiny_hidden

from aajax import lm
from aajax.dialogue.learning.batch import Place, speech_batch
from aajax.dialogue.learning.learner import SpeechLoss, speech_loss
from aajax.dialogue.play.matches import Match, Turn
from aajax.dialogue.players.base import Tokens
from aajax.lm.sampling.grammar import next_state
from aajax.lm.training.fit import make_step
from aajax.ops.surrogate import kl_k3_reverse

DONE, VOCAB = 257, TINY.vocab_size
ANSWERS = ("<A>", "<B>")
# What two rounds of four seats say; True: under the grammar.
SAID = [
    [("<A>", True, True), ("<B>", False, True)],
    [("<B>", True, True), ("xy", False, False)],
    [("<", False, True), ("<A>", True, True)],
    [("<B>", True, True), ("<B>", True, True)],
]
FULL = SpeechLoss(ratio_cap=1.2, kl=0.3, entropy=0.2, temperature=1.3)


def answer(model, step, text, in_grammar, ends):
    """A turn, and for each of its tokens which ones were allowed, bool[V]."""
    ids = [*text.encode(), *[DONE] * ends]
    state, states, masks = np.int32(0), [], []
    if in_grammar:
        state = np.int32(model.starts["|".join(ANSWERS)])
    for i, token in enumerate(ids):
        states.append(int(state))
        state = np.asarray(next_state(model.grammar, state, np.int32(token)))
        mask = np.zeros(VOCAB, bool)
        if in_grammar:
            whole = [one for one in ANSWERS if one.startswith(text[:i])]
            for one in whole:
                mask[ord(one[i]) if i < len(one) else DONE] = True
        else:
            mask[[*range(256), DONE]] = True
        assert mask[token]
        masks.append(mask)
    prompt = [258 + step, *f"go {step}".encode(), 260]
    count = len(ids)
    tokens = Tokens(prompt, ids, [0.0] * count, states, list(range(9, 9 - count, -1)))
    return Turn(step, "", "choice", text, True, 1, tokens), masks


@pytest.fixture(scope="module")
def task(model):
    """Everything about four seats' tokens: batch, masks, logits, and the pull-back."""
    player, matches, masks = model(), [], []
    for seat in SAID:
        turns, allowed = [], []
        for step, said in enumerate(seat):
            turn, own = answer(player, step, *said)
            turns.append(turn)
            allowed += own
        masks.append(allowed)
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
    credit = np.random.default_rng(0).normal(size=(4, 2, 2)).astype(np.float32)
    batch = speech_batch(matches, [Place(m, 0) for m in range(4)], credit)
    params, adapters = player.params, tiny_adapters(1)

    def logits(weights):
        hidden = tiny_hidden(params, batch, adapters._replace(weights=weights))
        hidden = jnp.take_along_axis(hidden, batch.places[:, :, None], 1)
        return lm.logits(TINY, params, hidden)

    found, pull_back = jax.vjp(logits, adapters.weights)
    hidden = np.asarray(tiny_hidden(params, batch))
    hidden = np.take_along_axis(hidden, batch.places[:, :, None], 1)
    base = hidden @ np.asarray(params["head"]).T
    # What it was sampled with differs from what it is by e⁻¹ to e.
    noise = np.random.default_rng(1).uniform(-1, 1, batch.targets.shape)
    log_prob = np.zeros(batch.targets.shape)
    for s, k in zip(*np.nonzero(batch.targets >= 0), strict=True):
        own = masked(np.asarray(found)[s, k], masks[s][k], FULL.temperature)
        log_prob[s, k] = np.log(own[batch.targets[s, k]]) + noise[s, k]
    batch = batch._replace(log_prob=log_prob.astype(np.float32))
    return player, batch, masks, adapters, np.asarray(found), base, pull_back


def masked(logits, mask, temperature):
    """The probabilities, in float64, of those that are allowed."""
    score = np.where(mask, logits.astype(np.float64) / temperature, -np.inf)
    score = np.exp(score - score.max())
    return score / score.sum()


def by_hand(weights, batch, masks, logits, base):
    """The sums of the loss and its metrics, and the slope along the logits, of all."""
    sums = dict.fromkeys(
        ("loss", "log_prob", "entropy", "ratio", "clipped", "kl", "policy_loss"), 0.0
    )
    slope = np.zeros(logits.shape)
    count = 0
    for s, k in zip(*np.nonzero(batch.targets >= 0), strict=True):
        target, paid = batch.targets[s, k], float(batch.credit[s, k])
        prob = masked(logits[s, k], masks[s][k], weights.temperature)
        reference = masked(base[s, k], masks[s][k], weights.temperature)
        inside = prob > 0
        log_prob = np.log(prob[target])
        entropy = -np.sum(prob[inside] * np.log(prob[inside]))
        ratio = np.exp(log_prob - float(batch.log_prob[s, k]))
        capped = min(ratio, weights.ratio_cap)
        far = np.log(reference[target]) - log_prob
        kl = np.exp(far) - 1 - far
        count += 1
        for name, value in {
            "loss": -capped * paid * log_prob + weights.kl * capped * kl
            - weights.entropy * entropy,
            "log_prob": log_prob, "entropy": entropy, "ratio": ratio,
            "clipped": ratio > weights.ratio_cap, "kl": kl,
            "policy_loss": -capped * paid * log_prob,
        }.items():  # fmt: skip
            sums[name] += value
        # d log π(v) / d logit_u = [u = v] − π(u);  dH / d logit = −π (log π + H).
        pull = -far if weights.divergence is kl_k3_reverse else 1 - np.exp(far)
        along = weights.kl * capped * pull - capped * paid
        one_hot = np.arange(VOCAB) == target
        log_probs = np.log(np.where(inside, prob, 1.0))
        slope[s, k] = along * (one_hot - prob)
        slope[s, k] += weights.entropy * prob * (log_probs + entropy)
    return (
        {name: value / count for name, value in sums.items()},
        (slope / count / weights.temperature).astype(np.float32),
        count,
    )


def step(task, weights, batch, num_microbatches=1):
    """Metrics, and the gradient: a step of length 1."""
    player, _, _, adapters, *_ = task
    loss = speech_loss(weights, player.grammar, jnp.asarray(player.stop))
    fit = make_step(
        TINY, optax.sgd(1.0), loss, adapters=True, num_microbatches=num_microbatches
    )

    def run(batch):
        state = fit.init(adapters.weights)
        state, metrics = fit.update(state, batch, player.params, adapters.scale)
        moved = jax.tree.map(jnp.subtract, adapters.weights, state.weights)
        return moved, jax.device_get(metrics)

    return run if batch is None else run(batch)


def size(tree):
    return max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree))


def assert_close(found, expected, relative=1e-4):
    most = size(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=relative * most)


@pytest.fixture(scope="module")
def whole(task):
    return step(task, FULL, task[1])


def test_loss_and_gradient_by_hand(task, whole):
    _, batch, masks, _, logits, base, pull_back = task
    gradient, metrics = whole
    sums, slope, count = by_hand(FULL, batch, masks, logits, base)
    assert metrics["weight"] == count == 4 + 4 + 4 + 2 + 2 + 4 + 4 + 4
    for name, expected in sums.items():
        assert metrics[name] == pytest.approx(expected, rel=1e-4, abs=1e-5), name
    # Everything that the loss is made of is there.
    assert 0 < sums["clipped"] < 1
    assert sums["kl"] > 0.01
    (expected,) = pull_back(slope)
    assert size(expected) > 1e-3
    assert_close(gradient, expected)


def test_the_other_penalty_is_worth_as_much_and_pulls_elsewhere(task, whole):
    _, batch, masks, _, logits, base, pull_back = task
    other = dataclasses.replace(FULL, divergence=kl_k3_reverse)
    gradient, metrics = step(task, other, batch)
    for name, value in whole[1].items():
        if name != "gradient_norm":
            assert metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    (expected,) = pull_back(by_hand(other, batch, masks, logits, base)[1])
    assert_close(gradient, expected)
    difference = jax.tree.map(lambda x, y: x - y, gradient, whole[0])
    assert size(difference) > 1e-4


@pytest.mark.parametrize("name", ["kl", "entropy"])
def test_a_scale_multiplies_its_weight(task, name):
    batch = task[1]
    less = dataclasses.replace(FULL, **{name: 0.25 * getattr(FULL, name)})
    quarter = np.full(len(batch.tokens), 0.25, np.float32)
    found, metrics = step(task, FULL, batch._replace(**{f"{name}_scale": quarter}))
    expected, plain = step(task, less, batch)
    assert metrics["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert_close(found, expected)


def test_the_slope_by_hand_is_that_of_the_loss_by_hand(task):
    """By differences, the ratio held as it is."""
    _, batch, masks, _, logits, base, _ = task
    weights = SpeechLoss(ratio_cap=1e-9, kl=0.0, entropy=0.2, temperature=1.3)
    _, slope, _ = by_hand(weights, batch, masks, logits, base)
    direction = np.random.default_rng(2).normal(size=logits.shape)

    def loss(size):
        moved = logits + size * direction
        return by_hand(weights, batch, masks, moved, base)[0]["loss"]

    difference = (loss(1e-4) - loss(-1e-4)) / 2e-4
    assert np.sum(slope * direction) == pytest.approx(difference, rel=1e-3)


def test_micro_batches_are_the_whole_batch(task, whole):
    gradient, metrics = step(task, FULL, task[1], num_microbatches=2)
    assert_close(gradient, whole[0], 1e-5)
    for name, value in whole[1].items():
        assert metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name


def test_what_moves_nothing(task):
    _, batch, masks, _, logits, base, pull_back = task
    plain = SpeechLoss(temperature=1.3)
    run = step(task, plain, None)
    gradient, metrics = run(batch._replace(credit=np.zeros_like(batch.credit)))
    assert size(gradient) == 0
    assert metrics["loss"] == metrics["kl"] == 0
    # Where the grammar leaves one token there is nothing to learn, whatever is paid.
    forced = np.zeros(batch.credit.shape, np.float32)
    for s, own in enumerate(masks):
        forced[s, : len(own)] = [5.0 if mask.sum() == 1 else 0.0 for mask in own]
    assert (forced > 0).sum() == 3 * 5
    assert size(run(batch._replace(credit=forced))[0]) < 1e-7
    # The letters alone: the tokens that were forced count in the mean all the same.
    letters = np.where(forced > 0, np.float32(0), batch.credit)
    gradient, metrics = run(batch._replace(credit=letters))
    batch = batch._replace(credit=letters)
    sums, slope, _ = by_hand(plain, batch, masks, logits, base)
    assert metrics["loss"] == pytest.approx(sums["loss"], rel=1e-4)
    (expected,) = pull_back(slope)
    assert_close(gradient, expected)
    assert size(gradient) > 1e-3
