"""A worker's rate limit: how many jobs may start in a span of time."""

from dataclasses import dataclass
from typing import Self

from corral.errors import ConfigurationError, InvalidJob, shown
from corral.moments import Duration, to_ms


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `max` jobs of a queue start within `duration_ms`, over all its workers, whoever they are.

    The window is fixed and begins with its first job. Raises ConfigurationError.
    """

    max: int
    duration_ms: int

    def __post_init__(self) -> None:
        if type(self.max) is not int or self.max < 1:
            raise ConfigurationError(f"a rate limit's max is a whole number from 1 up, got {shown(self.max)}")
        if type(self.duration_ms) is not int or self.duration_ms < 1:
            raise ConfigurationError(f"a rate limit's duration is at least 1 ms, got {shown(self.duration_ms)}")

    @classmethod
    def per(cls, jobs: int, duration: Duration) -> Self:
        """So many jobs in a span of time (a timedelta or seconds)."""
        try:
            return cls(jobs, to_ms(duration))
        except InvalidJob as error:
            raise ConfigurationError(str(error)) from None
