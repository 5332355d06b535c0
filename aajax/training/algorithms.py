"""Learning algorithms by name: what each needs of a run, and how it is built.

An algorithm is one entry of `ALGORITHMS`. All else that depends on it follows from the
entry: what a config may say, whether a game will do, which seats share parameters, what
the critic values, and what trains.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import optax

from aajax import envs, references
from aajax.envs.base import Discrete, Environment
from aajax.envs.matrix.env import IteratedMatrixGame
from aajax.errors import InputError
from aajax.learners import (
    Learner,
    Lookahead,
    LoqaObjective,
    Objective,
    Outer,
    across_episodes,
    by_regression,
    group_relative,
    lola_dice,
    lola_exact,
    loqa,
    pola_dice,
    pola_exact,
    policy_gradient,
    ppo,
    presets,
)
from aajax.learners.lookahead import Play
from aajax.nets import tabular
from aajax.policies.base import Policy, categorical_policy
from aajax.training.estimator import make_estimation, make_past
from aajax.training.joint_play import fresh_games, joint_play
from aajax.training.self_play import Trainer
from aajax.training.shaping import RULES, shaping
from aajax.types import Array

if TYPE_CHECKING:
    from aajax.training.config import RunConfig


NAIVE_GAMMA = 0.99  # of the naive learner of meta-games


class Parts(NamedTuple):
    """What learners and trainers of a run are built from.

    Attributes:
      config: of the run, a `RunConfig`.
      env: one game.
      hyperparameters: by name, numbers or traced f32[]; what `config` says of them does
        not hold in a sweep, nor when they change in the course of a run.
      optimizer: of a policy's parameters.
    """

    config: "RunConfig"
    env: Environment
    hyperparameters: dict[str, Array]
    optimizer: optax.GradientTransformation

    @property
    def descent(self) -> dict[str, Any]:
        """Options of all learners that descend a gradient: target critic, chunks."""
        return {
            "target_rate": self.config.target_rate or None,
            "num_chunks": self.config.num_chunks,
        }


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """A learning algorithm by name.

    It is built by `learner` where learners learn one by one, each from the games that
    `self_play` plays, and by `trainer` where agents learn together, in one update. What
    it needs is checked before a run trains.

    Attributes:
      name: on the command line.
      about: one sentence.
      learner: (parts, policy, seats) → the learner whose policy plays these seats.
      trainer: (parts, policies) → the trainer of all seats, with a policy for each.
      settings: what fields of the `RunConfig` need to be, as {"replay.games": 0}.
      num_agents: seats that a game needs to have; None for any number.
      discrete: whether actions need to be numbered, `envs.base.Discrete`.
      equal_actions: whether all seats need to have the same actions.
      separate: whether each seat has parameters of its own, even if they could share.
      critic: whether it has a critic, whatever the baseline.
      action_values: whether the critic values each action, and not the state alone.
      plays: whether it plays games, rather than computing what they would bring.
      check: (config, env) → raises InputError for what else it cannot do.
    """

    name: str
    about: str
    learner: Callable[[Parts, Policy, Sequence[int]], Learner] | None = None
    trainer: Callable[[Parts, Sequence[Policy]], Trainer] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_agents: int | None = None
    discrete: bool = False
    equal_actions: bool = False
    separate: bool = False
    critic: bool = False
    action_values: bool = False
    plays: bool = True
    check: Callable[["RunConfig", Environment], None] | None = None

    def check_settings(self, config: "RunConfig") -> None:
        """Raises InputError if the config asks for what the algorithm cannot do."""
        for name, needed in self.settings.items():
            try:
                value = attrgetter(name)(config)
            except AttributeError:
                raise InputError(
                    f"settings of algorithm {self.name!r} has {name!r}: a field of "
                    "RunConfig is needed"
                ) from None
            # Where it is swept, what the config says besides does not hold.
            short = name.removeprefix("hyperparameters.")
            swept = getattr(config.sweep, short, ())
            label = f"sweep.{short} has" if swept else f"{name} is"
            for each in swept or (value,):
                if each != needed:
                    raise InputError(
                        f"{label} {each!r}: {needed!r} is needed with algorithm "
                        f"{self.name!r}"
                    )

    def check_game(self, config: "RunConfig", env: Environment) -> None:
        """Raises InputError if it cannot learn this game."""
        what = f"algorithm is {self.name!r}: a game"
        if self.num_agents not in (None, env.num_agents):
            raise InputError(
                f"{what} of {_in_words(self.num_agents)} is needed, and "
                f"{config.game!r} has {env.num_agents} seats"
            )
        spaces = env.action_spaces
        if self.discrete and not all(isinstance(x, Discrete) for x in spaces):
            raise InputError(
                f"{what} of few actions is needed, which {config.game} is not"
            )
        if self.equal_actions and len(set(spaces)) > 1:
            raise InputError(
                f"{what} whose seats have equally many actions is needed, which "
                f"{config.game} is not"
            )
        if self.check is not None:
            self.check(config, env)

    def build_learner(
        self, parts: Parts, policy: Policy, seats: Sequence[int]
    ) -> Learner:
        """What `learner` makes; raises InputError if one's own fails."""
        return self._build(
            Learner, "learner(parts, policy, seats)", parts, policy, seats
        )

    def build_trainer(self, parts: Parts, policies: Sequence[Policy]) -> Trainer:
        """What `trainer` makes; raises InputError if one's own fails."""
        return self._build(Trainer, "trainer(parts, policies)", parts, policies)

    def _build(self, kind: type, call: str, parts: Parts, *arguments: Any) -> Any:
        make = self.learner if self.trainer is None else self.trainer
        assert make is not None  # as `__post_init__` has seen to
        label = f"algorithm is {parts.config.algorithm!r}: {call} -> {kind.__name__}"
        if self in ALGORITHMS.values():
            return make(parts, *arguments)
        try:
            found = make(parts, *arguments)
        except InputError:
            raise
        except Exception as error:  # of somebody else's code
            reason = references.reason(error)
            raise InputError(f"{label} is needed ({reason})") from error
        if not isinstance(found, kind):
            raise InputError(
                f"{label} is needed, and it returns {type(found).__name__}"
            )
        return found


