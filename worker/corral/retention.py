"""How many finished jobs stay, and for how long; as the public API takes it, and as it is stored."""

from dataclasses import dataclass
from typing import Any, Self

from corral.errors import InvalidJob, shown
from corral.moments import Duration, to_ms


def whole(value: Any) -> int | None:
    """A whole number from 0 up, or None: Node counts -1 as `no bound`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    # JSON may say 1e999; and the scripts count with whole numbers of 53 bits.
    return round(min(value, 2**53))


@dataclass(frozen=True, slots=True)
class Keep:
    """How many finished jobs stay: the newest `count`, none older than `age_s` seconds; None = no bound.

    Both bounds hold for the whole set of finished jobs and are applied when a job with them finishes:
    by `count` at most 1000 jobs are removed then, the oldest first, and the rest when the next jobs finish.
    `limit`: at most so many aged jobs are removed per finish (BullMQ's default: 1000).
    """

    count: int | None = None
    age_s: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "age_s", "limit"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise InvalidJob(f"Keep({name}=...) takes a whole number from 0 up, got {shown(value)}")

    @classmethod
    def for_age(cls, age: Duration, *, count: int | None = None, limit: int | None = None) -> Self:
        """Keep for a span of time (a timedelta or seconds), and at most `count`."""
        return cls(count, to_ms(age) // 1000, limit)

    @classmethod
    def from_wire(cls, value: Any) -> Self | None:
        """Read `removeOnComplete` or `removeOnFail`. None when the job says nothing about it."""
        if value is True:
            return cls(count=0)
        if value is False:
            return cls()
        if isinstance(value, int | float):
            return cls(whole(value))
        if isinstance(value, dict):
            return cls(whole(value.get("count")), whole(value.get("age")), whole(value.get("limit")))
        return None

    def to_wire(self) -> bool | int | dict[str, int]:
        """What BullMQ stores for it."""
        if self == Keep(count=0):
            return True
        if self == Keep():
            return False
        named = {"count": self.count, "age": self.age_s, "limit": self.limit}
        return {name: value for name, value in named.items() if value is not None}


KEEP_ALL = Keep()


def keep_option(value: bool | int | Keep | None) -> Keep | None:
    """Retention as the public API takes it: True = keep none, a number, a Keep. Raises InvalidJob."""
    if value is None or isinstance(value, Keep):
        return value
    if isinstance(value, bool | int):
        return Keep.from_wire(value)
    raise InvalidJob(f"retention takes True, False, a number of jobs or a Keep, got {shown(value)}")
