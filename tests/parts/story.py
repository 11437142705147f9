"""A pool whose decisions are obeyed at once, told look by look."""

from dataclasses import replace
from typing import Any

from corral_operator.decision import Decision
from corral_operator.learning import Learned, Source
from corral_operator.observed import Observed, Pods, QueueReading, Rivals, Staff, Unknown
from corral_operator.scaling import PoolMemory, decide
from corral_operator.spec import Busy, PoolSpec, WaitTarget

POOL = PoolSpec(
    name="emails",
    namespace="shop",
    redis_secret="redis",
    queues=("emails",),
    max_replicas=30,
    target=WaitTarget(30.0),
    template={},
)
POD_START_S = 10.0
IDLE_AFTER_S = 30.0  # three pod starts
REFUSED = Unknown("emails", "Unreachable", "connection refused")


class Story:
    """Pods are ready at once, unless the story says otherwise. `begins_ms` is the wall clock at the first look."""

    def __init__(self, policy: PoolSpec = POOL, present: int = 0, begins_ms: int = 500_000) -> None:
        self.policy, self.present = policy, present
        self.now_s = 500.0
        self.begins_ms = begins_ms
        self.memory: PoolMemory | None = None
        self.guard = Busy.COST
        self.staff = Staff()
        self.rivals = Rivals()

    @property
    def wall_ms(self) -> int:
        """The wall clock now."""
        return self.begins_ms + round((self.now_s - 500.0) * 1000)

    def see(self, *readings: QueueReading | Unknown, lessons: Any = None, **pods: Any) -> Decision:
        """One look; nothing is applied."""
        seen = replace(Pods.steady(self.present), **pods)
        rows = readings or (quiet(),)
        observed = Observed(self.now_s, self.wall_ms, rows, seen, self.staff, self.guard, self.rivals)
        known = {row.name: (lessons or {}).get(row.name, lesson()) for row in observed.known}
        decision, self.memory = decide(self.policy, observed, known, self.memory, pod_start_s=POD_START_S)
        return decision

    def look(self, *readings: QueueReading | Unknown, lessons: Any = None, **pods: Any) -> Decision:
        """One look, obeyed."""
        decision = self.see(*readings, lessons=lessons, **pods)
        self.present = decision.replicas
        return decision

    def go_on(self, seconds: float, *readings: QueueReading | Unknown, lessons: Any = None, **pods: Any) -> list[int]:
        """The same look every two seconds; the replicas after each."""
        numbers = []
        for _ in range(round(seconds / 2)):
            self.now_s += 2
            numbers.append(self.look(*readings, lessons=lessons, **pods).replicas)
        return numbers


def quiet(**counts: Any) -> QueueReading:
    return QueueReading(**{"name": "emails", "id_counter": 1000, **counts})


def lesson(rate: float = 0.0, service_s: float = 10.0, age_s: float = 0.0, taken: float = 0.0) -> Learned:
    return Learned(rate, service_s, service_s, age_s, taken, Source.MEASURED)


def arriving(rate: float, service_s: float = 10.0) -> dict[str, Learned]:
    return {"emails": lesson(rate, service_s)}
