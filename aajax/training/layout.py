"""The layout of a run over devices: of its seeds and settings, or of its games.

Seeds and settings are independent: each device trains its own, without communication.
Where games are divided, the parameters of a seed are on all devices; each plays its
part of the games, and gradients are averaged over all of them. XLA inserts the
communication (GSPMD, https://arxiv.org/abs/2105.04663).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.errors import InputError
from aajax.learners.base import Metrics
from aajax.lm.mesh.hosts import gathered
from aajax.training import sweep
from aajax.training.algorithms import find_algorithm
from aajax.training.config import RunConfig
from aajax.training.self_play import GAMES, TrainState
from aajax.training.sweep import Advance, Hyperparameters, MakeTrainer
from aajax.types import AnyArray, Array, PyTree

SETTINGS, SEEDS = "settings", "seeds"  # axes of a mesh, as `GAMES` is of another
LANES = P(SETTINGS, SEEDS)
# Seeds and settings whose exact values are computed at a time: on CPUs with few cores
# jaxlib's linear solver can deadlock in programs that have thousands of systems.
SOLVED_AT_ONCE = 256


class Layout(NamedTuple):
    """Where the states [K, S, ...] of a run are, for K settings and S seeds.

    On a mesh of settings and seeds both axes are padded, with states that are there
    already, to multiples of the mesh's. Saved, measured and returned are K and S.

    Attributes:
      mesh: with the axes `SETTINGS` and `SEEDS`, or `GAMES`; None for one device.
      lanes: (K, S).
      at_once: most of them on a device that are trained at a time; None for all.
    """

    mesh: Mesh | None
    lanes: tuple[int, int]
    at_once: int | None = None

    @property
    def games(self) -> Mesh | None:
        """The mesh if the games of every seed are divided over it, else None."""
        divides = self.mesh is not None and GAMES in self.mesh.axis_names
        return self.mesh if divides else None

    def start(
        self,
        make_trainer: MakeTrainer,
        hyperparameters: Hyperparameters,
        seeds: Sequence[int],
    ) -> TrainState:
        """Initial states, as `sweep.start` makes them, in their places."""
        if self.mesh is None:
            return sweep.start(make_trainer, hyperparameters, seeds)
        init, numbers = sweep.init_all(make_trainer), np.asarray(seeds, np.uint32)
        if self.games is None:
            init = self._on_each(init, (P(SETTINGS), P(SEEDS)), LANES)
            numbers = self._placed(numbers, P(SEEDS), self._padded_lanes[1:])
        else:
            init = self._kept(init)
            numbers = self._placed(numbers, P())
        return jax.jit(init)(self._settings(hyperparameters), numbers)

    def advance(self, make_trainer: MakeTrainer, num_updates: int) -> Advance:
        """`sweep.advance`, of states in their places; metrics are as it returns them.

        Every process has the metrics of all.
        """
        if self.mesh is None:
            return sweep.advance(make_trainer, num_updates, self.at_once)
        run = sweep.advance_all(make_trainer, num_updates, self.at_once)
        if self.games is None:
            places = P(SETTINGS), LANES
            run = self._on_each(run, places, (LANES, P(None, *LANES)))
        else:
            run = self._kept(run)
        compiled = jax.jit(run, donate_argnums=1)

        def advance(
            hyperparameters: Hyperparameters, state: TrainState
        ) -> tuple[TrainState, Metrics]:
            state, metrics = compiled(self._settings(hyperparameters), state)
            rows, columns = self.lanes
            host = {
                name: gathered(x)[:, :rows, :columns] for name, x in metrics.items()
            }
            return state, cast(Metrics, host)

        return advance

    def place(self, state: TrainState) -> TrainState:
        """States [K, S, ...] in their places; all processes call it with equal ones."""
        if self.mesh is None:
            return state

        def put(x: AnyArray, sharding: NamedSharding) -> Array:
            return self._placed(x, sharding.spec, self._padded_lanes)

        return _on_numbers(put, state, self._shardings(state))

    def collect(self, state: TrainState) -> TrainState:
        """States [K, S, ...] on the host, in every process; inverse of `place`.

        On one device they stay there.
        """
        if self.mesh is None:
            return state
        rows, columns = self.lanes
        return _on_numbers(lambda x: gathered(x)[:rows, :columns], state)

    @property
    def _padded_lanes(self) -> tuple[int, int]:
        if self.mesh is None or self.games is not None:
            return self.lanes
        rows, columns = (
            math.ceil(count / self.mesh.shape[name]) * self.mesh.shape[name]
            for count, name in zip(self.lanes, (SETTINGS, SEEDS), strict=True)
        )
        return rows, columns

    def _on_each(self, function, places, made):
        """The function of a device's own lanes, as one of all."""
        assert self.mesh is not None
        # What does not vary over devices may come to do so in a loop.
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=places, out_specs=made, check_vma=False
        )

    def _kept(self, function):
        """The function, what it returns being in its places."""

        mesh = self.games
        assert mesh is not None

        def inner(*arguments):
            found = function(*arguments)
            state, *metrics = found if type(found) is tuple else (found,)
            whole = NamedSharding(mesh, P())
            state, *metrics = jax.lax.with_sharding_constraint(
                [state, *metrics], [self._shardings(state), *(whole for _ in metrics)]
            )
            return (state, *metrics) if metrics else state

        return inner

    def _shardings(self, state: TrainState) -> TrainState:
        assert self.mesh is not None
        if self.games is None:
            lanes = NamedSharding(self.mesh, LANES)
            return jax.tree.map(lambda x: lanes, state)
        kept = NamedSharding(self.mesh, P())
        divided = NamedSharding(self.mesh, P(None, None, GAMES))
        found = jax.tree.map(lambda x: kept, state)
        tables = jax.tree.map(lambda x: divided, state.tables)
        return found._replace(tables=tables)

    def _settings(self, hyperparameters: Hyperparameters) -> Hyperparameters:
        spec = P(SETTINGS) if self.games is None else P()
        rows = self._padded_lanes[:1]
        return {
            name: self._placed(x, spec, rows) for name, x in hyperparameters.items()
        }

    def _placed(self, x: AnyArray, spec: P, sizes: Sequence[int] = ()) -> Array:
        """On the mesh, the first axes padded to `sizes` by their first entries."""
        assert self.mesh is not None
        whole = np.asarray(x)
        for axis, size in enumerate(sizes):
            if size != whole.shape[axis]:
                index = np.arange(size) % whole.shape[axis]
                whole = np.take(whole, index, axis)
        sharding = NamedSharding(self.mesh, spec)
        return jax.make_array_from_callback(
            whole.shape, sharding, lambda index: whole[index]
        )


