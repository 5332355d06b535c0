"""Learners that differentiate through what their co-player learns: LOLA and POLA.

Each of two agents climbs an objective in which its co-player has already taken a few
gradient steps, and differentiates through these steps. Both may be held near the
policies that the update began with. In one update, agent i goes N times

    θ_i ← θ_i + step of the optimizer along ∇_{θ_i} [V_i(θ_i, ψ_K) − b_out D_i(θ_i)],
    ψ_{k+1} = ψ_k + α ∇_ψ [V_j(θ_i, ψ_k) − b_in D_j(ψ_k)],   ψ_0 = θ_j,

where θ_j stays what it was before the update, and D is a divergence from the policies
before the update. Both agents learn at once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from aajax.errors import InputError
from aajax.learners.base import LearnerState, Metrics
from aajax.types import Array, PRNGKey, PyTree, Trajectory

Pair = tuple[PyTree, PyTree]  # parameters of both players
Play = Callable[[PRNGKey, Pair], Trajectory]


class Outcome(NamedTuple):
    """What a pair of players comes to, differentiable throughout.

    Attributes:
      value: f[2], what each is to climb.
      divergence: f[2], how far each is from its reference; 0 where none is measured.
      reward: f[2], per step.
    """

    value: Array
    divergence: Array
    reward: Array


Outcomes = Callable[[PRNGKey, Pair, Pair], Outcome]  # (key, pair, reference)


class JointLearner(NamedTuple):
    """A learning algorithm that updates all agents at once and plays the games itself.

    Attributes:
      init: `key -> states`, one LearnerState per agent.
      update: `(key, states) -> (states, metrics)`, metrics being scalars by name.
    """

    init: Callable[[PRNGKey], tuple[LearnerState, ...]]
    update: Callable[
        [PRNGKey, tuple[LearnerState, ...]], tuple[tuple[LearnerState, ...], Metrics]
    ]


class Lookahead(NamedTuple):
    """The co-player's imagined steps.

    Attributes:
      rate: α, step size of gradient ascent; 0 for naive learning.
      num_steps: K.
      penalty: b_in, weight of the co-player's divergence.
    """

    rate: Array | float
    num_steps: int = 1
    penalty: Array | float = 0.0


class Outer(NamedTuple):
    """An agent's own steps in one update.

    Attributes:
      optimizer: of its parameters.
      num_steps: N, or None for a single step with the optimizer's state carried from
        update to update; else it begins anew in every update.
      penalty: b_out, weight of the agent's divergence.
    """

    optimizer: optax.GradientTransformation
    num_steps: int | None = None
    penalty: Array | float = 0.0


def joint_learner(
    inits: Sequence[Callable[[PRNGKey], PyTree]],
    outcomes: Outcomes,
    lookahead: Lookahead,
    outer: Outer,
) -> JointLearner:
    """Two agents that learn as above.

    The metric `reward` is that of the policies which the update began with, and
    `gradient_norm` that of an agent's first step.

    Args:
      inits: `key -> params` of either agent.
      outcomes: `(key, pair, reference) -> Outcome`.
      lookahead: the co-player's imagined steps.
      outer: the agent's own.

    Raises:
      InputError: if a number of steps is out of range.
    """
    if lookahead.num_steps < 0:
        raise InputError(
            f"num_lookahead is {lookahead.num_steps}: at least 0 is needed"
        )
    if outer.num_steps is not None and outer.num_steps < 1:
        raise InputError(f"num_outer is {outer.num_steps}: at least 1 is needed")

    def init(key: PRNGKey) -> tuple[LearnerState, ...]:
        keys = jax.random.split(key, 2)
        params = [draw(k) for draw, k in zip(inits, keys, strict=True)]
        return tuple(LearnerState(p, outer.optimizer.init(p)) for p in params)

    def ascend(
        key: PRNGKey, state: LearnerState, agent: int, pair: Pair
    ) -> tuple[LearnerState, tuple[Array, Array]]:
        """One step of an agent's own, with rewards and the gradient's norm."""
        gradient, reward = jax.grad(_after_learning, argnums=1, has_aux=True)(
            key, state.params, agent, pair, outcomes, lookahead, outer.penalty
        )
        # Optimisers descend.
        descent = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = outer.optimizer.update(
            descent, state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        return LearnerState(params, opt_state), (reward, optax.tree.norm(gradient))

    def climb(key: PRNGKey, states: Sequence[LearnerState], agent: int):
        state, pair = states[agent], (states[0].params, states[1].params)
        if outer.num_steps is None:
            return ascend(key, state, agent, pair)
        fresh = LearnerState(state.params, outer.optimizer.init(state.params))
        keys = jax.random.split(key, outer.num_steps)
        climbed, numbers = jax.lax.scan(
            lambda state, key: ascend(key, state, agent, pair), fresh, keys
        )
        return climbed, jax.tree.map(lambda x: x[0], numbers)

    def update(key: PRNGKey, states: tuple[LearnerState, ...]):
        keys = jax.random.split(key, 2)
        learned, numbers = zip(
            *(climb(keys[i], states, i) for i in range(2)), strict=True
        )
        reward = (numbers[0][0] + numbers[1][0]) / 2
        metrics = {"reward": jnp.mean(reward)}
        for i in range(2):
            metrics[f"learner_{i}/reward"] = reward[i]
            metrics[f"learner_{i}/gradient_norm"] = numbers[i][1]
        return learned, metrics

    return JointLearner(init, update)


def _after_learning(
    key: PRNGKey,
    own: PyTree,
    agent: int,
    pair: Pair,
    outcomes: Outcomes,
    lookahead: Lookahead,
    penalty: Array | float,
) -> tuple[Array, Array]:
    """The agent's objective after the co-player's imagined steps, and rewards f[2].

    Rewards are those before these steps. `pair` is the reference.
    """
    keys = jax.random.split(key, lookahead.num_steps + 1)
    other, rewards = pair[1 - agent], []

    def of(whose: int, other: PyTree, key: PRNGKey, penalty) -> tuple[Array, Array]:
        seats = (own, other) if agent == 0 else (other, own)
        outcome = outcomes(key, seats, jax.lax.stop_gradient(pair))
        objective = outcome.value[whose] - penalty * outcome.divergence[whose]
        return objective, outcome.reward

    for step in range(lookahead.num_steps):
        slope, reward = jax.grad(of, argnums=1, has_aux=True)(
            1 - agent, other, keys[step], lookahead.penalty
        )
        rewards.append(reward)
        other = jax.tree.map(lambda x, dx: x + lookahead.rate * dx, other, slope)
    objective, reward = of(agent, other, keys[-1], penalty)
    return objective, (*rewards, reward)[0]
