"""One gradient step: gradient accumulation, optimiser, target network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from aajax.errors import InputError
from aajax.learners.base import LearnerState, Metrics
from aajax.policies.base import Policy
from aajax.types import Array, PRNGKey, PyTree

Loss = Callable[[PyTree, Any], tuple[Array, Metrics]]


def gradient_descent(
    loss: Loss,
    policy: Policy,
    optimizer: optax.GradientTransformation,
    *,
    target_rate: Array | float | None = None,
    num_chunks: int = 1,
) -> tuple[Callable[[PRNGKey], LearnerState], Callable]:
    """A learner's `init`, and a gradient step `(state, batch) -> (state, metrics)`.

    Args:
      loss: `(params, batch) -> (loss, metrics)`, a mean over the batch's games. A batch
        is a named tuple of arrays [T, B, ...] but for its `memory`, [B, ...].
      policy: that is trained.
      optimizer: of the parameters.
      target_rate: τ of a target network, updated after every step to
        (1 − τ) target + τ critic; rollouts then record its values in place of the
        critic's. None for no target network.
      num_chunks: gradient accumulation: number of parts of the batch whose gradients
        are computed in sequence and averaged, for the same step in less memory. Must
        divide the number of games.

    Raises:
      InputError: if `num_chunks` does not divide the number of games.
    """

    def critic_of(params):
        if policy.critic_branch is None:
            raise InputError("policy is scripted: one that learns is needed")
        return policy.critic_branch(params)

    def init(key: PRNGKey) -> LearnerState:
        params = policy.init(key)
        target = None if target_rate is None else critic_of(params)
        return LearnerState(params, optimizer.init(params), target)

    def gradient_of(params, batch):
        return jax.grad(loss, has_aux=True)(params, batch)

    def chunked_gradient(params, batch):
        def add(total, chunk):
            part = gradient_of(params, chunk)
            return jax.tree.map(lambda x, y: x + y / num_chunks, total, part), None

        num_games = batch.last.shape[1]
        chunks = split_games(batch, jnp.arange(num_games), num_chunks, "num_chunks")
        shapes = jax.eval_shape(
            gradient_of, params, jax.tree.map(lambda x: x[0], chunks)
        )
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, chunks)[0]

    def descend(state: LearnerState, batch) -> tuple[LearnerState, Metrics]:
        gradient, metrics = (gradient_of if num_chunks == 1 else chunked_gradient)(
            state.params, batch
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        params = optax.apply_updates(state.params, updates)
        target = state.target
        if target is not None and target_rate is not None:
            target = optax.incremental_update(critic_of(params), target, target_rate)
        return state._replace(
            params=params, opt_state=opt_state, target=target
        ), metrics

    return init, descend


def split_games(batch, order: Array, num_parts: int, name: str):
    """Permutes the games of a batch by `order` and splits them on a new leading axis.

    Raises:
      InputError: if `num_parts`, called `name`, does not divide the number of games.
    """
    num_games = batch.last.shape[1]
    if num_games % num_parts:
        raise InputError(
            f"{name} is {num_parts}: a divisor of the {num_games} games is needed"
        )

    def split(axis):
        def split_leaf(x):
            x = jnp.take(x, order, axis)
            shape = (*x.shape[:axis], num_parts, -1, *x.shape[axis + 1 :])
            return jnp.moveaxis(x.reshape(shape), axis, 0)

        return split_leaf

    parts = jax.tree.map(split(1), batch._replace(memory=()))
    return parts._replace(memory=jax.tree.map(split(0), batch.memory))
