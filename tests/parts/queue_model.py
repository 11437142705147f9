"""A small model of one queue and its pods, to play loads through `learn` and `decide` without a clock.

Jobs arrive and take as long as the test says. Pods take time to start, run `concurrency` jobs at once, and when they are
no longer wanted they finish what they run: told by SIGTERM, which counts as an interruption, or with `guard` Drain told
to take nothing more, and removed when they are idle. The operator looks every two seconds; at zero every 30 s, whenever
a job comes, and before one falls due. Another scaler may decide in its place.
"""

import heapq
import itertools
import random
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from corral_operator.decision import Decision
from corral_operator.learning import QueueMemory, learn
from corral_operator.observed import Observed, Pods, QueueReading
from corral_operator.scaling import PoolMemory, decide
from corral_operator.spec import Busy, PoolSpec

TICK_S = 2.0
NET_S = 30.0
QUEUE = "jobs"


@dataclass(frozen=True, slots=True)
class Load:
    """One job: when it is added, how long it runs, how long it is delayed."""

    at_s: float
    seconds: float
    delay_s: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    seconds: float
    ready_s: float
    started_s: float = 0.0


@dataclass(slots=True, eq=False)
class Pod:
    created_s: float
    ready: bool = False
    leaving: bool = False
    cordoned: bool = False
    running: list[Job] = field(default_factory=list)


