"""Iterated matrix games from any payoff tensor.

In each step all agents choose an action and earn their entry of the payoff tensor. The
observation is the last joint action, own action first, as a one-hot vector whose first
entry marks the start. An episode is truncated after `num_steps` steps (discount 1), or
terminates there (`ends=True`: discount 0), or terminates after each step with
probability `1 − continuation`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.envs.base import Discrete, environment, static
from aajax.errors import InputError
from aajax.types import Array, PRNGKey, TimeStep

MOST_AGENTS = 12  # of public goods: 4096 outcomes


class MatrixState(NamedTuple):
    """The last joint action, and the time.

    Attributes:
      joint: i32[], 0 at the start, else 1 + the row-major index of the last joint
        action (a_1, ..., a_N).
      time: i32[], steps played.
    """

    joint: Array
    time: Array


@environment
class IteratedMatrixGame:
    """Build it with `matrix_game` or a named game; both check their arguments."""

    payoff: Array  # f32[N, A_1, ..., A_N]; a leaf: vmap over payoffs is over games
    continuation: Array | None = None  # f32[], None: never ends by chance
    action_counts: tuple[int, ...] = static(default=())
    num_steps: int = static(default=16)
    ends: bool = static(default=False)
    action_names: tuple[str, ...] = static(default=())

    @property
    def num_agents(self) -> int:
        return len(self.action_counts)

    @property
    def action_spaces(self) -> tuple[Discrete, ...]:
        return tuple(Discrete(count) for count in self.action_counts)

    @property
    def is_symmetric(self) -> bool:
        """Whether payoffs are the same from every seat, own action first."""
        if len(set(self.action_counts)) > 1:
            return False
        order = np.argsort(seat_views(self.action_counts), axis=1)[:, 1:] - 1
        payoff = np.asarray(self.payoff).reshape(self.num_agents, -1)
        own_first = np.take_along_axis(payoff, order, axis=1)
        return bool(np.all(np.isclose(own_first, own_first[:1])))

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return (1 + int(np.prod(self.action_counts)),)

    @property
    def episode_length(self) -> int | None:
        return self.num_steps if self.continuation is None else None

    def reset(self, key: PRNGKey) -> tuple[MatrixState, TimeStep]:
        del key
        state = MatrixState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return state, TimeStep(
            observation=self._observe(state.joint),
            reward=jnp.zeros(self.num_agents),
            discount=jnp.ones(()),
            last=jnp.zeros((), bool),
        )

    def step(
        self, key: PRNGKey, state: MatrixState, action: Array
    ) -> tuple[MatrixState, TimeStep]:
        joint = self._joint(action)
        time = state.time + 1
        timeout = time >= self.num_steps
        ended = timeout if self.ends else jnp.zeros((), bool)
        if self.continuation is not None:
            ended = ended | ~jax.random.bernoulli(key, self.continuation)
        return MatrixState(1 + joint, time), TimeStep(
            observation=self._observe(1 + joint),
            reward=self.payoff.reshape(self.num_agents, -1)[:, joint],
            discount=1.0 - ended.astype(jnp.float32),
            last=ended | timeout,
        )

    def _joint(self, action: Array) -> Array:
        joint = action[0]
        for agent in range(1, self.num_agents):
            joint = joint * self.action_counts[agent] + action[agent]
        return joint

    def _observe(self, joint: Array) -> Array:
        views = jnp.asarray(seat_views(self.action_counts), jnp.int32)
        return jax.nn.one_hot(views[:, joint], self.observation_shape[0])


def seat_views(action_counts: tuple[int, ...]) -> np.ndarray:
    """Each seat's index of every joint outcome, i64[N, 1 + ΠA].

    Seat i indexes outcomes in row-major order of (a_i, a_{i+1}, ..., a_{i−1}), so that
    one policy can play every seat of a symmetric game. START is 0 for all.
    """
    joint = np.arange(np.prod(action_counts)).reshape(action_counts)
    views = []
    for seat in range(len(action_counts)):
        order = np.roll(np.arange(len(action_counts)), -seat)
        view = np.empty(joint.size, int)
        view[joint.transpose(order).reshape(-1)] = np.arange(joint.size)
        views.append(np.concatenate([[0], 1 + view]))
    return np.stack(views)


def matrix_game(
    payoff: Array | Sequence,
    *,
    num_steps: int = 16,
    ends: bool = False,
    continuation: Array | float | None = None,
    action_names: Sequence[str] = (),
) -> IteratedMatrixGame:
    """An iterated game from a payoff tensor.

    Args:
      payoff: f32[N, A_1, ..., A_N]; entry [i, a_1, ..., a_N] is what agent i earns.
      num_steps: steps after which an episode stops.
      ends: whether it terminates there (discount 0) or is truncated (discount 1).
      continuation: probability that the game goes on after each step; None for 1.
      action_names: one per action, for tables and figures.

    Raises:
      InputError: if the tensor has not one axis per agent after the first, or holds
        numbers that are not finite; or if another argument is out of range.
    """
    payoff = jnp.asarray(payoff, jnp.float32)
    if payoff.ndim < 3 or payoff.shape[0] != payoff.ndim - 1 or 0 in payoff.shape:
        raise InputError(
            f"payoff has shape {payoff.shape}: [N, A_1, ..., A_N] is needed, with one "
            "axis of actions for each of the N >= 2 agents"
        )
    _check_finite("payoff", payoff)
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: at least 1 is needed")
    if continuation is not None:
        continuation = jnp.asarray(continuation, jnp.float32)
        if not isinstance(continuation, Tracer) and not (
            np.all(continuation >= 0) and np.all(continuation <= 1)
        ):
            raise InputError(
                f"continuation is {continuation}: a probability in [0, 1] is needed"
            )
    counts = payoff.shape[1:]
    if not action_names:
        action_names = [str(action) for action in range(max(counts))]
    if len(action_names) != max(counts):
        raise InputError(
            f"action_names is {tuple(action_names)}: {max(counts)} names are needed"
        )
    return IteratedMatrixGame(
        payoff, continuation, counts, num_steps, ends, tuple(action_names)
    )


def symmetric_game(own_payoff: Array | Sequence, **options) -> IteratedMatrixGame:
    """A symmetric two-player game: payoff own_payoff[own action][other's action]."""
    rows = jnp.asarray(own_payoff, jnp.float32)
    return matrix_game(jnp.stack([rows, rows.T]), **options)


def prisoners_dilemma(
    reward: float = -1.0,
    sucker: float = -3.0,
    temptation: float = 0.0,
    punishment: float = -2.0,
    **options,
) -> IteratedMatrixGame:
    """Cooperate (0) or defect (1); defecting dominates, yet both lose by it."""
    rows = [[reward, sucker], [temptation, punishment]]
    return symmetric_game(rows, action_names="CD", **options)


def prisoners_dilemma_points(
    reward: float = 3.0,
    sucker: float = 0.0,
    temptation: float = 5.0,
    punishment: float = 1.0,
    **options,
) -> IteratedMatrixGame:
    """The prisoner's dilemma in Axelrod's points."""
    return prisoners_dilemma(reward, sucker, temptation, punishment, **options)


def contribution_game(multiplier: float = 1.33, **options) -> IteratedMatrixGame:
    """Contribute 1 (0) or keep it (1); what is given is multiplied and shared.

    CC f − 1, CD f/2 − 1, DC f/2, DD 0 (POLA's game, https://arxiv.org/abs/2210.10125);
    a dilemma for 1 < f < 2.
    """
    f = multiplier
    return prisoners_dilemma(f - 1.0, f / 2 - 1.0, f / 2, 0.0 * f, **options)


def chicken(crash: float = -10.0, **options) -> IteratedMatrixGame:
    """Chicken: swerve (0) or go straight (1): 0/0, −1/+1, and `crash` for both."""
    rows = [[0.0, -1.0], [1.0, crash]]
    return symmetric_game(rows, action_names=("swerve", "straight"), **options)


def stag_hunt(
    stag: float = 4.0, hare: float = 3.0, alone: float = 0.0, **options
) -> IteratedMatrixGame:
    """Stag hunt: stag (0) pays only if both choose it, hare (1) always."""
    rows = [[stag, alone], [hare, hare]]
    return symmetric_game(rows, action_names=("stag", "hare"), **options)


def battle_of_the_sexes(
    favourite: float = 3.0, other: float = 2.0, **options
) -> IteratedMatrixGame:
    """Meet at seat 0's favourite (0) or seat 1's (1); apart, both earn nothing."""
    zero = 0.0 * favourite
    first = [[favourite, zero], [zero, other]]
    second = [[other, zero], [zero, favourite]]
    payoff = jnp.asarray([first, second], jnp.float32)
    return matrix_game(payoff, action_names=("first", "second"), **options)


def matching_pennies(**options) -> IteratedMatrixGame:
    """Seat 0 wins +1 from seat 1 if the pennies match, and loses it otherwise."""
    match = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    return matrix_game(
        jnp.stack([match, -match]), action_names=("heads", "tails"), **options
    )


def public_goods(
    num_agents: int = 3, multiplier: float = 1.6, **options
) -> IteratedMatrixGame:
    """N agents each contribute 1 (0) or keep it (1); the pot is multiplied and shared.

    Agent i earns f · (number of contributors) / N − [i contributes]; a dilemma for
    1 < f < N. With two agents it is `contribution_game`.
    """
    if not 2 <= num_agents <= MOST_AGENTS:
        raise InputError(
            f"num_agents is {num_agents}: 2 to {MOST_AGENTS} are needed, as what N "
            "agents earn and see is a table of 2^N outcomes"
        )
    gives = 1.0 - np.indices((2,) * num_agents)
    share = multiplier * jnp.asarray(gives.sum(0)[None] / num_agents, jnp.float32)
    return matrix_game(
        share - jnp.asarray(gives, jnp.float32), action_names="CD", **options
    )


def _check_finite(name: str, x: Array) -> None:
    # Under vmap the numbers are not known; the caller's own are checked outside.
    if not isinstance(x, Tracer) and not np.all(np.isfinite(x)):
        raise InputError(
            f"{name} is {np.asarray(x).tolist()}: finite numbers are needed"
        )