def find_algorithm(name: str) -> Algorithm:
    """The algorithm called `name`.

    Args:
      name: of `ALGORITHMS`, `package.module:NAME` or `file.py:NAME`.

    Raises:
      InputError: if there is none, or it is not built by exactly one of `learner` and
        `trainer`.
    """
    if name in ALGORITHMS:
        found = ALGORITHMS[name]
    elif references.is_reference(name):
        found = references.load(
            name, "algorithm", "an Algorithm", lambda x: isinstance(x, Algorithm)
        )
    else:
        known = ", ".join(ALGORITHMS)
        raise InputError(
            f"algorithm is {name!r}: one of {known}, or {references.FORMS} of an "
            "Algorithm, is needed"
        )
    if (found.learner is None) == (found.trainer is None):
        raise InputError(
            f"algorithm is {name!r}: an Algorithm with either a learner or a trainer "
            "is needed"
        )
    return found


def descending(
    objective: Callable[[Parts], Objective],
) -> Callable[[Parts, Policy, Sequence[int]], Learner]:
    """`Algorithm.learner` that descends an objective, once per trajectory or by PPO."""

    def build(parts: Parts, policy: Policy, seats: Sequence[int]) -> Learner:
        config, goal = parts.config, objective(parts)
        if not isinstance(goal, Objective):
            raise InputError(
                f"algorithm is {config.algorithm!r}: an objective parts -> Objective "
                f"is needed, and it returns {type(goal).__name__}"
            )
        arguments = policy, goal, parts.optimizer, seats
        if config.learner == "ppo":
            return ppo(
                *arguments,
                num_epochs=config.num_epochs,
                num_minibatches=config.num_minibatches,
                **parts.descent,
            )
        return policy_gradient(*arguments, **parts.descent)

    return build


def _estimation(parts: Parts) -> dict[str, Any]:
    return make_estimation(parts.config, parts.hyperparameters)


def _naive(parts: Parts) -> Objective:
    return presets.naive(**_estimation(parts))


def _sum_of_rewards(parts: Parts) -> Objective:
    return presets.sum_of_rewards(**_estimation(parts))


def _advantage_alignment(parts: Parts) -> Objective:
    return presets.advantage_alignment(**_estimation(parts), **_alignment(parts))


def _pairwise_alignment(parts: Parts) -> Objective:
    spaces = cast(Sequence[Discrete], parts.env.action_spaces)
    attribution = by_regression(max(space.num_actions for space in spaces))
    return presets.pairwise_alignment(
        **_estimation(parts), **_alignment(parts), attribution=attribution
    )


