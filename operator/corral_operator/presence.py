"""Who works for a pool, from what its workers say with their beats, or else from the jobs in their hands. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from corral_operator.observed import QueueReading, Staff


@dataclass(frozen=True, slots=True)
class StaffMemory:
    """What is remembered from one look to the next."""


def staff_of(
    readings: Iterable[QueueReading], memory: StaffMemory | None, now_s: float, wall_ms: int
) -> tuple[Staff, StaffMemory]:
    """The workers of the pool as of now. `now_s` is monotonic, `wall_ms` our epoch time."""
    return Staff(), memory or StaffMemory()
