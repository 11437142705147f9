"""What is wrong in a whole keyspace: every key of every queue under a prefix is read at once and held against the data
model. A sound keyspace, whoever wrote it, gives no sentence.

    assert await audit(client) == []

It looks at what lies there, never at how it came about, so it fits after any step of any test.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queue_space import ALWAYS, FINISHED, KINDS, PART_KINDS, SETS, QueueSpace, read_space

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import redis.asyncio

_EXPIRING = ("stalled-check", "limiter", "corral:beats", "corral:workers", "corral:look")


async def audit(
    client: redis.asyncio.Redis, *queues: str, prefix: str = "bull", now_ms: int | None = None, wakes: bool = False
) -> list[str]:
    """Sentences on what is wrong; empty = all is well.

    queues: tell of these only (default: of all that there are). now_ms: the clock of the test, against which the
    scores of delayed jobs are held. wakes: also tell of markers that are missing, so that blocked workers would sleep on
    beside work; right only when no worker has popped them.
    """
    return troubles(await read_space(client, prefix), *queues, prefix=prefix, now_ms=now_ms, wakes=wakes)


def troubles(
    space: Mapping[str, QueueSpace], *queues: str, prefix: str = "bull", now_ms: int | None = None, wakes: bool = False
) -> list[str]:
    """The same, of what `read_space` has read."""
    told: list[str] = []
    for queue in space.values():
        if not queues or queue.name in queues:
            told += _Look(queue, space, prefix, now_ms).sentences(wakes)
    return told


@dataclass
class _Look:
    """One queue, in the light of all of them."""

    queue: QueueSpace
    space: Mapping[str, QueueSpace]
    prefix: str
    now_ms: int | None

    def sentences(self, wakes: bool) -> list[str]:
        parts: list[Iterable[str]] = [
            self._keys(),
            self._places(),
            self._jobs(),
            self._counters(),
            self._locks(),
            self._children(),
            self._deduplication(),
            self._schedulers(),
            self._workers(),
        ]
        if wakes:
            parts.append(self._markers())
        return [f"queue {self.queue.name}: {sentence}" for part in parts for sentence in part]

    def _job_at(self, key: str) -> tuple[QueueSpace, str] | None:
        """The queue and the id of a job's full key; None when there is no such job."""
        name, _, job_id = key.removeprefix(f"{self.prefix}:").partition(":")
        queue = self.space.get(f"{self.prefix}:{name}:")
        return (queue, job_id) if queue and job_id in queue.jobs else None

    def _keys(self) -> Iterator[str]:
        for key in self.queue.unknown:
            yield f"nobody knows the key {key}"
        for name, found in self.queue.own.items():
            if found.kind != KINDS[name]:
                yield f"{name} is a {found.kind}, not a {KINDS[name]}"
            if name in _EXPIRING and found.left_ms == -1:
                yield f"{name} never runs out"
            if name not in (*_EXPIRING, "corral:orders") and found.left_ms != -1:
                yield f"{name} runs out"
        for (job_id, suffix), found in self.queue.parts.items():
            if found.kind != PART_KINDS[suffix]:
                yield f"{suffix} of job {job_id} is a {found.kind}, not a {PART_KINDS[suffix]}"
            if suffix != "lock" and job_id not in self.queue.jobs:
                yield f"{suffix} of job {job_id} is left, and the job is gone"

    def _places(self) -> Iterator[str]:
        """Every job in exactly one state, every id of a state a job."""
        queue = self.queue
        for job_id in queue.jobs:
            states = queue.states(job_id)
            if not states:
                yield f"job {job_id} is in no state"
            elif len(states) > 1:
                yield f"job {job_id} is in {' and '.join(states)}"
        for job_id, states in queue.places.items():
            if job_id not in queue.jobs and not job_id.startswith("0:"):
                yield f"{' and '.join(states)} holds {job_id}, which has no hash"
        if queue.held("paused") and "paused" not in queue.held("meta"):
            yield "it is not paused, and jobs lie in its list paused"

    def _jobs(self) -> Iterator[str]:
        for job_id, fields in self.queue.jobs.items():
            broken = [*_unreadable(fields)]
            for problem in broken:
                yield f"job {job_id}: {problem}"
            if broken:
                continue
            for state in self.queue.states(job_id):
                for problem in self._in_state(job_id, state, fields):
                    yield f"job {job_id} is {state}, and {problem}"

    def _in_state(self, job_id: str, state: str, fields: dict[str, str]) -> Iterator[str]:
        score = self.queue.held(state)[job_id] if state in SETS else 0.0
        if state in FINISHED:
            if fields.get("finishedOn") != f"{score:.0f}":
                yield f"finishedOn is {fields.get('finishedOn')}, its score {score:.0f}"
            needed = "returnvalue" if state == "completed" else "failedReason"
            if needed not in fields:
                yield f"it has no {needed}"
            if state == "failed" and "defa" in fields:
                yield "its deferred failure is still there"
        else:
            for name in ("finishedOn", "returnvalue"):
                if name in fields:
                    yield f"it has {name}"
        if state == "active" and not {"processedOn", "ats"} <= fields.keys():
            yield "it was never started"
        if state == "prioritized" and int(score) >> 32 != int(fields["priority"]):
            yield f"its score {score:.0f} is of priority {int(score) >> 32}, not {fields['priority']}"
        if state == "delayed":
            yield from self._due(int(score) >> 12, int(fields["timestamp"]), int(fields["delay"]))

    def _due(self, due: int, timestamp: int, delay: int) -> Iterator[str]:
        """A new job is due by its timestamp; one that is delayed again, by a moment that is past."""
        if due == timestamp + delay:
            return
        if self.now_ms is not None and due - delay > self.now_ms:
            yield f"it is due at {due}, with a delay of {delay} from {timestamp}"

    def _counters(self) -> Iterator[str]:
        queue = self.queue
        for name in ("id", "pc", "limiter"):
            if name in queue.own and not _is_number(str(queue.own[name].value)):
                yield f"{name} is no number"
        counted = queue.own.get("id")
        highest = max((int(job_id) for job_id in queue.jobs if job_id.isdecimal()), default=0)
        if highest > (int(counted.value) if counted and _is_number(counted.value) else 0):
            yield f"id counts less than job {highest}"
        for name in ("concurrency", "max", "duration", "opts.maxLenEvents"):
            if not _is_number(queue.held("meta").get(name, "0")):
                yield f"{name} of meta is no number"
        for member, score in queue.held("marker").items():
            if member not in ("0", "1") or (member == "0" and score != 0):
                yield f"marker holds {member} at {score:.0f}"

    def _locks(self) -> Iterator[str]:
        active = self.queue.held("active")
        for (job_id, suffix), found in self.queue.parts.items():
            if suffix != "lock":
                continue
            if found.left_ms == -1:
                yield f"the lock of job {job_id} never runs out"
            if job_id in self.queue.jobs and job_id not in active:
                yield f"job {job_id} is locked and not active"
        # A removed job may be named there until the next look.
        for job_id in self.queue.held("stalled"):
            if job_id in self.queue.jobs and job_id not in active:
                yield f"stalled holds {job_id}, which is not active"

    def _children(self) -> Iterator[str]:
        queue = self.queue
        for job_id in queue.held("waiting-children"):
            if (job_id, "dependencies") not in queue.parts:
                yield f"job {job_id} waits for children, and none is open"
        ledgers = ("dependencies", "processed", "failed", "unsuccessful")
        for parent_id in sorted({job_id for job_id, suffix in queue.parts if suffix in ledgers}):
            books = {name: queue.parts[parent_id, name].value for name in ledgers if (parent_id, name) in queue.parts}
            times = Counter(child for book in books.values() for child in book)
            for child in sorted(child for child, count in times.items() if count > 1):
                yield f"job {parent_id} has its child {child} in {' and '.join(b for b in books if child in books[b])}"
            for child in books.get("dependencies", []):
                yield from self._open_child(parent_id, child)
            for name in ledgers[1:]:
                for child in books.get(name, []):
                    yield from self._ended_child(parent_id, child, name)

    def _open_child(self, parent_id: str, child: str) -> Iterator[str]:
        found = self._job_at(child)
        if found is None:
            yield f"job {parent_id} waits for {child}, which has no hash"
            return
        queue, child_id = found
        points_to = queue.jobs[child_id].get("parentKey")
        if points_to != self.queue.base + parent_id:
            yield f"job {parent_id} waits for {child}, whose parent is {points_to}"
        if "completed" in queue.states(child_id):
            yield f"job {parent_id} waits for {child}, which is completed"

    def _ended_child(self, parent_id: str, child: str, ledger: str) -> Iterator[str]:
        found = self._job_at(child)
        if found is None:  # it is gone, and its end is remembered
            return
        queue, child_id = found
        is_theirs = queue.jobs[child_id].get("parentKey") == self.queue.base + parent_id
        if is_theirs and queue.states(child_id) and not queue.is_finished(child_id):
            yield f"job {parent_id} has its child {child} in {ledger}, and that has not ended"

    def _deduplication(self) -> Iterator[str]:
        queue = self.queue
        for id, found in queue.owners.items():
            owner = found.value
            if found.left_ms != -1:
                continue
            if owner not in queue.jobs:
                yield f"deduplication id {id} is held for ever by {owner}, which has no hash"
            elif queue.is_finished(owner):
                yield f"deduplication id {id} is held for ever by {owner}, which has finished"
        # The key may have run out before the job that it named has ended.
        living = {fields.get("deid") for job_id, fields in queue.jobs.items() if not queue.is_finished(job_id)}
        for id in queue.kept.keys() - living:
            yield f"a job is kept back for deduplication id {id}, which no living job holds"

    def _schedulers(self) -> Iterator[str]:
        queue = self.queue
        for scheduler, next_ms in queue.held("repeat").items():
            record = queue.records.get(scheduler)
            if record is None:
                yield f"job scheduler {scheduler} has no record"
                continue
            pending = f"repeat:{scheduler}:{next_ms:.0f}"
            if self._is_over(record):
                continue
            if pending not in queue.jobs:
                yield f"the pending iteration {pending} does not exist"
            elif queue.jobs[pending].get("rjk") != scheduler:
                yield f"the pending iteration {pending} does not name its job scheduler"
            elif queue.is_finished(pending):
                yield f"the pending iteration {pending} has finished"

    def _is_over(self, record: dict[str, str]) -> bool:
        """Whether a scheduler has come to its end; its record stays."""
        if "ic" in record and int(record["ic"]) >= int(record.get("limit") or 2**53):
            return True
        ends = int(record.get("endDate") or 2**53)
        return self.now_ms is not None and self.now_ms >= ends

    def _workers(self) -> Iterator[str]:
        beats, workers = self.queue.held("corral:beats").keys(), self.queue.held("corral:workers").keys()
        for worker in sorted(beats ^ workers):
            yield f"worker {worker} has {'a beat and no record' if worker in beats else 'a record and no beat'}"

    def _markers(self) -> Iterator[str]:
        queue, marker = self.queue, self.queue.held("marker")
        meta = queue.held("meta")
        if "paused" in meta or "concurrency" in meta:
            return
        runnable = len(queue.held("wait")) + len(queue.held("prioritized"))
        if runnable and "0" not in marker:
            yield f"{runnable} jobs can run, and no marker wakes a worker"
        if queue.held("delayed") and not runnable and not marker:
            yield "jobs are delayed, and no marker tells a worker until when"


def _unreadable(fields: dict[str, str]) -> Iterator[str]:
    """Fields that every job has, and whether all can be read."""
    for name in sorted(ALWAYS - fields.keys()):
        yield f"it has no {name}"
    for name in ("timestamp", "delay", "priority", "processedOn", "finishedOn", "atm", "ats", "stc"):
        if not _is_number(fields.get(name, "0")):
            yield f"its {name} is no number"
    for name in ("data", "opts", "parent", "progress", "returnvalue", "stacktrace"):
        try:
            json.loads(fields.get(name, "0"))
        except ValueError:
            yield f"its {name} is not JSON"
    if ("parent" in fields) != ("parentKey" in fields):
        yield "it has only one of parent and parentKey"


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
