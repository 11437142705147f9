"""What a restart needs of the status that was written before it. Pure.

A status is what the API server hands out: somebody may have written nonsense into it, so every field is looked at, and
one of another type than ours counts as absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral_operator.report import Scaled
from corral_operator.spec import MAX_QUEUES
from corral_operator.stamps import epoch_ms

_MOST_S = 1e9
"""More than thirty years: no span of ours."""

NAME_LENGTH = 200
"""The longest name of a queue that the schema takes."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was learned before. Spans in seconds."""

    service_s: Mapping[str, float] = field(default_factory=dict)
    """How long a job takes, by queue."""
    found: frozenset[str] = frozenset()
    """The queues that existed: one of them that is gone is empty, not misspelt."""
    pod_start_s: float | None = None
    pod_start_p95_s: float | None = None
    scaled: Scaled | None = None


def kept(previous: Mapping[str, Any]) -> Kept:
    """What the status holds of it."""
    learned = inner(previous, "learned")
    return Kept(
        service_s={
            row["name"]: span
            for row in named(learned, "queues")
            if (span := _positive(row.get("jobSeconds"))) is not None
        },
        found=frozenset(row["name"] for row in named(previous, "queues") if row.get("found") is True),
        pod_start_s=_positive(learned.get("podStartSeconds")),
        pod_start_p95_s=_positive(learned.get("podStartSecondsP95")),
        scaled=last_scale(previous),
    )


def inner(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping inside another; empty when it is something else."""
    value = values.get(key)
    return value if isinstance(value, Mapping) else {}


def rows(values: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    """The mappings of a list; nothing else of it."""
    value = values.get(key)
    return (row for row in value if isinstance(row, Mapping)) if isinstance(value, list) else ()


def named(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The rows of a list of queues that have a name, as many as a pool may have."""
    told = [
        row for row in rows(values, key) if isinstance(name := row.get("name"), str) and 0 < len(name) <= NAME_LENGTH
    ]
    return told[:MAX_QUEUES]


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _MOST_S else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def last_scale(previous: Mapping[str, Any]) -> Scaled | None:
    """The change of the replicas that the status tells of."""
    row = inner(previous, "lastScale")
    from_, to, at_ms, reason = (
        _whole(row.get("from")),
        _whole(row.get("to")),
        epoch_ms(row.get("at")),
        row.get("reason"),
    )
    if from_ is None or to is None or at_ms is None or not isinstance(reason, str):
        return None
    return Scaled(from_, to, at_ms, reason)
