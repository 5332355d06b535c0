"""Training runs as objects: what was asked for, measured and learned."""

import abc
import atexit
import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import numpy as np

from aajax.api.evaluation import evaluate_state, trained_params
from aajax.api.presets import Config, make_config
from aajax.api.progress import shown_progress
from aajax.api.small_training import masked, train_small
from aajax.envs import find_spec
from aajax.envs.base import Environment
from aajax.errors import DivergenceError, InputError
from aajax.extras import check_installed
from aajax.files import check_local
from aajax.policies.base import Policy
from aajax.records import read_object
from aajax.report.results import (
    over_rows,
    read_measured,
    read_metrics,
    read_summary,
    tell_missing,
)
from aajax.report.tables import quantities
from aajax.schema import Count, Share, called, check_value, shown, within
from aajax.training import divergence
from aajax.training import run as small
from aajax.training.assemble import make_env, make_policies, make_policy
from aajax.training.checkpoint import latest_step
from aajax.training.config import RunConfig
from aajax.training.lm_config import MEMBERS, LmConfig, member_names
from aajax.training.metrics import Sink
from aajax.training.run import (
    SUMMARY,
    diverged,
    hyperparameter_settings,
)
from aajax.training.self_play import TrainState
from aajax.types import PyTree

if TYPE_CHECKING:
    import pandas

_log = logging.getLogger(__name__)

PLACES = ("update", "seconds")  # of a row of metrics: numbers of no seed


