"""The table of `corral pools`: one row for each pool, from what the API server holds. Pure.

The columns are those of `kubectl get workerpools`. What is not known is a question mark, never a zero; a dash says that
there is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral_operator.figures import whole
from corral_operator.kept import inner, rows
from corral_operator.stamps import epoch_ms

COLUMNS = ("NAMESPACE", "NAME", "DESIRED", "READY", "BUSY", "WAITING", "OLDEST", "WHY", "AGE")
WIDE = ("MIN", "MAX", "MODE", "DECISION")

UNKNOWN, NONE = "?", "-"

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

_AGES = (
    (2 * _MINUTE, 1, "s", None),
    (10 * _MINUTE, _MINUTE, "m", (1, "s")),
    (3 * _HOUR, _MINUTE, "m", None),
    (8 * _HOUR, _HOUR, "h", (_MINUTE, "m")),
    (2 * _DAY, _HOUR, "h", None),
    (8 * _DAY, _DAY, "d", (_HOUR, "h")),
    (math.inf, _DAY, "d", None),
)
"""Ages below so many seconds: their unit, and a smaller one beside it."""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """One pool. None is not known; times as the API server writes them."""

    namespace: str
    name: str
    desired: int | None
    ready: int | None
    """Ready pods."""
    busy: int | None
    """Active jobs."""
    waiting: int | None
    """Jobs that a worker could take now."""
    oldest_since: str | None
    """None also when nothing waits."""
    why: str | None
    """The decision's reason; or why there is none, when the pool cannot be served."""
    broken: bool
    created_at: str | None
    min_replicas: int
    max_replicas: int | None
    mode: str
    decision: str | None
    """The sentence."""


def row_of(body: Mapping[str, Any]) -> PoolRow:
    """From the API server's object; a field of another type than ours counts as absent."""
    metadata, spec, status = inner(body, "metadata"), inner(body, "spec"), inner(body, "status")
    counts, decision = inner(status, "counts"), inner(status, "decision")
    ready = next((row for row in rows(status, "conditions") if row.get("type") == "Ready"), {})
    broken = ready.get("status") == "False"
    return PoolRow(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        desired=whole(status.get("desired")),
        ready=whole(inner(status, "pods").get("ready")),
        busy=whole(counts.get("active")),
        waiting=whole(counts.get("ready")),
        oldest_since=_text(status.get("oldestSince")),
        why=_text(ready.get("reason") if broken else decision.get("reason")),
        broken=broken,
        created_at=_text(metadata.get("creationTimestamp")),
        min_replicas=whole(spec.get("minReplicas")) or 0,
        max_replicas=whole(spec.get("maxReplicas")),
        mode=_text(spec.get("mode")) or "Auto",
        decision=_text(decision.get("text")),
    )


def cells(row: PoolRow, now_ms: float, *, wide: bool = False) -> tuple[str, ...]:
    """The row as text, in the order of the columns."""
    oldest = NONE if row.waiting == 0 else UNKNOWN
    plain = (
        row.namespace,
        row.name,
        *(UNKNOWN if number is None else str(number) for number in (row.desired, row.ready, row.busy, row.waiting)),
        _since(row.oldest_since, now_ms) or oldest,
        row.why or UNKNOWN,
        _since(row.created_at, now_ms) or UNKNOWN,
    )
    if not wide:
        return plain
    most = UNKNOWN if row.max_replicas is None else str(row.max_replicas)
    return (*plain, str(row.min_replicas), most, row.mode, row.decision or UNKNOWN)


def json_of(row: PoolRow) -> dict[str, Any]:
    """The row for programs; null is not known."""
    return {
        "namespace": row.namespace,
        "name": row.name,
        "desired": row.desired,
        "ready": row.ready,
        "busy": row.busy,
        "waiting": row.waiting,
        "oldestSince": row.oldest_since,
        "why": row.why,
        "createdAt": row.created_at,
        "minReplicas": row.min_replicas,
        "maxReplicas": row.max_replicas,
        "mode": row.mode,
        "decision": row.decision,
    }


def widths_of(table: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """How wide each column must be."""
    return tuple(max(len(cell) for cell in column) for column in zip(*table, strict=True))


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One row in columns; what is longer than its column stays whole."""
    return "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def age_text(seconds: float) -> str:
    """As kubectl tells ages: `90s`, `4m12s`, `45m`, `3h5m`, `2d3h`."""
    whole = max(0, int(seconds))
    size, unit, smaller = next((size, unit, smaller) for below, size, unit, smaller in _AGES if whole < below)
    count, rest = divmod(whole, size)
    rest = 0 if smaller is None else rest // smaller[0]
    return f"{count}{unit}" + (f"{rest}{smaller[1]}" if smaller is not None and rest else "")


def _since(text: str | None, now_ms: float) -> str | None:
    since_ms = epoch_ms(text)
    return None if since_ms is None else age_text((now_ms - since_ms) / 1000)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