@dataclass
class Played:
    """What came of it."""

    until_s: float
    target_s: float
    waits: list[tuple[float, float]] = field(default_factory=list)
    """When a job became ready, and how long it waited."""
    replicas: list[tuple[float, int]] = field(default_factory=list)
    pod_seconds: float = 0.0
    work_seconds: float = 0.0
    interrupted: int = 0
    """Jobs that ran in a pod when it was told to end."""
    decisions: list[tuple[float, Decision]] = field(default_factory=list)

    def p95_wait(self, start_s: float = 0.0, end_s: float = float("inf")) -> float:
        """The wait that 95 % of the jobs of a span did not exceed."""
        waits = sorted(wait for at_s, wait in self.waits if start_s <= at_s < end_s)
        return waits[min(len(waits) - 1, int(len(waits) * 0.95))]

    def minutes_in_target(self, start_s: float = 0.0) -> float:
        """The share of minutes with jobs whose p95 wait was within the target; 0 when no job was ever started."""
        minutes: dict[int, list[float]] = {}
        for at_s, wait in self.waits:
            if at_s >= start_s:
                minutes.setdefault(int(at_s // 60), []).append(wait)
        good = [sorted(row)[min(len(row) - 1, int(len(row) * 0.95))] <= self.target_s for row in minutes.values()]
        return sum(good) / len(good) if good else 0.0

    def direction_changes(self, start_s: float = 0.0) -> int:
        """How often replicas turned from rising to falling or back."""
        numbers = [number for at_s, number in self.replicas if at_s >= start_s]
        ups = [later > earlier for earlier, later in itertools.pairwise(numbers) if later != earlier]
        return sum(one != other for one, other in itertools.pairwise(ups))

    def most(self, start_s: float = 0.0, end_s: float = float("inf")) -> int:
        """The most replicas of a span."""
        return max(number for at_s, number in self.replicas if start_s <= at_s < end_s)

    def at(self, moment_s: float) -> int:
        """The replicas at a moment."""
        return [number for at_s, number in self.replicas if at_s <= moment_s][-1]


Scaler = Callable[[float, QueueReading, Pods], int]
"""Replicas from the time, the queue and the pods; asked every tick."""


class QueueModel:
    """One pool, one queue, and what happens to them in order of time."""

    def __init__(
        self,
        policy: PoolSpec,
        loads: Iterable[Load],
        *,
        pod_start_s: tuple[float, float] = (4.0, 12.0),
        replicas: int = 0,
        seed: int = 1,
        guard: Busy = Busy.COST,
        scaler: Scaler | None = None,
        rate_limit: float | None = None,
    ) -> None:
        self._policy = policy
        self._dice = random.Random(seed)
        self._pod_start_s = pod_start_s
        self._guard, self._scaler = guard, scaler
        self._rate_limit = rate_limit
        """Jobs per second that may start."""
        self._may_start_at = 0.0
        self._now = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, str, object]] = []
        self._waiting: deque[Job] = deque()
        self._delayed: list[tuple[float, int, Job]] = []
        self._pods = [Pod(0.0, ready=True) for _ in range(replicas)]
        self._present = replicas
        self._added = 0
        self._queue_memory: QueueMemory | None = None
        self._memory: PoolMemory | None = None
        self._played = Played(0.0, getattr(policy.target, "seconds", 0.0))
        for load in loads:
            self._at(load.at_s, "add", load)
        self._at(0.0, "tick", None)

    def forget(self, at_s: float) -> None:
        """The operator restarts at this time."""
        self._at(at_s, "forget", None)

    def play(self, until_s: float) -> Played:
        """Everything until then."""
        played = self._played
        played.until_s = until_s
        while self._events and self._events[0][0] <= until_s:
            at_s, _, kind, what = heapq.heappop(self._events)
            played.pod_seconds += (at_s - self._now) * len(self._pods)
            self._now = at_s
            self._happen(kind, what)
        return played

    def _happen(self, kind: str, what: object) -> None:
        match kind, what:
            case "add", Load() as load:
                self._add(load)
            case "due", _:
                self._take()
            case "ready", Pod() as pod if not pod.leaving:
                pod.ready = True
                self._take()
            case "end", (Pod() as pod, Job() as job):
                pod.running.remove(job)
                if pod.leaving and not pod.running:
                    self._pods.remove(pod)
                self._take()
            case "limit", _:
                self._take()
            case "tick", _:
                self._tick()
                self._at(self._now + TICK_S, "tick", None)
            case "look", _:
                self._tick()
            case "forget", _:
                self._queue_memory = self._memory = None

    def _at(self, at_s: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), kind, what))

    def _add(self, load: Load) -> None:
        self._added += 1
        job = Job(load.seconds, self._now + load.delay_s)
        if load.delay_s:
            insort(self._delayed, (job.ready_s, next(self._order), job))
            self._at(job.ready_s, "due", None)
            return
        self._waiting.append(job)
        self._take()
        if not self._present:
            self._at(self._now, "look", None)  # the push: a sleeping pool is looked at when a job comes

    def _take(self) -> None:
        """Free slots take what waits; a live worker promotes what is due."""
        free = [pod for pod in self._pods if pod.ready and not pod.leaving and not pod.cordoned]
        while free and self._delayed and self._delayed[0][0] <= self._now:
            self._waiting.append(self._delayed.pop(0)[2])
        while self._waiting and free:
            pod = min(free, key=lambda one: len(one.running))
            if len(pod.running) >= self._policy.concurrency:
                return
            if self._rate_limit is not None and not self._lets_start(self._rate_limit):
                return
            job = self._waiting.popleft()
            job.started_s = self._now
            pod.running.append(job)
            self._played.waits.append((job.ready_s, self._now - job.ready_s))
            self._played.work_seconds += job.seconds
            self._at(self._now + job.seconds, "end", (pod, job))

    def _lets_start(self, rate: float) -> bool:
        if self._now < self._may_start_at:
            self._at(self._may_start_at, "limit", None)
            return False
        self._may_start_at = self._now + 1 / rate
        return True

    def _tick(self) -> None:
        if self._scaler is not None:
            replicas = self._scaler(self._now, self._reading(), self._seen_pods())
            self._scale(replicas)
            self._played.replicas.append((self._now, replicas))
            return
        slept = self._present == 0 and not self._waiting and not any(pod.running for pod in self._pods)
        near = self._delayed and self._delayed[0][0] - self._now <= self._pod_start_s[1] + TICK_S
        if slept and not near and self._now % NET_S >= TICK_S:
            return
        reading = self._reading()
        learned, self._queue_memory = learn(self._queue_memory, reading, self._now, hint_s=self._policy.job_seconds)
        observed = Observed(self._now, round(self._now * 1000), (reading,), self._seen_pods(), guard=self._guard)
        decision, self._memory = decide(
            self._policy, observed, {QUEUE: learned}, self._memory, pod_start_s=self._pod_start_s[1]
        )
        self._played.decisions.append((self._now, decision))
        self._scale(decision.replicas)
        self._played.replicas.append((self._now, decision.replicas))

    def _reading(self) -> QueueReading:
        running = [job for pod in self._pods for job in pod.running]
        until = self._now + self._pod_start_s[1]
        return QueueReading(
            name=QUEUE,
            waiting=len(self._waiting),
            due=sum(due <= self._now for due, _, _ in self._delayed),
            soon_due=sum(self._now < due <= until for due, _, _ in self._delayed),
            delayed=len(self._delayed),
            next_due_ms=round(self._delayed[0][0] * 1000) if self._delayed else None,
            active=len(running),
            id_counter=self._added,
            running_age_s=sum(self._now - job.started_s for job in running),
            rate_max=None if self._rate_limit is None else round(self._rate_limit * 60),
            rate_duration_ms=None if self._rate_limit is None else 60_000,
        )

    def _seen_pods(self) -> Pods:
        staying = [pod for pod in self._pods if not pod.leaving]
        return Pods(
            present=self._present,
            ready=sum(pod.ready for pod in staying),
            starting_ages_s=tuple(self._now - pod.created_s for pod in staying if not pod.ready),
            terminating=len(self._pods) - len(staying),
        )

    def _scale(self, replicas: int) -> None:
        staying = [pod for pod in self._pods if not pod.leaving]
        for _ in range(replicas - len(staying)):
            pod = Pod(self._now)
            self._pods.append(pod)
            self._at(self._now + self._dice.uniform(*self._pod_start_s), "ready", pod)
        surplus = max(0, len(staying) - replicas)
        if self._guard is Busy.DRAIN:
            self._present = self._drain(staying, surplus) if surplus else replicas
            for pod in staying if not surplus else ():
                pod.cordoned = False
            self._take()
            return
        # Kubernetes takes those that are not ready first, then the youngest; it knows nothing of jobs.
        staying.sort(key=lambda pod: (pod.ready, -pod.created_s))
        for pod in staying[:surplus]:
            pod.leaving = True
            self._played.interrupted += len(pod.running)
            if not pod.running:
                self._pods.remove(pod)
        self._present = replicas

    def _drain(self, staying: list[Pod], surplus: int) -> int:
        """Idle ones go, busy ones take nothing more; gives how many are left."""
        staying.sort(key=lambda pod: (pod.ready, not pod.cordoned, len(pod.running), -pod.created_s))
        for pod in staying[:surplus]:
            pod.cordoned = True
            if not pod.running:
                pod.leaving = True
                self._pods.remove(pod)
        for pod in staying[surplus:]:
            pod.cordoned = False
        return sum(not pod.leaving for pod in staying)


def steady(rate: float, seconds: float, start_s: float, end_s: float, seed: int = 1) -> list[Load]:
    """Jobs at random, so many a second, with exponential lengths."""
    dice = random.Random(seed)
    loads, at_s = [], start_s
    while (at_s := at_s + dice.expovariate(rate)) < end_s:
        loads.append(Load(at_s, dice.expovariate(1 / seconds)))
    return loads


def burst(count: int, seconds: float, at_s: float, *, delay_s: float = 0.0) -> list[Load]:
    """So many jobs at once, all alike."""
    return [Load(at_s, seconds, delay_s) for _ in range(count)]
