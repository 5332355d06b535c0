"""A critic: a separate LoRA adapter on the policy's base model, and a linear head.

    V = w · h + b,   L = Σ Huber(V − target) / number of rounds

where h is the hidden state of the last prompt token before a seat's first answer in a
round.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from aajax.dialogue.learning.batch import SpeechBatch
from aajax.dialogue.learning.learner import read_batch
from aajax.lm.mesh.sharding import batch_shardings, param_shardings
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters
from aajax.lm.model.precision import MatmulPrecision, matmuls_in
from aajax.types import Array, PyTree


class CriticState(NamedTuple):
    """State of the critic.

    Attributes:
      weights: "adapter", that of one adapter; "head" f32[D] and "bias" f32[].
      optimizer: its state.
    """

    weights: PyTree
    optimizer: PyTree


class Critic(NamedTuple):
    """A critic as functions, compiled.

    Attributes:
      init: adapter weights → state.
      value: (state, params, batch) → f32[S, T], 0 where a seat did not answer.
      update: (state, params, batch, target f32[S, T], rate=None) → (state, loss f32[]);
        the state given is consumed. `rate`, f32[], multiplies the optimiser's change,
        so that one program has many learning rates.
    """

    init: Callable[[PyTree], CriticState]
    value: Callable[[CriticState, PyTree, SpeechBatch], Array]
    update: Callable[..., tuple[CriticState, Array]]


def make_critic(
    config: DecoderConfig,
    optimizer: optax.GradientTransformation,
    scale: Array,
    *,
    num_microbatches: int = 1,
    mesh: Mesh | None = None,
    dtype: jnp.dtype = jnp.float32,
    matmul_precision: MatmulPrecision | None = None,
    remat: bool = False,
) -> Critic:
    """A critic of a decoder.

    Args:
      config: static.
      optimizer: of its weights.
      scale: f32[1], of its adapter.
      num_microbatches: parts of a batch, one after the other.
      mesh: on which params and adapters lie as `param_shardings` says, batches and
        values as `batch_shardings` does.
      dtype, remat: of `forward`.
      matmul_precision: of products, see `precision.matmuls_in`; None for JAX's own.
    """

    parts = _CriticParts(
        config=config,
        optimizer=optimizer,
        scale=scale,
        num_microbatches=num_microbatches,
        mesh=mesh,
        matmul_precision=matmul_precision,
        options={"dtype": dtype, "remat": remat},
    )
    return Critic(
        parts.init,
        jax.jit(_on_mesh(mesh, parts.value)),
        jax.jit(_on_mesh(mesh, parts.update), donate_argnums=0),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _CriticParts:
    """The parts of `make_critic`, put together."""

    config: DecoderConfig
    optimizer: optax.GradientTransformation
    scale: Array
    num_microbatches: int
    mesh: Mesh | None
    matmul_precision: MatmulPrecision | None
    options: dict[str, Any]

    def values(self, weights: PyTree, params: PyTree, batch: SpeechBatch) -> Array:
        """V before each round of each sequence, f32[S, T]."""
        adapters = Adapters(weights["adapter"], self.scale)
        with matmuls_in(self.matmul_precision):
            hidden = read_batch(self.config, params, batch, adapters, **self.options)
        places = jnp.maximum(batch.decisions, 0)[:, :, None]
        hidden = jnp.take_along_axis(hidden, places, axis=1).astype(jnp.float32)
        value = hidden @ weights["head"] + weights["bias"]
        return jnp.where(batch.decisions >= 0, value, 0.0)

    def begin(self, adapter: PyTree) -> CriticState:
        """A copy of the adapter, and a head that values everything at 0."""
        weights = {
            "adapter": jax.tree.map(jnp.copy, adapter),
            "head": jnp.zeros(self.config.hidden_size, jnp.float32),
            "bias": jnp.zeros((), jnp.float32),
        }
        return CriticState(weights, self.optimizer.init(weights))

    def init(self, adapter: PyTree) -> CriticState:
        if self.mesh is None:
            return self.begin(adapter)
        shardings = param_shardings(self.mesh, jax.eval_shape(self.begin, adapter))
        return jax.jit(self.begin, out_shardings=shardings)(adapter)

    def placed(self, tree: PyTree, shardings: Callable = batch_shardings) -> PyTree:
        if self.mesh is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, shardings(self.mesh, tree))

    def value(self, state: CriticState, params: PyTree, batch: SpeechBatch) -> Array:
        parts = _split(batch, self.num_microbatches)
        each = jax.lax.map(
            lambda part: self.values(state.weights, params, self.placed(part)), parts
        )
        return self.placed(_join(each))

    def loss(self, weights: PyTree, params: PyTree, batch: SpeechBatch, target: Array):
        error = optax.losses.huber_loss(self.values(weights, params, batch), target)
        return jnp.sum(jnp.where(batch.decisions >= 0, error, 0.0))

    def update(
        self,
        state: CriticState,
        params: PyTree,
        batch: SpeechBatch,
        target: Array,
        rate: Array | None = None,
    ) -> tuple[CriticState, Array]:
        """One step of the optimiser, on gradients summed over micro-batches."""

        def add(total, part):
            found = jax.value_and_grad(self.loss)(
                state.weights, params, *self.placed(part)
            )
            return jax.tree.map(jnp.add, total, found), None

        zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.weights)
        parts = _split((batch, target), self.num_microbatches)
        (total, gradient), _ = jax.lax.scan(add, zero, parts)
        count = jnp.maximum(jnp.sum(batch.decisions >= 0), 1).astype(jnp.float32)
        gradient = jax.tree.map(lambda x: x / count, gradient)
        change, inner = self.optimizer.update(gradient, state.optimizer, state.weights)
        if rate is not None:
            change = jax.tree.map(lambda x: x * rate.astype(x.dtype), change)
        weights = optax.apply_updates(state.weights, change)
        after = self.placed(CriticState(weights, inner), param_shardings)
        return after, total / count


def _on_mesh(mesh: Mesh | None, function: Callable) -> Callable:
    """The function, traced with the mesh in use."""

    @functools.wraps(function)
    def traced(*arguments):
        if mesh is None:
            return function(*arguments)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return traced


def _split(tree: PyTree, count: int) -> PyTree:
    """[S, ...] → [count, S / count, ...], sequence k going to part k mod count."""

    def split(x: Array) -> Array:
        return x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, tree)


def _join(x: Array) -> Array:
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])
