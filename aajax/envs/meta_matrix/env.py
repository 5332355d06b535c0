"""A matrix game as a meta-game: in each step, one sets a policy against a learner's.

An action is a whole memory-one policy of the iterated prisoner's dilemma. It is played
for an infinite game against the policy of a naive learner, who then takes one step of
its own,

    ψ ← ψ + α ∇_ψ V_2(θ, ψ),

with exact values. Whoever chooses θ anew in each step can shape what ψ becomes: Model-
Free Opponent Shaping (M-FOS, https://arxiv.org/abs/2205.01447) is plain policy gradient
in this game.

Differs from the published code: logits are bounded.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Box, environment, in_window, static
from aajax.envs.matrix.env import prisoners_dilemma
from aajax.errors import InputError
from aajax.ops import memory_one
from aajax.schema import Range
from aajax.types import Array, PRNGKey, TimeStep

NUM_STATES = 5  # START, CC, CD, DC, DD, one's own action first
LIMIT = 10.0  # of logits: probabilities from 4.5e-5 to 1 − 4.5e-5
# A state of the game as each player numbers it.
_VIEWS = np.array([[0, 1, 2, 3, 4], [0, 1, 3, 2, 4]])


class MetaState(NamedTuple):
    """The naive learner, and what was played last.

    Attributes:
      logits: f32[5], ψ: of cooperation, as the learner will play next.
      chances: f32[10], P(cooperate) of the policies that have just played, the agent's
        and the learner's, each with its own action first.
      reward: f32[], what the learner earned in the last step.
      time: i32[], steps played.
    """

    logits: Array
    chances: Array
    reward: Array
    time: Array


@environment
class MetaMatrixGame:
    """Build it with `meta_ipd`, which checks its arguments."""

    payoff: Array  # f32[2, 2, 2]
    discount: Array  # f32[], γ of the inner game
    learning_rate: Array  # f32[], α
    num_steps: int = static(default=100)

    num_agents = 1
    is_symmetric = True

    @property
    def action_spaces(self) -> tuple[Box]:
        return (Box(NUM_STATES, -LIMIT, LIMIT),)

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return (2 * NUM_STATES,)

    @property
    def episode_length(self) -> int:
        return self.num_steps

    def reset(self, key: PRNGKey) -> tuple[MetaState, TimeStep]:
        """A policy drawn at random has played once, and the learner has learned."""
        own, logits = jax.random.normal(key, (2, NUM_STATES))
        state, _ = self._play(own, logits, jnp.int32(-1))
        return state, self._time_step(state, jnp.zeros(()))

    def step(
        self, key: PRNGKey, state: MetaState, action: Array
    ) -> tuple[MetaState, TimeStep]:
        del key
        after, reward = self._play(action[0], state.logits, state.time)
        return after, self._time_step(after, reward)

    def _play(self, own: Array, other: Array, time: Array) -> tuple[MetaState, Array]:
        """The state after one inner game and the learner's step, and the reward."""
        value = self.values(own, other)
        slope = jax.grad(lambda x: self.values(own, x)[1])(other)
        learned = other + self.learning_rate * slope
        reward = (1 - self.discount) * value
        chances = jax.nn.sigmoid(jnp.concatenate([own, other]))
        return MetaState(learned, chances, reward[1], time + 1), reward[0]

    def values(self, own: Array, other: Array) -> Array:
        """V of both at the start, f32[2], from logits of cooperation f32[5] each."""
        logits = jnp.stack([own, other])
        rows = jnp.take_along_axis(logits, jnp.asarray(_VIEWS), axis=1)
        cooperate = jax.nn.sigmoid(rows)
        policies = jnp.stack([cooperate, 1 - cooperate], axis=-1)
        return memory_one.memory_one_values(self.payoff, policies, self.discount)[0]

    def _time_step(self, state: MetaState, reward: Array) -> TimeStep:
        return in_window(state.chances[None], reward[None], state.time, self.num_steps)


def meta_ipd(
    reward: float = -1.0,
    sucker: float = -3.0,
    temptation: float = 0.0,
    punishment: float = -2.0,
    *,
    discount: Annotated[float, Range(0, 1)] = 0.96,
    learning_rate: Annotated[float, Range(0, 1e3)] = 1.0,
    num_steps: int = 100,
) -> MetaMatrixGame:
    """The meta-game of the iterated prisoner's dilemma.

    Args:
      reward: for both, if they cooperate.
      sucker: for who cooperates with a defector.
      temptation: for who defects on a cooperator.
      punishment: for both, if they defect.
      discount: γ of the inner games, below 1.
      learning_rate: α of the naive learner, on its value V (not on the mean reward).
      num_steps: steps after which an episode stops.

    Raises:
      InputError: if a number is out of range.
    """
    if not 0 <= discount < 1:
        raise InputError(f"discount is {discount}: a number in [0, 1) is needed")
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: at least 1 is needed")
    game = prisoners_dilemma(reward, sucker, temptation, punishment)
    return MetaMatrixGame(
        game.payoff, jnp.float32(discount), jnp.float32(learning_rate), num_steps
    )
