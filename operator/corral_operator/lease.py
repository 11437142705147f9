"""Who of several operators writes: the one whose name is in a Lease. The others look on, as warm as it is. Pure.

    held          renewed every 2 s; its holder writes for 6 s after it sent the last renewal that was answered
    not renewed   for 12 s since another operator last saw it change: whoever is first there takes it
    given back    at SIGTERM: taken at another's next look, within a second

No two clocks are compared. A write that was under way when the 6 s ended is over 5 s later (`cluster.WRITE_TIMEOUT`),
before anybody else may write. `leader.py` does what is decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

DURATION_S = 12.0
RENEW_S = 2.0
WRITES_FOR_S = 6.0

LOOK_S = 1.0
"""How often those look that do not hold it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease as it was read last. `changed_at`: when it was first seen so, in seconds of one's own clock."""

    holder: str
    """Empty when it was given back."""
    version: str
    """Empty when it has vanished since; for its holder's sake it counts until it would have run out."""
    changed_at: float
    acquired: str | None = None
    transitions: int = 0


def seen_now(before: Seen | None, found: Mapping[str, Any] | None, now_s: float) -> Seen | None:
    """What is known after another look. `found`: the Lease, None when there is none; None: there never was one."""
    if found is None:
        if before is None or not before.version:
            return before
        return Seen(before.holder, "", now_s, before.acquired, before.transitions)
    version = str(found["metadata"].get("resourceVersion") or "")
    if before is not None and before.version == version:
        return before
    spec = found.get("spec") or {}
    acquired, transitions = spec.get("acquireTime"), spec.get("leaseTransitions") or 0
    return Seen(spec.get("holderIdentity") or "", version, now_s, acquired, transitions)


def why_ours(seen: Seen | None, me: str, now_s: float) -> str | None:
    """Why `me` may be written into the Lease now; None while it is another's."""
    if seen is None:
        return "there was none"
    if seen.holder == me:
        return "it is ours"
    if not seen.holder:
        return "it was given back"
    if now_s - seen.changed_at >= DURATION_S:
        return f"{seen.holder} had not renewed it for {DURATION_S:.0f} s"
    return None


def may_write(renewed_at: float | None, now_s: float) -> bool:
    """Whether nobody else can hold it yet. `renewed_at`: when the last renewal that was answered was sent."""
    return renewed_at is not None and now_s - renewed_at < WRITES_FOR_S


def pause_s(seen: Seen | None, me: str, now_s: float) -> float:
    """Seconds until the next look after one that went well."""
    if seen is None or seen.holder == me:
        return RENEW_S
    return max(0.0, min(LOOK_S, seen.changed_at + DURATION_S - now_s))


def lease_body(namespace: str, name: str, seen: Seen | None, holder: str, now: datetime) -> Mapping[str, Any]:
    """The Lease to write: taken, renewed or, with an empty holder, given back."""
    stamp = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    before = seen or Seen("", "", 0.0)
    anew = bool(holder) and holder != before.holder
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "namespace": namespace,
            "name": name,
            **({"resourceVersion": before.version} if before.version else {}),
        },
        "spec": {
            "holderIdentity": holder or None,
            "leaseDurationSeconds": ceil(DURATION_S),
            "acquireTime": stamp if anew else before.acquired,
            "renewTime": stamp,
            "leaseTransitions": before.transitions + anew,
        },
    }
