"""The schedules of a pool, as its user declared them. Pure; what they ask for at a moment is worked out in schedules.py."""

from dataclasses import dataclass

from corral.cron import parse
from corral.cron_times import zone
from corral.errors import InvalidJob
from corral_operator.fields import Fields, SpecError

MAX_SCHEDULES = 32
CRON_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Schedule:
    """From each moment of `cron` in `time_zone` on and for `duration_s`: no fewer and no more replicas than these."""

    name: str
    cron: str
    time_zone: str
    duration_s: float
    min_replicas: int | None = None
    max_replicas: int | None = None


def read_schedules(fields: Fields, most: int) -> tuple[Schedule, ...]:
    """`schedules[]` of a spec; `most` is its maxReplicas. Raises SpecError."""
    schedules: list[Schedule] = []
    for row in fields.rows("schedules", least=0, most=MAX_SCHEDULES):
        schedule = Schedule(
            name=row.text("name"),
            cron=row.text("cron"),
            time_zone=row.text("timeZone", "UTC"),
            duration_s=row.duration("duration", positive=True),
            min_replicas=row.whole_or_none("minReplicas", most=most),
            max_replicas=row.whole_or_none("maxReplicas", least=1, most=most),
        )
        if schedule.name in (other.name for other in schedules):
            raise SpecError(row.path("name"), f"names {schedule.name!r} twice")
        floor, ceiling = schedule.min_replicas, schedule.max_replicas
        if floor is None and ceiling is None:
            raise SpecError(row.path(), "needs minReplicas or maxReplicas, or both")
        if floor is not None and ceiling is not None and floor > ceiling:
            raise SpecError(row.path("minReplicas"), f"must not be above its maxReplicas ({ceiling}), got {floor}")
        _check_times(row, schedule)
        schedules.append(schedule)
    return tuple(schedules)


def _check_times(row: Fields, schedule: Schedule) -> None:
    """What no rule of the resource can say: the pattern is one, and so is the time zone."""
    if len(schedule.cron.split()) != CRON_FIELDS:
        raise SpecError(row.path("cron"), f"must have {CRON_FIELDS} fields, like `0 8 * * 1-5`, got {schedule.cron!r}")
    try:
        parse(schedule.cron)
    except InvalidJob as error:
        raise SpecError(row.path("cron"), f"cannot be read: {error}") from None
    try:
        zone(schedule.time_zone)
    except InvalidJob:
        name = schedule.time_zone
        raise SpecError(row.path("timeZone"), f"must be a time zone like Europe/Berlin, got {name!r}") from None