def make_layout(config: RunConfig, num_settings: int) -> Layout:
    """The layout of a run, by what the config says of devices.

    Raises:
      InputError: if there are fewer devices, if several processes do not use all of
        them, or if they do not divide the games that they are to divide.
    """
    lanes = num_settings, config.seeds
    solves = not find_algorithm(config.algorithm).plays
    is_cpu = jax.default_backend() == "cpu"
    at_once = SOLVED_AT_ONCE if solves and is_cpu else None
    devices = _devices(config)
    if len(devices) == 1:
        return Layout(None, lanes, at_once)
    if config.shard == "seeds":
        shape, names = _grid(*lanes, len(devices)), (SETTINGS, SEEDS)
    else:
        _check_games(config, len(devices))
        shape, names = (len(devices),), (GAMES,)
    grid = np.array(devices[: math.prod(shape)]).reshape(shape)
    # By default axes are Explicit, and ordinary contractions do not trace.
    types = (AxisType.Auto,) * len(shape)
    return Layout(Mesh(grid, names, axis_types=types), lanes, at_once)


def _devices(config: RunConfig) -> list:
    processes, every = jax.process_count(), jax.devices()
    count = len(every) if config.devices == "all" else config.devices
    if processes > 1 and count != len(every):
        raise InputError(
            f"devices is {count}: 'all' is needed with {processes} processes"
        )
    if count > len(every):
        raise InputError(
            f"devices is {count}: at most {len(every)}, the number that there is, is "
            "needed"
        )
    return every[:count]


def _check_games(config: RunConfig, count: int) -> None:
    """Whether devices can divide the games of an update."""
    if find_algorithm(config.algorithm).trainer is not None:
        raise InputError(
            f"shard is 'games': 'seeds' is needed with algorithm {config.algorithm!r}"
        )
    if config.num_games % count:
        raise InputError(
            f"num_games is {config.num_games}: a multiple of the {count} devices that "
            "divide them is needed"
        )


def _grid(num_settings: int, num_seeds: int, count: int) -> tuple[int, int]:
    """Devices along settings and along seeds, at most `count` in all.

    The largest number of lanes on a device is as small as can be. On CPUs no device
    has one setting or one seed where there are several: without the axis XLA's CPU
    compiler sums in another order, and a seed would not be what it is on one device.
    """
    least = 2 if jax.default_backend() == "cpu" else 1
    found = []
    for rows in range(1, count + 1):
        columns = count // rows
        if jax.process_count() > 1 and rows * columns < count:
            continue  # some process would be left without a device
        own = (
            max(math.ceil(num_settings / rows), min(least, num_settings)),
            max(math.ceil(num_seeds / columns), min(least, num_seeds)),
        )
        if jax.process_count() == 1:
            rows, columns = (
                math.ceil(num_settings / own[0]),
                math.ceil(num_seeds / own[1]),
            )
        found.append((math.prod(own), rows * columns, rows, columns))
    _, _, rows, columns = min(found)
    return rows, columns


def _on_numbers(function, state: TrainState, *others: PyTree) -> TrainState:
    """Maps over arrays; over random keys as the numbers that they consist of."""

    def of(x, *more):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return function(x, *more)
        numbers = function(jax.random.key_data(x), *more)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(x))

    return jax.tree.map(of, state, *others)
