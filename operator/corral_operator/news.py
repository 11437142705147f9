"""What is worth an event: the difference between the status of before and the one just written. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from corral_operator.kept import rows

# Conditions that people have to hear of when they turn to this status.
_BAD = {
    "Ready": "False",
    "RedisReachable": "False",
    "Limited": "True",
    "Protected": "False",
    "Conflict": "True",
    "NoConsumer": "True",
    "PoisonJobs": "True",
    "Stuck": "True",
}

# Of these conditions, what is nobody's wish.
_UNWANTED = {
    "Limited": ("Quota", "Unschedulable", "Downstream"),
    "Protected": ("NoBeats", "NoNames", "NoOrders", "OtherWriter"),
}


class News(NamedTuple):
    """One event: its reason, its text, and whether it is a warning."""

    reason: str
    text: str
    warning: bool = False


def news(previous: Mapping[str, Any], status: Mapping[str, Any]) -> list[News]:
    """Scaling, and conditions that turned bad or have a new reason to be."""
    told = []
    scaled = status.get("lastScale")
    if scaled and scaled != previous.get("lastScale"):
        reason = "ScaledUp" if scaled["to"] > scaled["from"] else "ScaledDown"
        # The sentence begins with the number, which is said here already.
        _, _, because = ((status.get("decision") or {}).get("text") or "").partition(": ")
        told.append(News(reason, f"from {scaled['from']} to {scaled['to']}: {because or scaled['reason']}"))
    before = {row.get("type"): row for row in rows(previous, "conditions")}
    for row in rows(status, "conditions"):
        was = before.get(row["type"], {})
        if _bad(row) and (was.get("status"), was.get("reason")) != (row["status"], row["reason"]):
            told.append(News(row["reason"], row["message"], warning=True))
    return told


def _bad(row: Mapping[str, Any]) -> bool:
    if _BAD.get(row["type"]) != row["status"]:
        return False
    return row["type"] not in _UNWANTED or row["reason"] in _UNWANTED[row["type"]]
