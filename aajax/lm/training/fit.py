"""Training steps of a decoder: of all weights, or of LoRA adapters on a frozen base.

A loss returns a sum and its divisor separately, so that gradient accumulation over
micro-batches gives exactly the gradient of the whole batch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from aajax.errors import InputError
from aajax.lm.mesh.sharding import batch_shardings, param_shardings
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters, forward
from aajax.lm.model.precision import MatmulPrecision, matmuls_in
from aajax.lm.training import scoring
from aajax.types import AnyArray, Array, PyTree


class Sums(NamedTuple):
    """A loss total / weight, before the division.

    Attributes:
      total: f32[], differentiated.
      weight: f32[], not differentiated; positive over the whole batch.
      metrics: f32[] each, sums that are also divided by `weight`.
    """

    total: Array
    weight: Array
    metrics: dict[str, Array]


# loss(config, params, batch, adapters, *, dtype, remat) of a batch of arrays [B, ...].
Loss = Callable[..., Sums]


class TokenBatch(NamedTuple):
    """A batch for `token_loss`.

    Attributes:
      tokens: i32[B, L].
      positions: i32[B, L], −1 for padding.
      targets: i32[B, L], the token that follows each; −1 for padding.
      weights: f32[B, L], of each target; 0 leaves it out.
      adapter_id: i32[B], which adapter a sequence takes, −1 for none; only read with
        adapters.
      state: of [B, L, ...], for `allowed` of `scoring.score`.
    """

    tokens: AnyArray
    positions: AnyArray
    targets: AnyArray
    weights: AnyArray
    adapter_id: AnyArray | None = None
    state: PyTree = None


class FitState(NamedTuple):
    """State of training.

    Attributes:
      weights: params of the decoder, or `Adapters.weights`.
      optimizer: its state.
      step: i32[], steps done.
    """

    weights: PyTree
    optimizer: PyTree
    step: Array


@dataclasses.dataclass(frozen=True)
class Fit:
    """Training as a pair of functions.

    Attributes:
      init: weights → FitState; the weights are copied.
      update: (state, batch, params=None, scale=None, rate=None) → (state, metrics),
        compiled; the state is donated. `params`, the frozen base, and `scale`, f32[n],
        are needed only if adapters are trained. `rate`, f32[], multiplies the
        optimiser's change, so that one program has many learning rates. Metrics are
        f32[]: loss, weight, gradient_norm (before the optimiser's clipping), and those
        of the loss.
    """

    init: Callable[[PyTree], FitState]
    update: Callable[..., tuple[FitState, dict[str, Array]]]


def token_loss(
    config: DecoderConfig,
    params: PyTree,
    batch: TokenBatch,
    adapters: Adapters | None = None,
    *,
    dtype: jnp.dtype = jnp.float32,
    remat: bool = False,
    **options: Any,
) -> Sums:
    """−Σ w log π(target) / Σ w over all tokens of all sequences.

    Args:
      config: static.
      params: of the decoder.
      batch: tokens and their weights.
      adapters: which each sequence's `adapter_id` names.
      dtype, remat: of `forward`.
      options: of `scoring.score`: temperature, allowed, chunk_size.

    Returns:
      The sums, with the metric `entropy`, Σ w H(π).
    """
    adapter_id = None if adapters is None else batch.adapter_id
    hidden, _ = forward(
        config, params, batch.tokens, batch.positions, None, adapters, adapter_id,
        dtype=dtype, remat=remat,
    )  # fmt: skip
    scores = scoring.score(
        config, params, hidden, batch.targets, state=batch.state, **options
    )
    # A target that is left out may be a forbidden one, and 0 · −∞ is NaN.
    kept = batch.weights != 0
    log_prob = jnp.where(kept, scores.log_prob, 0.0)
    entropy = jnp.where(kept, jax.lax.stop_gradient(scores.entropy), 0.0)
    return Sums(
        total=-jnp.sum(batch.weights * log_prob),
        weight=jnp.sum(batch.weights),
        metrics={"entropy": jnp.sum(batch.weights * entropy)},
    )


def make_step(
    config: DecoderConfig,
    optimizer: optax.GradientTransformation,
    loss: Loss = token_loss,
    *,
    adapters: bool = False,
    num_microbatches: int = 1,
    mesh: Mesh | None = None,
    matmul_precision: MatmulPrecision | None = None,
    **options: Any,
) -> Fit:
    """Makes a gradient step on Σ total / Σ weight.

    Args:
      config: static.
      optimizer: includes gradient clipping and schedules, as in
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-5)).
      loss: called as loss(config, params, batch, adapters, dtype=, remat=).
      adapters: whether adapters are trained on a frozen base, instead of all params.
      num_microbatches: m, for gradient accumulation; micro-batch k has the sequences
        k, k + m, k + 2m, ..., so that none moves to another device.
      mesh: weights are sharded over it by `param_shardings`, batches by
        `batch_shardings`; arrays with other shardings are moved.
      matmul_precision: of products, see `precision.matmuls_in`; None for JAX's own.
      **options: of `forward`: dtype, float32 by default, and remat.

    Returns:
      The pair. `update` raises InputError for a batch that does not divide into
      micro-batches, and for a base that is given or missing against `adapters`.

    Raises:
      InputError: for less than one micro-batch.
    """
    if num_microbatches < 1:
        raise InputError(
            f"num_microbatches is {num_microbatches}: at least 1 is needed"
        )

    step = _Step(
        config=config,
        optimizer=optimizer,
        loss=loss,
        adapters=adapters,
        num_microbatches=num_microbatches,
        mesh=mesh,
        matmul_precision=matmul_precision,
        options={"dtype": jnp.float32, "remat": False} | options,
    )
    return Fit(step.init, jax.jit(step.update, donate_argnums=0))


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """The parts of `make_step`, put together."""

    config: DecoderConfig
    optimizer: optax.GradientTransformation
    loss: Loss
    adapters: bool
    num_microbatches: int
    mesh: Mesh | None
    matmul_precision: MatmulPrecision | None
    options: dict[str, Any]

    def init(self, weights: PyTree) -> FitState:
        def begin(weights):
            # A copy: `update` consumes its buffers, which are the caller's.
            weights = jax.tree.map(jnp.copy, weights)
            zero = jnp.zeros((), jnp.int32)
            return FitState(weights, self.optimizer.init(weights), zero)

        shardings = None
        if self.mesh is not None:
            shardings = param_shardings(self.mesh, jax.eval_shape(begin, weights))
        return jax.jit(begin, out_shardings=shardings)(weights)

    def total(self, weights, batch, params, scale):
        if self.adapters:
            tuned = Adapters(weights, scale)
            sums = self.loss(self.config, params, batch, tuned, **self.options)
        else:
            sums = self.loss(self.config, weights, batch, None, **self.options)
        return sums.total, sums

    def accumulate(self, state, batch, params, scale):
        """Gradient of the total and sums, over the micro-batches."""

        def part(micro):
            micro = _placed(self.mesh, batch_shardings, micro)
            gradient, sums = jax.grad(self.total, has_aux=True)(
                state.weights, micro, params, scale
            )
            return _placed(self.mesh, param_shardings, gradient), sums

        if self.num_microbatches == 1:
            return part(batch)

        def add(carry, micro):
            return jax.tree.map(jnp.add, carry, part(micro)), None

        parts = _split(batch, self.num_microbatches)
        shapes = jax.eval_shape(part, jax.tree.map(lambda x: x[0], parts))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, parts)[0]

    def update(self, state, batch, params=None, scale=None, rate=None):
        if self.adapters != (params is not None and scale is not None):
            given = "None" if params is None else "given"
            needed = "a base with scale is" if self.adapters else "None is"
            raise InputError(
                f"params is {given}: {needed} needed with adapters={self.adapters}"
            )
        if self.mesh is not None:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return self.placed_update(state, batch, params, scale, rate)
        return self.placed_update(state, batch, params, scale, rate)

    def placed_update(self, state, batch, params, scale, rate):
        state = _placed(self.mesh, param_shardings, state)
        params = _placed(self.mesh, param_shardings, params)
        with matmuls_in(self.matmul_precision):
            gradient, sums = self.accumulate(state, batch, params, scale)
        weight = jax.lax.stop_gradient(sums.weight)
        gradient = jax.tree.map(lambda g: g / weight.astype(g.dtype), gradient)
        change, inner = self.optimizer.update(gradient, state.optimizer, state.weights)
        if rate is not None:
            change = jax.tree.map(lambda x: x * rate.astype(x.dtype), change)
        weights = optax.apply_updates(state.weights, change)
        metrics = {
            **{name: value / weight for name, value in sums.metrics.items()},
            "loss": sums.total / weight,
            "weight": weight,
            "gradient_norm": optax.tree.norm(gradient),
        }
        after = FitState(weights, inner, state.step + 1)
        return _placed(self.mesh, param_shardings, after), metrics


def _split(batch: PyTree, count: int) -> PyTree:
    """[B, ...] → [count, B / count, ...]."""

    def split(x: Array) -> Array:
        if x.shape[0] % count:
            raise InputError(
                f"batch is {x.shape[0]} sequences: a multiple of the {count} "
                "micro-batches is needed"
            )
        return x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, batch)


def _placed(mesh: Mesh | None, shardings: Callable, tree: PyTree) -> PyTree:
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, shardings(mesh, tree))
