"""What the schedules of a pool ask for at a moment, and the bounds that follow. Pure; times in epoch ms.

A schedule holds from each moment of its cron pattern on and for its duration. Patterns, time zones and changes of the
clock are those of job schedulers (`corral.cron_times`); a duration is real time, whatever the clock does meanwhile.

Schedules are floors and ceilings, no triggers: between them the load decides. Where several hold,

    floor      the highest of them and minReplicas
    ceiling    the lowest of them and maxReplicas
    both       a ceiling goes before a floor, also before minReplicas: it is there to keep something safe
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from corral.cron_times import next_ms, zone
from corral_operator.decision import Reason
from corral_operator.spec import PoolSpec, Schedule

ENDS_SOUGHT = 64
"""A window that is begun anew before it ends, more often than this, has no end that anybody waits for."""

LEAP_MS = 2 * 3_600_000
"""A clock that is set forward leaps an hour at most, but for those few that change sides of the date line."""

LONGEST_MS = 3_600_000
"""What was worked out is worked out anew after an hour at the latest: a clock may be set."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A schedule that holds, until when it does; None where no end is in sight."""

    schedule: Schedule
    until_ms: int | None

    @property
    def text(self) -> str:
        """`schedule office (until 2026-11-23 18:00 Europe/Berlin)`."""
        if self.until_ms is None:
            return f"schedule {self.schedule.name}"
        return f"schedule {self.schedule.name} (until {moment_text(self.until_ms, self.schedule.time_zone)})"


@dataclass(frozen=True, slots=True)
class Agenda:
    """What holds from `from_ms` on and before `next_ms`, when a schedule begins or ends; None where none ever does."""

    schedules: tuple[Schedule, ...] = ()
    from_ms: int = 0
    next_ms: int | None = None
    holding: tuple[Holding, ...] = ()
    coming: tuple[tuple[Schedule, int], ...] = ()
    """Those that do not hold, and when each begins."""

    @property
    def floor(self) -> Holding | None:
        """The one that asks for most."""
        rows = (row for row in self.holding if row.schedule.min_replicas is not None)
        return max(rows, key=lambda row: row.schedule.min_replicas or 0, default=None)

    @property
    def ceiling(self) -> Holding | None:
        """The one that allows least."""
        rows = (row for row in self.holding if row.schedule.max_replicas is not None)
        return min(rows, key=lambda row: row.schedule.max_replicas or 0, default=None)


EMPTY = Agenda()


@dataclass(frozen=True, slots=True)
class Bounds:
    """No fewer than `least` and no more than `most`; who says so, and which schedule where it is one."""

    least: int
    most: int
    least_by: Reason = Reason.MIN_REPLICAS
    most_by: Reason = Reason.MAX_REPLICAS
    floor: Holding | None = None
    ceiling: Holding | None = None


def agenda_of(schedules: tuple[Schedule, ...], wall_ms: int, before: Agenda | None = None) -> Agenda:
    """What holds now. `before`, the last answer, is given again as long as it is right."""
    if before is not None and before.schedules == schedules and _still(before, wall_ms):
        return before
    windows = [(schedule, *_window(schedule, wall_ms)) for schedule in schedules]
    holding = tuple(Holding(row, ends) for row, starts, ends in windows if starts is not None and starts <= wall_ms)
    coming = tuple((row, starts) for row, starts, _ in windows if starts is not None and starts > wall_ms)
    changes = [starts for _, starts in coming] + [row.until_ms for row in holding if row.until_ms is not None]
    return Agenda(schedules, wall_ms, min(changes, default=None), holding, coming)


def bounds_of(policy: PoolSpec, agenda: Agenda) -> Bounds:
    """The bounds of a pool while this agenda holds."""
    bounds, floor, ceiling = Bounds(policy.min_replicas, policy.max_replicas), agenda.floor, agenda.ceiling
    if floor is not None and (least := floor.schedule.min_replicas or 0) > bounds.least:
        bounds = replace(bounds, least=least, least_by=Reason.SCHEDULE, floor=floor)
    if ceiling is not None and (most := ceiling.schedule.max_replicas or bounds.most) < bounds.most:
        bounds = replace(bounds, most=most, most_by=Reason.SCHEDULE_CEILING, ceiling=ceiling)
    return bounds if bounds.least <= bounds.most else replace(bounds, least=bounds.most, least_by=bounds.most_by)


def moment_text(epoch_ms: int, time_zone: str) -> str:
    """`2026-11-23 18:00 Europe/Berlin`."""
    wall = datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(zone(time_zone))
    return f"{wall:%Y-%m-%d %H:%M} {time_zone}"


def _still(agenda: Agenda, wall_ms: int) -> bool:
    until_ms = agenda.from_ms + LONGEST_MS
    if agenda.next_ms is not None:
        until_ms = min(until_ms, agenda.next_ms)
    return agenda.from_ms <= wall_ms < until_ms or not agenda.schedules


def _window(schedule: Schedule, wall_ms: int) -> tuple[int | None, int | None]:
    """The window that holds, from its first moment to its end, or else the start of the next one.

    Windows that meet or overlap are one. The start is None where none comes, the end where none is in sight.
    """
    lasts_ms = round(schedule.duration_s * 1000)
    found = _first_after(schedule, max(0, wall_ms - lasts_ms))
    if found is None or found > wall_ms:
        return found, None
    latest = found
    for _ in range(ENDS_SOUGHT):
        again = _first_after(schedule, latest)
        if again is None or again > latest + lasts_ms:
            return found, latest + lasts_ms
        latest = again
    return found, None


def _first_after(schedule: Schedule, since_ms: int) -> int | None:
    """The first moment of the pattern after this one.

    A time of day that the clock leaps over comes as much later. Whoever asks from behind the leap is not told of it.
    """
    found = next_ms(schedule.cron, schedule.time_zone, since_ms)
    before_ms = since_ms - LEAP_MS
    if before_ms < 0 or _offset(schedule, before_ms) >= _offset(schedule, since_ms):
        return found
    while (early := next_ms(schedule.cron, schedule.time_zone, before_ms)) is not None and early <= since_ms:
        before_ms = early
    return early if found is None or (early is not None and early < found) else found


def _offset(schedule: Schedule, epoch_ms: int) -> timedelta:
    wall = datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(zone(schedule.time_zone))
    return wall.utcoffset() or timedelta()
