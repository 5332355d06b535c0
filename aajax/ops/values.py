"""Value losses, per entry."""

import chex
import jax.numpy as jnp
from optax import losses

from aajax.types import Array


def squared(value: Array, target: Array) -> Array:
    """½ (v − target)²: squared error."""
    return losses.squared_error(value, target) / 2


def huber(value: Array, target: Array, delta: float = 1.0) -> Array:
    """½ e² within |e| ≤ δ, and δ (|e| − δ/2) beyond, with e = v − target."""
    return losses.huber_loss(value, target, delta=delta)


def clipped(value: Array, behaviour_value: Array, target: Array, clip: float) -> Array:
    """½ max((v − target)², (v_clip − target)²), v_clip = v within ±clip of v_old.

    The clipped value loss of PPO's reference code; v_old is the estimate recorded when
    the data were collected.
    """
    chex.assert_equal_shape([value, behaviour_value, target])
    bounded = behaviour_value + jnp.clip(value - behaviour_value, -clip, clip)
    return jnp.maximum(squared(value, target), squared(bounded, target))