def _alignment(parts: Parts) -> dict[str, Any]:
    return {
        "gamma": parts.hyperparameters["past_gamma"],
        "beta": parts.hyperparameters["beta"],
        "past": make_past(parts.config, parts.hyperparameters),
    }


def _loqa(parts: Parts, policy: Policy, seats: Sequence[int]) -> Learner:
    objective = LoqaObjective(
        gamma=parts.hyperparameters["gamma"],
        dice_lambda=parts.hyperparameters["dice_lambda"],
        weight=parts.hyperparameters["beta"],
        entropy_bonus=parts.hyperparameters["entropy_bonus"],
    )
    return loqa(policy, objective, parts.optimizer, seats, **parts.descent)


def _lola(parts: Parts, policies: Sequence[Policy]) -> Trainer:
    learner = lola_dice(
        policies,
        _fresh_games(parts, policies),
        parts.optimizer,
        gamma=parts.hyperparameters["gamma"],
        lookahead_rate=parts.hyperparameters["lookahead_rate"],
        num_lookahead=parts.config.num_lookahead,
    )
    return joint_play(learner)


def _lola_exact(parts: Parts, policies: Sequence[Policy]) -> Trainer:
    del policies  # they are memory-one policies by their parameters alone
    learner = lola_exact(
        *_infinite_game(parts),
        parts.optimizer,
        lookahead_rate=parts.hyperparameters["lookahead_rate"],
        num_lookahead=parts.config.num_lookahead,
    )
    return joint_play(learner)


def _pola(parts: Parts, policies: Sequence[Policy]) -> Trainer:
    learner = pola_dice(
        policies,
        _fresh_games(parts, policies),
        *_proximal_steps(parts),
        gamma=parts.hyperparameters["gamma"],
    )
    return joint_play(learner)


def _pola_exact(parts: Parts, policies: Sequence[Policy]) -> Trainer:
    del policies  # likewise
    return joint_play(pola_exact(*_infinite_game(parts), *_proximal_steps(parts)))


def _fresh_games(parts: Parts, policies: Sequence[Policy]) -> Play:
    config = parts.config
    return fresh_games(
        parts.env, policies, num_games=config.num_games, num_steps=config.num_steps
    )


def _infinite_game(parts: Parts) -> tuple[Array, Array]:
    """The payoff and the discount factor of a game that goes on."""
    gamma = parts.hyperparameters["gamma"]
    env = cast(IteratedMatrixGame, parts.env)  # as `_check_exact` has seen to
    if env.continuation is not None:
        # A game that ends by chance is one in which rewards are discounted.
        gamma = gamma * env.continuation
    return env.payoff, gamma


def _proximal_steps(parts: Parts) -> tuple[Lookahead, Outer]:
    config, given = parts.config, parts.hyperparameters
    return (
        Lookahead(
            given["lookahead_rate"], config.num_lookahead, given["inner_penalty"]
        ),
        Outer(parts.optimizer, config.num_outer, given["outer_penalty"]),
    )


def _coala(parts: Parts, policies: Sequence[Policy]) -> Trainer:
    config, given = parts.config, parts.hyperparameters
    meta, space = config.meta, cast(Discrete, parts.env.action_spaces[1])
    credit = across_episodes(
        RULES[meta.rule],
        num_meta_games=meta.games,
        num_episodes=meta.episodes,
        gamma=given["gamma"],
        lambda_=given["gae_lambda"],
    )
    # Advantages as they are: what later episodes bring is the same for all games of a
    # meta-game.
    estimation = {**_estimation(parts), "advantage": credit, "whiten": False}
    goal = presets.naive(**estimation)
    shaper = ppo(
        policies[0],
        goal,
        parts.optimizer,
        num_epochs=config.num_epochs,
        num_minibatches=config.num_minibatches,
        **parts.descent,
    )
    (num_states,) = parts.env.observation_shape
    naive = categorical_policy(tabular(num_states, space.num_actions))
    learner = policy_gradient(
        naive,
        presets.naive(group_relative(NAIVE_GAMMA), whiten=True),
        optax.adam(given["naive_rate"]),
        [1],
    )
    return shaping(
        parts.env,
        (policies[0], naive),
        (shaper, learner),
        num_meta_games=meta.games,
        num_games=config.num_games,
        num_episodes=meta.episodes,
    )


