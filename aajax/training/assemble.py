"""From a config to the parts of a run: environment, policy, trainer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aajax import envs, nets, references, schema
from aajax.envs.base import ActionSpace, Box, Discrete, Environment, MultiDiscrete
from aajax.errors import InputError
from aajax.nets.planes import KERNEL
from aajax.policies import distributions
from aajax.policies.base import (
    Policy,
    action_value_policy,
    network_policy,
    with_memory_resets,
)
from aajax.policies.distributions import Distribution
from aajax.training import transforms
from aajax.training.algorithms import Parts, find_algorithm
from aajax.training.config import NETWORK, RunConfig
from aajax.training.estimator import make_optimizer
from aajax.training.options import read_options, read_tensor
from aajax.training.self_play import Trainer, TrainState, Transform, self_play
from aajax.types import Array

SCHEDULE = (
    0.3,
    0.9,
)  # shares of a run between which hyper-parameters move to their final values


def make_env(config: RunConfig) -> Environment:
    """The environment of a run.

    Raises:
      InputError: for an unknown game or option, or a payoff tensor that is none.
    """
    spec = envs.find_spec(config.game)
    accepted = spec.options
    payoff = f"payoff is {schema.shown(config.payoff)}"
    if config.payoff is not None:
        if spec.from_payoff is None:
            raise InputError(
                f"{payoff}: none is needed with game {config.game!r}, which is no "
                "matrix game"
            )
        accepted = spec.payoff_options
    given = [word for word in config.options if word.startswith("num_steps=")]
    if given:
        raise InputError(
            f"options has {given[0]}: num_steps of the run, not of the environment, "
            "is needed"
        )
    if "num_steps" not in accepted:
        raise InputError(
            f"game is {config.game!r}: an option num_steps, after which an episode is "
            "cut off, is needed"
        )
    del accepted["num_steps"]
    options = read_options("options", config.options, config.game, accepted)
    options["num_steps"] = config.steps_per_episode
    if config.payoff is None or spec.from_payoff is None:
        return spec.build(**options)
    return spec.from_payoff(read_tensor(payoff, config.payoff), **options)


def make_policy(
    config: RunConfig,
    env: Environment,
    epsilon: Array | float | None = None,
    seat: int = 0,
) -> Policy:
    """The policy of a seat, ε-soft as while training, or (None) as it is.

    Seats differ in it only where they have different numbers of actions.

    Without ε it is meant for whole episodes: where memories begin anew with every
    update, they do so after as many steps there too.
    """
    policy = _policy_in_training(config, env, epsilon, seat)
    if epsilon is None and config.steps_remembered < config.steps_per_episode:
        return with_memory_resets(policy, config.steps_remembered)
    return policy


def check_table(config: RunConfig, env: Environment) -> None:
    """Raises InputError if a policy is a table that observations do not index."""
    if config.policy != "tabular":
        return
    with jax.ensure_compile_time_eval():
        seen = np.asarray(env.reset(jax.random.key(0))[1].observation)
    if not (np.isin(seen, (0, 1)).all() and (seen.sum(-1) == 1).all()):
        raise InputError(
            f"policy is 'tabular': 'mlp' or 'gru' is needed in {config.game}, whose "
            "observations are not one-hot"
        )


def make_policies(config: RunConfig, env: Environment) -> tuple[Policy, ...]:
    """The policy of every seat as it is, without exploration."""
    if len(set(env.action_spaces)) == 1:
        return (make_policy(config, env),) * env.num_agents
    return tuple(make_policy(config, env, None, i) for i in range(env.num_agents))


def _policy_in_training(
    config: RunConfig, env: Environment, epsilon: Array | float | None, seat: int
) -> Policy:
    _check_spaces(config, env)
    space = env.action_spaces[seat]
    distribution = _make_distribution(config, space, epsilon)
    num_actions = None if isinstance(space, Box) else space.num_actions
    num_scores = distribution.num_scores or num_actions
    assert num_scores is not None  # of real numbers the distribution says how many
    algorithm = find_algorithm(config.algorithm)
    num_values = num_actions if algorithm.action_values else None
    (observation_size,) = env.observation_shape
    scale = config.network.value_scale
    planes = _plane_shape(config, env)
    if references.is_reference(config.policy):
        make = references.load(config.policy, "policy", NETWORK)
        with schema.within(f"policy is {config.policy!r}: "):
            network = nets.flax_network(
                make,
                observation_size,
                num_scores,
                critic=config.has_critic or algorithm.critic,
                num_values=num_values,
                value_scale=scale,
            )
    elif config.policy == "tabular":
        network = nets.tabular(
            observation_size, num_scores, num_values=num_values, value_scale=scale
        )
    else:
        torso = _make_torso(config, config.hidden_size, planes)
        critic_size = config.network.critic_size
        network = nets.actor_critic(
            torso,
            observation_size,
            num_scores,
            critic=config.has_critic or algorithm.critic,
            critic_torso=(
                _make_torso(config, critic_size, planes) if critic_size else None
            ),
            shared=config.network.shared,
            num_values=num_values,
            value_scale=scale,
        )
    if algorithm.action_values:
        return action_value_policy(network, distribution)
    return network_policy(network, distribution)


def seat_groups(config: RunConfig, env: Environment) -> list[list[int]]:
    """For each learner, the seats that it plays.

    Raises:
      InputError: if one policy is to play seats that earn differently: it could not
        tell which it is in; or if separate learners are to meet past selves.
    """
    seats = list(range(env.num_agents))
    if config.parameters == "separate" or find_algorithm(config.algorithm).separate:
        if config.opponents.capacity:
            raise InputError(
                f"opponents.capacity is {config.opponents.capacity}: 0 is needed where "
                "every seat learns on its own"
            )
        return [[seat] for seat in seats]
    if not env.is_symmetric or len(set(env.action_spaces)) > 1:
        raise InputError(
            "parameters is 'shared': 'separate' is needed in a game whose seats earn "
            "differently"
        )
    if not config.opponents.capacity:
        return [seats]
    past = config.opponents.seats
    if past >= len(seats):
        raise InputError(
            f"opponents.seats is {past}: fewer than the {len(seats)} seats are needed"
        )
    return [seats[: len(seats) - past] if past else seats[:1]]


def make_trainer(
    config: RunConfig, mesh: Mesh | None = None
) -> Callable[[dict[str, Array]], Trainer]:
    """A trainer for given hyper-parameters, numbers or traced: name -> f32[].

    Args:
      config: of the run.
      mesh: over which games are divided, see `transforms.over_devices`.
    """
    env = make_env(config)
    _check_spaces(config, env)
    groups = seat_groups(config, env)
    algorithm = find_algorithm(config.algorithm)
    chain = _transforms(config, env)
    if mesh is not None:
        chain.append(transforms.over_devices(mesh))

    def make_fixed(hyperparameters: dict[str, Array]) -> Trainer:
        epsilon = hyperparameters["exploration"]
        policies = [make_policy(config, env, epsilon, group[0]) for group in groups]
        parts = make_parts(config, env, hyperparameters)
        if algorithm.trainer is not None:
            return algorithm.build_trainer(parts, policies)
        learners = [
            algorithm.build_learner(parts, policy, group)
            for policy, group in zip(policies, groups, strict=True)
        ]
        return self_play(
            env,
            policies,
            learners,
            groups,
            num_games=config.num_games,
            num_steps=config.num_steps,
            group_size=config.group_size,
            transforms=chain,
        )

    return scheduled(config, make_fixed)


def _transforms(config: RunConfig, env: Environment) -> list[Transform]:
    """What else happens in the updates of a run."""
    chain = []
    if config.memory == "update":
        chain.append(transforms.memory_reset())
    if config.opponents.capacity:
        chain.append(transforms.past_selves(config.opponents))
    measures = envs.find_spec(config.game).training_measures
    if measures is not None:
        chain.append(transforms.measured(measures(env)))
    if config.replay.games:
        chain.append(transforms.replayed(config.replay))
    return chain


def make_parts(
    config: RunConfig, env: Environment, hyperparameters: dict[str, Array]
) -> Parts:
    """What learners and trainers of a run are built from."""
    return Parts(config, env, hyperparameters, make_optimizer(config, hyperparameters))


def scheduled(
    config: RunConfig, make_fixed: Callable[[dict[str, Array]], Trainer]
) -> Callable[[dict[str, Array]], Trainer]:
    """Trainers whose hyper-parameters move to `config.final` as training goes on.

    Args:
      config: whose hyper-parameters hold where the given ones do not say otherwise.
      make_fixed: a trainer for all hyper-parameters, by name.
    """
    final = config.final.values

    def make(given: dict[str, Array]) -> Trainer:
        hyperparameters = {**vars(config.hyperparameters), **given}
        if not final:
            return make_fixed(hyperparameters)

        def update(state: TrainState):
            begin, end = (share * config.schedule_length for share in SCHEDULE)
            progress = jnp.clip((state.num_updates - begin) / (end - begin), 0.0, 1.0)
            moved = {
                name: hyperparameters[name] + progress * (value - hyperparameters[name])
                for name, value in final.items()
            }
            return make_fixed({**hyperparameters, **moved}).update(state)

        return Trainer(make_fixed(hyperparameters).init, update)

    return make


def _plane_shape(config: RunConfig, env: Environment) -> tuple[int, int, int] | None:
    """C, H, W where convolutions are to read an observation, or None.

    Raises:
      InputError: if there is no cell left to the last convolution.
    """
    planes = envs.find_spec(config.game).planes
    if planes is None or not config.network.channels:
        return None
    shape = planes(env)
    most = (min(shape[1:]) - 1) // (KERNEL - 1)
    if len(config.network.channels) > most:
        raise InputError(
            f"network.channels is {config.network.channels}: at most {most} numbers "
            f"are needed for planes of {shape[1]} x {shape[2]} cells"
        )
    return shape


def _make_torso(
    config: RunConfig, size: int, plane_shape: tuple[int, int, int] | None
) -> nets.Torso:
    network = config.network
    activation = {"tanh": jnp.tanh, "relu": jax.nn.relu}[network.activation]
    encoder = [size] * network.encoder_layers
    options = {"activation": activation}
    if plane_shape is not None:
        options["planes"] = nets.Planes(plane_shape, network.channels, activation)
    if config.policy == "mlp":
        return nets.mlp(*encoder, **options)
    options["readout_sizes"] = [network.readout_size] * network.readout_layers
    if config.policy == "gru":
        return nets.gru(size, *encoder, **options)
    return nets.transformer(
        size,
        *encoder,
        num_blocks=network.blocks,
        num_heads=network.heads,
        # All steps that it is to remember, and the final observation, which is valued.
        context=1 + config.steps_remembered,
        **options,
    )


def _make_distribution(
    config: RunConfig, space: ActionSpace, epsilon: Array | float | None
) -> Distribution:
    soft = config.explore == "soft"
    if isinstance(space, Discrete):
        return distributions.categorical(epsilon, soft)
    if isinstance(space, MultiDiscrete):
        return distributions.multi_categorical(
            space.size, space.num_actions, epsilon, soft
        )
    box = space.size, space.low, space.high
    if config.proposals == "binned":
        return distributions.binned(*box, config.num_bins, epsilon, soft)
    return distributions.tanh_normal(*box, epsilon, soft)


def _check_spaces(config: RunConfig, env: Environment) -> None:
    """Whether there are policies for what seats see and do.

    Raises:
      InputError: if not.
    """
    game = repr(config.game)
    if len(env.observation_shape) != 1:
        raise InputError(
            f"game is {game}: observations of one axis are needed, and its are of "
            f"shape {env.observation_shape}"
        )
    spaces = env.action_spaces
    if len({(type(space), space.shape) for space in spaces}) > 1:
        raise InputError(
            f"game is {game}: one kind of action for all seats is needed, and its are "
            f"{', '.join(map(str, spaces))}"
        )
    if config.policy == "tabular" and isinstance(spaces[0], MultiDiscrete | Box):
        raise InputError(
            f"policy is 'tabular': 'mlp' or 'gru' is needed for game {game}"
        )
    find_algorithm(config.algorithm).check_game(config, env)