@dataclasses.dataclass(frozen=True, eq=False)
class Run(abc.ABC):
    """A training run in a folder.

    Attributes:
      folder: with config.json, metrics.jsonl, summary.json and checkpoints/.
      preset: the name under which it was trained.
      config: what was asked for.
    """

    folder: Path
    preset: str
    config: RunConfig | LmConfig

    @property
    @abc.abstractmethod
    def settings(self) -> list[dict[str, Any]]:
        """Hyper-parameters of the K settings of a sweep; one of a plain run."""

    @property
    @abc.abstractmethod
    def seeds(self) -> list[int]:
        """The S seeds that were trained with every setting."""

    @property
    @abc.abstractmethod
    def policy(self) -> Policy:
        """How a trained seat acts, without exploration."""

    @property
    @abc.abstractmethod
    def params(self) -> Any:
        """What was learned."""

    @property
    def diverged(self) -> divergence.Lost:
        """Seeds whose numbers became NaN or infinite, by (setting, seed) from 0."""
        return {}

    def raise_for_divergence(self) -> Self:
        """The run, if all seeds are there; raises DivergenceError if one diverged."""
        if self.diverged:
            raise DivergenceError(f"{self.folder}: {divergence.listed(self.diverged)}")
        return self

    @abc.abstractmethod
    def evaluate(self) -> Any:
        """See `aajax.evaluate`."""

    def extend(self, length: int, progress: bool = False) -> "Run":
        """The run, trained on to so many updates, or iterations of a language model.

        This object stays that of the shorter run: its metrics, summary and parameters
        are read before. Any other object of the run that has not read them raises
        InputError afterwards.

        Where nothing moves to a final value in its course, it is then to the bit a run
        that was begun with that number; a schedule stays that of the run as it was
        begun, of which a line is logged.

        Args:
          length: of the whole run.
          progress: whether to draw a bar while it goes on.

        Raises:
          InputError: if the run is longer already.
        """
        name = f"num_{self.config.unit}"
        check_value(name, Count, length)
        if length < self.config.length:
            raise InputError(
                f"{name} is {length}: at least {self.config.length}, which the run "
                "has, is needed"
            )
        _, config = make_config(self.config, {name: length})
        self._read()
        return _trained(self.preset, config, self.folder, True, progress)

    def _read(self) -> None:
        """Reads what an extension would replace, as far as it is there."""
        for name in ("summary", "metrics", "params"):
            with contextlib.suppress(InputError, ImportError):
                getattr(self, name)

    def _check_length(self) -> None:
        """Raises InputError if the run in the folder has been extended since."""
        path, name = self.folder / "config.json", f"num_{self.config.unit}"
        if not path.exists():
            return
        length = read_object(path).get(name, self.config.length)
        if length < self.config.length:
            raise InputError(
                f"run is {str(self.folder)!r}: one that has come to "
                f"{self.config.length} {self.config.unit} is needed, and what is there "
                f"is of {length}"
            )
        if length != self.config.length:
            raise InputError(
                f"run is {str(self.folder)!r}: it was extended from "
                f"{self.config.length} to {length} {self.config.unit}; take what "
                "extend returned, or aajax.load it again"
            )

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """What became of it, as summary.json holds it; None for what diverged.

        Raises:
          InputError: for a run that has not come to its end, or was extended since.
        """
        self._check_length()
        path = self.folder / SUMMARY
        if not path.exists():
            raise InputError(
                f"run is {str(self.folder)!r}: a finished run is needed; "
                "aajax.train(..., resume=True) goes on with it"
            )
        return self._read_summary()

    @abc.abstractmethod
    def _read_summary(self) -> dict[str, Any]:
        """The summary; raises InputError for a file that is none."""

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """What was measured in the course of training, by name.

        Each is f64[settings, seeds, updates], NaN where there is no number; `update`
        i64[updates] and `seconds` f64[updates] say when. About 200 updates of a run
        are logged.

        Raises:
          InputError: if there are none, or the run was extended since.
        """
        self._check_length()
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            raise InputError(f"file is {path}: it is missing; the run has no metrics")
        rows = read_metrics(self.folder)
        names = dict.fromkeys(name for row in rows for name in row)
        shape = len(self.settings), len(self.seeds)
        found = {
            "update": np.array([row["update"] for row in rows], int),
            "seconds": over_rows(self.folder, rows, "seconds"),
        }
        for name in names:
            if name not in PLACES:
                each = [_table(path, name, row.get(name), shape) for row in rows]
                found[name] = np.stack(each, axis=-1)
        tell_missing(self.folder, rows)
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """One record per setting, seed and logged update, as `aajax export` writes it.

        Each has `setting` from 0, the hyper-parameters that were swept, `seed`,
        `update`, `seconds` and all metrics.
        """
        metrics = {name: x for name, x in self.metrics.items() if name not in PLACES}
        for k, hyperparameters in enumerate(self.settings):
            for s, seed in enumerate(self.seeds):
                for u, update in enumerate(self.metrics["update"].tolist()):
                    yield {
                        "setting": k,
                        **hyperparameters,
                        "seed": seed,
                        "update": update,
                        "seconds": float(self.metrics["seconds"][u]),
                        **{name: float(x[k, s, u]) for name, x in metrics.items()},
                    }

    def to_pandas(self) -> "pandas.DataFrame":
        """The records of `rows` as a data frame.

        Raises:
          InputError: if pandas is not installed.
        """
        check_installed("pandas", "pandas")
        import pandas

        return pandas.DataFrame(list(self.rows()))


