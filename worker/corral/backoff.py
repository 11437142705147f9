"""How long a failed job waits before its next attempt. Pure: the random number comes in as an argument.

A fixed backoff waits `delay`, an exponential one `2^(n-1) * delay` after the n-th failed attempt (n from 1).
With jitter j the wait is drawn evenly from [wait * (1 - j), wait). The rules are BullMQ's.
"""

from dataclasses import dataclass
from typing import Any, Self

from corral.errors import InvalidJob
from corral.moments import LONGEST_MS, Duration, to_ms


def _stored_ms(value: float) -> int:
    return round(min(max(value, 0), LONGEST_MS))


@dataclass(frozen=True, slots=True)
class Backoff:
    """When a failed job runs again. `delay_ms` in milliseconds; `jitter` from 0 (none) to 1 (anything up to the wait).

    `type` is `fixed`, `exponential`, or the name of a strategy that the fleet's workers know.
    """

    type: str
    delay_ms: int = 0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise InvalidJob(f"jitter must lie between 0 and 1, got {self.jitter!r}")
        if not isinstance(self.delay_ms, int) or not 0 <= self.delay_ms <= LONGEST_MS:
            raise InvalidJob(f"a backoff's delay is a whole number of ms from 0 up, got {self.delay_ms!r}")

    @classmethod
    def fixed(cls, seconds: Duration, *, jitter: float = 0.0) -> Self:
        """Wait the same time after every failure."""
        return cls("fixed", to_ms(seconds), jitter)

    @classmethod
    def exponential(cls, seconds: Duration, *, jitter: float = 0.0) -> Self:
        """Wait `seconds` after the first failure, then twice as long after each further one."""
        return cls("exponential", to_ms(seconds), jitter)

    @classmethod
    def from_wire(cls, value: Any) -> Self | None:
        """Read what a producer stored: a number of ms, or an object. None for anything else."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls("fixed", _stored_ms(value))
        if not isinstance(value, dict):
            return None
        delay, jitter = value.get("delay", 0), value.get("jitter", 0)
        delay = delay if isinstance(delay, int | float) else 0
        jitter = jitter if isinstance(jitter, int | float) else 0
        return cls(str(value.get("type", "fixed")), _stored_ms(delay), min(1.0, max(0.0, jitter)))

    def to_wire(self) -> dict[str, Any]:
        """The object that BullMQ stores in a job's options."""
        wire: dict[str, Any] = {"type": self.type, "delay": self.delay_ms}
        if self.jitter:
            wire["jitter"] = self.jitter
        return wire

    @property
    def is_custom(self) -> bool:
        """Whether it is neither of the two that every worker knows."""
        return self.type not in {"fixed", "exponential"}

    def wait_ms(self, failed_attempts: int, draw: float) -> int:
        """Milliseconds until the next attempt.

        `failed_attempts` counts from 1; `draw` is a random number in [0, 1), used only with jitter.
        Raises InvalidJob for a strategy that this worker does not know.
        """
        if self.type == "fixed":
            wait = self.delay_ms
        elif self.type == "exponential":
            # 2^62 is past any clock; a larger exponent would only make a huge integer.
            wait = self.delay_ms * 2 ** min(failed_attempts - 1, 62)
        else:
            raise InvalidJob(
                f"unknown backoff strategy {self.type!r}; this worker knows 'fixed' and 'exponential'; give it "
                "one of your own: Worker(..., backoff_strategy=...)"
            )
        wait = min(wait, LONGEST_MS)
        if not self.jitter:
            return wait
        least = wait * (1 - self.jitter)
        return int(least + draw * (wait - least))
