"""Runs that go on for longer than was asked for at first."""

import logging
from typing import Any, ClassVar, Protocol, Self, TypeVar

_log = logging.getLogger(__name__)


class Extensible(Protocol):
    """The config of a run, of whatever kind.

    Attributes:
      unit: what a run makes so many of, in the plural.
      schedule_option: the option that `schedule_length` is of.
      may_differ: names of options that may be others where a run goes on.
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

    @staticmethod
    def located(record: dict) -> dict:
        """A record of a run in which files have absolute paths."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self: ...


Config = TypeVar("Config", bound=Extensible)


def going_on(config: Config, stored: Config) -> Config:
    """The config of a run that goes on, with the schedule that it began with.

    A schedule that were stretched over the longer run would jump back where the shorter
    one has arrived. The run is then, to the bit, an uninterrupted one of the new length
    whose schedule is of the old one.

    Args:
      config: that is asked for.
      stored: of the run as far as it has come.
    """
    kept = stored.schedule_length
    is_given = config.schedule_length not in (kept, config.length)
    if not stored.moving or config.length < stored.length or is_given:
        return config
    return config if config.length == kept else config.scheduled_over(kept)


def tell_schedule(config: Extensible) -> None:
    """Logs which schedule a run keeps that has been extended, if it has any."""
    if config.moving:
        _log.warning(
            "%s: the schedule stays that of %d %s, and is not stretched over %d",
            ", ".join(config.moving), config.schedule_length, config.unit,
            config.length,
        )  # fmt: skip