def _check_meta(config: "RunConfig", env: Environment) -> None:
    """Whether a naive learner can be a table, and all episodes are of one length."""
    if envs.find_spec(config.game).from_payoff is None:
        raise InputError(
            f"algorithm is {config.algorithm!r}: a matrix game is needed, which "
            f"{config.game} is not"
        )
    if env.episode_length != config.num_steps:
        raise InputError(
            f"options is {list(config.options)}: episodes of num_steps = "
            f"{config.num_steps} steps are needed with algorithm {config.algorithm!r}"
        )


def _check_exact(config: "RunConfig", env: Environment) -> None:
    """Whether values are those of an infinite matrix game, and finite."""
    is_matrix_game = envs.find_spec(config.game).from_payoff is not None
    if config.policy != "tabular" or not is_matrix_game:
        raise InputError(
            f"algorithm is {config.algorithm!r}: a tabular policy of a matrix game is "
            "needed"
        )
    values = f"algorithm {config.algorithm!r}, whose values are of the infinite game"
    game = cast(IteratedMatrixGame, env)
    if game.ends:
        raise InputError(
            f"options is {list(config.options)}: a game that goes on is needed with "
            f"{values}"
        )
    goes_on = 1.0 if game.continuation is None else float(game.continuation)
    for gamma in (config.hyperparameters.gamma, *config.sweep.gamma):
        if gamma * goes_on >= 1:
            raise InputError(
                f"gamma is {gamma}: a number below 1 is needed with {values}"
            )


def _in_words(number: int) -> str:
    return {2: "two", 3: "three"}.get(number, str(number))


_ONE_STEP = {"learner": "policy_gradient"}
_JOINT = {
    **_ONE_STEP,
    "target_rate": 0.0,
    "num_chunks": 1,
    "group_size": 1,
    "replay.games": 0,
}
_ONE_CLIMB = {**_JOINT, "num_outer": 1}
ALGORITHMS = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "naive",
            "Every agent for itself: independent policy gradient, or PPO.",
            learner=descending(_naive),
        ),
        Algorithm(
            "sum_of_rewards",
            "Every agent for the sum of all rewards: fully cooperative, exploitable.",
            learner=descending(_sum_of_rewards),
        ),
        Algorithm(
            "advantage_alignment",
            "Every agent for itself, with the alignment credit of `ops.alignment`.",
            learner=descending(_advantage_alignment),
        ),
        Algorithm(
            "pairwise_alignment",
            "Likewise, and each co-player is paid back for what it did itself.",
            learner=descending(_pairwise_alignment),
            discrete=True,
        ),
        Algorithm(
            "loqa",
            "Every agent for itself, aware that others act by what actions are worth.",
            learner=_loqa,
            settings=_ONE_STEP,
            discrete=True,
            equal_actions=True,
            critic=True,
            action_values=True,
        ),
        Algorithm(
            "lola",
            "LOLA from sampled games, for policies of any kind.",
            trainer=_lola,
            settings=_ONE_CLIMB,
            num_agents=2,
            separate=True,
        ),
        Algorithm(
            "lola_exact",
            "LOLA with exact values, for memory-one players of a two-player matrix "
            "game.",
            trainer=_lola_exact,
            settings=_ONE_CLIMB,
            num_agents=2,
            equal_actions=True,
            separate=True,
            plays=False,
            check=_check_exact,
        ),
        Algorithm(
            "pola",
            "POLA from sampled games: LOLA in steps of policies, not of parameters.",
            trainer=_pola,
            settings=_JOINT,
            num_agents=2,
            discrete=True,
            separate=True,
        ),
        Algorithm(
            "pola_exact",
            "POLA with exact values, for memory-one players of a two-player matrix "
            "game.",
            trainer=_pola_exact,
            settings=_JOINT,
            num_agents=2,
            equal_actions=True,
            separate=True,
            plays=False,
            check=_check_exact,
        ),
        Algorithm(
            "coala",
            "COALA-PG: against learners, over all episodes in which they learn.",
            trainer=_coala,
            settings={
                "learner": "ppo",
                "baseline": "critic",
                "replay.games": 0,
                "episode_steps": 0,
            },
            num_agents=2,
            discrete=True,
            separate=True,
            critic=True,
            check=_check_meta,
        ),
    )
}
"""What a run can be trained by, by name."""
