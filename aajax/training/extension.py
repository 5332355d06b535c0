"""Extension of runs beyond the length with which they were started."""

import logging
from typing import Any, ClassVar, Protocol, Self, TypeVar

_log = logging.getLogger(__name__)


class Extensible(Protocol):
    """The config of a run, of whatever kind.

    Attributes:
      unit: plural of what the length counts: updates, or iterations.
      schedule_option: the option that sets `schedule_length`.
      may_differ: names of options that may be changed when a run is resumed.
    """

    unit: ClassVar[str]
    schedule_option: ClassVar[str]
    may_differ: ClassVar[frozenset[str]]

    @property
    def length(self) -> int:
        """Updates, or iterations."""
        ...

    @property
    def schedule_length(self) -> int:
        """How many of them schedules are shares of."""
        ...

    @property
    def moving(self) -> tuple[str, ...]:
        """Options that say what a quantity comes to in the course of a schedule."""
        ...

    def scheduled_over(self, length: int) -> Self:
        """The config with schedules that are shares of this length."""
        ...

    def settled_as(self, stored: Self) -> Self:
        """The config with what it leaves open as a run that is stored decided it."""
        ...

    @staticmethod
    def located(record: dict[str, Any]) -> dict[str, Any]:
        """A record in which files have absolute paths."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self: ...


Config = TypeVar("Config", bound=Extensible)


def going_on(config: Config, stored: Config) -> Config:
    """The config of an extended run, with the schedule of the original one.

    Stretching a schedule over the longer run would make it jump back at the point where
    the run is resumed. The extended run equals, bit for bit, an uninterrupted one of
    the new length with the original schedule.

    Args:
      config: as requested.
      stored: of the run so far.
    """
    kept = stored.schedule_length
    is_given = config.schedule_length not in (kept, config.length)
    if not stored.moving or config.length < stored.length or is_given:
        return config
    return config if config.length == kept else config.scheduled_over(kept)


def tell_schedule(config: Extensible) -> None:
    """Logs which schedule an extended run keeps, if it has any."""
    if config.moving:
        _log.warning(
            "%s: the schedule stays that of %d %s, and is not stretched over %d",
            ", ".join(config.moving), config.schedule_length, config.unit,
            config.length,
        )  # fmt: skip
