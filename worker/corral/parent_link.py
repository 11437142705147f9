"""What ties a child to its parent: the parent's place, and what the child's failure means for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from corral.errors import InvalidJob


class ChildFailure(StrEnum):
    """What happens to the parent when a child has failed for good. The values are the names on the wire."""

    FAIL_PARENT = "fpof"
    CONTINUE_PARENT = "cpof"
    IGNORE = "idof"
    REMOVE = "rdof"


@dataclass(frozen=True, slots=True)
class Parent:
    """A job that waits for its children: its `id`, and `queue`, the prefix and name of its queue, like `bull:reports`."""

    id: str
    queue: str

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidJob(f"a parent's id is a text that is not empty, got {self.id!r}")
        if not isinstance(self.queue, str) or ":" not in self.queue.strip(":"):
            raise InvalidJob(f"a parent's queue is its prefix and name, like 'bull:reports', got {self.queue!r}")

    @property
    def key(self) -> str:
        """Key of the parent's hash."""
        return f"{self.queue}:{self.id}"

    @classmethod
    def from_wire(cls, wire: Any) -> Self | None:
        """Read `parent` of a job's options (`queue`) or of its hash (`queueKey`); None for what cannot be one."""
        if not isinstance(wire, Mapping):
            return None
        try:
            return cls(wire["id"], wire.get("queue") or wire["queueKey"])
        except (KeyError, InvalidJob):
            return None

    def to_options(self) -> dict[str, str]:
        """As it stands in a child's options."""
        return {"id": self.id, "queue": self.queue}

    def to_hash(self, policy: ChildFailure | None) -> dict[str, Any]:
        """As it stands in a child's hash, with what the child's failure means."""
        return {"id": self.id, "queueKey": self.queue} | ({policy.value: True} if policy else {})