@dataclasses.dataclass(frozen=True, eq=False)
class SmallRun(Run):
    """A run of small policies: K settings of hyper-parameters, each with S seeds.

    Attributes:
      trained: the latest state, [K, S, ...], if it is at hand; see `state`.
    """

    config: RunConfig
    trained: TrainState | None = None

    @functools.cached_property
    def state(self) -> TrainState:
        """The latest, [K, S, ...], read from the folder when it is first asked for.

        Raises:
          InputError: if there is no checkpoint, or the run was extended since.
        """
        if self.trained is not None:
            return self.trained
        self._check_length()
        return small.load_state(self.folder, self.config)

    def _read_summary(self) -> dict[str, Any]:
        return read_summary(self.folder, (len(self.settings), len(self.seeds)))

    @property
    def settings(self) -> list[dict[str, Any]]:
        return hyperparameter_settings(self.config)

    @property
    def seeds(self) -> list[int]:
        return self.config.seed_list

    @functools.cached_property
    def env(self) -> Environment:
        """The environment that it was trained in."""
        return make_env(self.config)

    @property
    def player_names(self) -> tuple[str, ...]:
        """Names of the scripted players of its environment."""
        return find_spec(self.config.game).player_names(self.env)

    @property
    def policy(self) -> Policy:
        """How seat 0, and every seat that is like it, acts; see `policies`."""
        return self.policies[0]

    @functools.cached_property
    def policies(self) -> tuple[Policy, ...]:
        """For each seat how it acts, without exploration."""
        return make_policies(self.config, self.env)

    def exploring(self, epsilon: float | None = None, seat: int = 0) -> Policy:
        """How a seat acts that explores.

        Args:
          epsilon: share of random actions; as in training at first if not given.
          seat: which.
        """
        if epsilon is None:
            epsilon = self.config.hyperparameters.exploration
        check_value("epsilon", Share, epsilon)
        _check_number("seat", seat, self.env.num_agents)
        return make_policy(self.config, self.env, epsilon, seat)

    @property
    def params(self) -> tuple[PyTree, ...]:
        """For each seat the parameters of its policy, leaves [K, S, ...]."""
        return trained_params(self.state, self.env.num_agents)

    def params_of(self, seat: int = 0, setting: int = 0, seed: int = 0) -> PyTree:
        """Parameters of one seat of one seed, counted from 0, of one setting."""
        _check_number("seat", seat, self.env.num_agents)
        _check_number("setting", setting, len(self.settings))
        _check_number("seed", seed, len(self.seeds))
        return jax.tree.map(lambda x: x[setting, seed], self.params[seat])

    def evaluate(self) -> list[dict[str, Any]]:
        return masked(evaluate_state(self.config, self.state), self.diverged)

    @property
    def diverged(self) -> divergence.Lost:
        return self._diverged

    @functools.cached_property
    def _diverged(self) -> divergence.Lost:
        return diverged(self.folder, self.config, self.state)

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """What the summary says of trained policies, by name, f64[settings, seeds]."""
        found: dict[str, list] = {}
        for setting in self.summary["settings"]:
            for name, numbers in quantities(setting).items():
                found.setdefault(name, []).append(numbers)
        return {name: np.asarray(numbers, float) for name, numbers in found.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class LmRun(Run):
    """A run of a language model: an adapter, or a population of them.

    A population has K settings, each with S seeds, all of which are its members.
    """

    config: LmConfig

    def _read_summary(self) -> dict[str, Any]:
        if self.config.is_population:
            return read_summary(self.folder, self.config.lanes)
        return read_measured(self.folder)

    @property
    def settings(self) -> list[dict[str, Any]]:
        return self.config.settings

    @property
    def seeds(self) -> list[int]:
        return self.config.seed_list

    @property
    def diverged(self) -> divergence.Lost:
        return divergence.noted(self.folder, lanes=self.config.lanes)

    def member(self, setting: int = 0, seed: int = 0) -> "LmRun":
        """A member of a population, as a run of its own that has come to its end.

        Args:
          setting: its number, from 0.
          seed: its number, from 0.

        Raises:
          InputError: if there is no such member, or the run is none of a population.
        """
        if not self.config.is_population:
            raise InputError(
                f"run is {str(self.folder)!r}: a run of several seeds or settings is "
                "needed"
            )
        _check_number("setting", setting, len(self.settings))
        _check_number("seed", seed, len(self.seeds))
        number = setting * len(self.seeds) + seed
        name = member_names(self.config)[number]
        folder = self.folder / MEMBERS / name
        return LmRun(folder, self.preset, self.config.members[number])

    @property
    def policy(self) -> Policy:
        """There is none.

        Raises:
          InputError: always.
        """
        raise InputError(
            f"run is {str(self.folder)!r}: one of small policies is needed; that of a "
            "language model is its adapter, in "
            f"{self.folder / (MEMBERS if self.config.is_population else 'adapter')}/"
        )

    def evaluate(self) -> Any:
        check_installed("lm", "transformers")
        from aajax.api.lm_training import evaluate_folder

        return evaluate_folder(self.folder, self.config)

    @property
    def adapter(self) -> Path:
        """The PEFT folder of the adapter, as it was when the run came to its end.

        Raises:
          InputError: if it has not yet come to one.
        """
        folder = self.folder / "adapter"
        if self.config.is_population:
            raise InputError(
                f"run is {str(self.folder)!r}: one member of a population is needed, "
                "as run.member(setting, seed), or its folder in "
                f"{self.folder / MEMBERS}/"
            )
        if not folder.exists():
            raise InputError(
                f"run is {str(self.folder)!r}: a finished run is needed, with adapter/ "
                "in it"
            )
        return folder

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Arrays of the adapter, by their names in its PEFT folder."""
        return self._params

    @functools.cached_property
    def _params(self) -> dict[str, np.ndarray]:
        self._check_length()
        check_installed("lm", "transformers", "safetensors")
        from aajax.lm.checkpoints.peft_folder import read_arrays

        with called({"folder": "run"}):
            return read_arrays(self.adapter)


def train(
    preset: str | Config,
    *,
    name: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
    log: str | Sink | Iterable[str | Sink] = (),
    **options: Any,
) -> Run:
    """Trains, evaluates, and returns the run.

        run = aajax.train("ipd", beta=3.0, seeds=5, out="runs/three")
        run.metrics["reward"]      # f64[settings, seeds, updates]
        run.summary["p_cooperate"] # P(cooperate | last outcome), a number per seed

    All seeds, and all settings of a sweep, are trained at once. Of a seed that diverges
    a line is logged, and its numbers are NaN: see `SmallRun.diverged`.

    Args:
      preset: a name that `aajax list` has, such as "ipd" or "lm-ipd"; or a whole
        config.
      name: what the run is called; as the preset if not given.
      out: folder of the run: config, metrics, checkpoints, summary, figure. Without it
        they are in a temporary folder, which is there until Python ends.
      resume: whether to go on with the run that is in that folder, if there is one, and
        to extend it where a larger num_updates (num_iterations of a language model) is
        asked for; a finished one is returned as it is.
      progress: whether to draw a bar while it goes on.
      log: where rows of metrics go beside metrics.jsonl: "tensorboard", "wandb", a
        function of a row, or several of these.
      **options: those of `aajax train PRESET --help`: beta=3.0, network={"blocks": 2}
        or **{"network.blocks": 2}, sweep={"beta": [0, 1]}, options={"continuation":
        0.9}.

    Raises:
      InputError: for an unknown preset or option, a value that is not accepted, or a
        folder that holds something else.
      DivergenceError: if every seed diverged.
      KeyboardInterrupt: after an interrupt; with `resume` it goes on.
    """
    own, config = make_config(preset, options)
    check_local("out", out)
    if out is None and resume:
        raise InputError("resume is True: a folder out is needed, to resume from")
    folder = temporary_folder() if out is None else Path(out)
    goes_on = resume and (folder / "config.json").exists()
    if isinstance(log, Iterable) and not isinstance(log, str):
        heard: tuple[str | Sink, ...] = tuple(log)
    else:
        heard = (log,)
    return _trained(name or own, config, folder, goes_on, progress, heard)


def load(folder: str | Path) -> Run:
    """The run in a folder, finished or not.

    Files are read when they are first asked for: without a checkpoint there are
    metrics, but no parameters.

    Raises:
      InputError: if it holds none.
    """
    check_value("run", Path, folder)
    check_local("run", folder)
    folder = Path(folder)
    path = folder / "config.json"
    if not path.exists():
        raise InputError(f"run is {str(folder)!r}: a folder with a run is needed")
    record = read_object(path)
    preset = record.pop("preset", None)
    if preset is None or "speaking" not in record:
        return load_small(folder)
    with within(f"file is {path}: "):
        return LmRun(folder, preset, LmConfig.from_json(record))


def tell_unfinished(folder: Path, config: Config, consequence: str) -> None:
    """Logs how far a run has come, if not to its end, and what that means here."""
    saved = latest_step(folder / "checkpoints")
    if saved == 0 and (folder / SUMMARY).exists():
        return  # a member of a population
    if saved < config.length:
        _log.warning(
            "%s: it is unfinished, after %d of %d %s, and %s",
            *(folder, saved, config.length, config.unit, consequence),
        )


def check_run(name: str, run: Any) -> None:
    """Raises InputError for an argument that is neither a run nor a path."""
    if not isinstance(run, Run | str | os.PathLike):
        raise InputError(
            f"{name} is {shown(run)}: a run, or a folder with one, is needed"
        )
    check_local(name, run)


def load_small(folder: Path) -> SmallRun:
    """The same, and InputError for one of a language model."""
    return SmallRun(folder, *small.load_config(folder))


def evaluate(run: Run | str | Path) -> Any:
    """What trained policies, or a language model, are worth, played anew.

    Args:
      run: itself, or its folder; it need not be finished.

    Returns:
      Of small policies a record per setting, as `settings` of summary.json has them:
      `hyperparameters`, `mean_reward` in self-play, `measures`, `league` (reward
      against scripted players) and, of a matrix game, `p_cooperate` after each outcome,
      with lists over seeds, None for those that diverged. Of a language model its
      measures by who sits opposite.

    Raises:
      InputError: for a folder without a run.
    """
    check_run("run", run)
    found = run if isinstance(run, Run) else load(run)
    return found.evaluate()


def _trained(
    preset: str,
    config: Config,
    folder: Path,
    resume: bool,
    progress: bool,
    log: Sequence[str | Sink] = (),
) -> Run:
    with (
        explained_interrupt(folder, config, "resume=True"),
        shown_progress(config, progress) as on_chunk,
    ):
        if isinstance(config, RunConfig):
            found = train_small(preset, config, folder, resume, on_chunk, log)
            return SmallRun(folder, preset, *found)
        check_installed("lm", "transformers")
        from aajax.api.lm_training import train_lm

        config = train_lm(preset, config, folder, resume, on_chunk, log)
        return LmRun(folder, preset, config)


@contextlib.contextmanager
def explained_interrupt(folder: Path, config: Config, go_on: str) -> Iterator[None]:
    """Says of an interrupt how far a run is saved, and how it goes on.

    Args:
      folder: of the run, which may not be there yet.
      config: of the run.
      go_on: what continues it, such as "resume=True".
    """
    try:
        yield
    except KeyboardInterrupt:
        if not (folder / "config.json").exists():
            raise KeyboardInterrupt("Nothing was saved.") from None
        saved = latest_step(folder / "checkpoints")
        raise KeyboardInterrupt(
            f"Saved after {saved} of {config.length} {config.unit} in {folder}; "
            f"{go_on} goes on."
        ) from None


def temporary_folder() -> Path:
    """A folder that is there until Python ends."""
    folder = Path(tempfile.mkdtemp(prefix="aajax-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _check_number(name: str, number: Any, count: int) -> None:
    """Raises InputError for what is no index of so many, True and 1.0 included."""
    is_whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    if not is_whole or number not in range(count):
        raise InputError(
            f"{name} is {shown(number)}: a whole number from 0 to {count - 1} is needed"
        )


def _table(path: Path, name: str, x: Any, shape: tuple[int, int]) -> np.ndarray:
    """f64[settings, seeds] of lists, or of the one number of a language model.

    NaN where there is no number.

    Raises:
      InputError: for what is neither.
    """
    if x is None:
        return np.full(shape, np.nan)
    try:
        return np.asarray(x, float).reshape(shape)
    except (TypeError, ValueError):
        raise InputError(
            f"file is {path}: {name} has {shown(x)}: numbers of {shape[0]} settings "
            f"with {shape[1]} seeds are needed"
        ) from None
