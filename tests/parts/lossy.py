"""A settler on a real Redis, over a line that loses calls and answers as a test plans it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from corral import Job, Keep, script
from corral.address import make_pool
from corral.connection import Line
from corral.errors import RedisUnavailable
from corral.job_record import from_wire
from corral.keys import Keys
from corral.lifecycle import Complete
from corral.settler import Ended, Settler
from corral.slots import Slots
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corral.lifecycle import Failed

KEYS = Keys("q")
DONE = Complete("1", Keep())
NAMES = {script.load(name).sha: name for name in ("settle_jobs", "take_jobs", "reclaim_jobs")}


class LossyLine:
    """A line that loses what a plan says: `answer` after Redis has done the call, `call` before it is sent."""

    def __init__(self, url: str) -> None:
        self._line = Line(make_pool(url))
        self.plan: Iterator[str] | None = None
        self.sent: list[tuple[str, str]] = []
        """Each call: the script, and the token for what it takes."""

    async def call(self, *command: Any, timeout: float = 10.0) -> Any:
        fate = next(self.plan, "") if self.plan is not None else ""
        name = NAMES.get(command[1], "again")
        if name != "again":
            self.sent.append((name, str(command[4] if name == "reclaim_jobs" else command[7])))
        if fate == "call":
            raise RedisUnavailable("lost on the way", maybe_done=False)
        reply = await self._line.call(*command, timeout=timeout)
        if fate == "answer":
            raise RedisUnavailable("its answer was lost", maybe_done=True)
        return reply

    async def close(self) -> None:
        await self._line.close()


class Heard:
    """A receiver that remembers, and ends each job at once when it is told to."""

    def __init__(self) -> None:
        self.settler: Settler
        self.ends_at_once = False
        self.jobs: list[tuple[Job, str]] = []
        self.settled_ids: list[str] = []
        self.refusals: list[tuple[str, int, bool]] = []
        self.calls: list[tuple[bool, int]] = []
        self.nothing = 0
        self.unreadable_ids: list[str] = []
        self.troubles: list[str] = []

    @property
    def taken_ids(self) -> list[str]:
        return [job.id for job, _ in self.jobs]

    def taken(self, job_id: str, fields: dict[bytes, bytes], token: str) -> None:
        job = from_wire(job_id, fields, "q")
        job.attempts_started += 1
        self.jobs.append((job, token))
        if self.ends_at_once:
            self.settler.settle(Ended(job, token, DONE, 0))

    def settled(self, ended: Ended) -> None:
        self.settled_ids.append(ended.job.id)

    def refused(self, ended: Ended, code: int, *, sent_before: bool) -> None:
        self.refusals.append((ended.job.id, code, sent_before))

    def refused_completion(self, ended: Ended, outcome: Failed) -> None:
        raise AssertionError(f"job {ended.job.id} has no children: {outcome}")

    def unreadable(self, job_id: str) -> None:
        self.unreadable_ids.append(job_id)

    def found_nothing(self) -> None:
        self.nothing += 1

    def trouble(self, text: str) -> None:
        self.troubles.append(text)

    def calling(self, error: RedisUnavailable | None, outcomes: int) -> None:
        self.calls.append((error is None, outcomes))


class Rig:
    def __init__(self, url: str, slots: int) -> None:
        self.line, self.heard, self.slots = LossyLine(url), Heard(), Slots(slots)
        numbers = count(1)
        self.settler = self.heard.settler = Settler(
            self.line,  # type: ignore[arg-type]
            KEYS,
            "",
            self.slots,
            self.heard,
            worker_name="",
            lock_ms=60_000,
            next_token=lambda: f"t:{next(numbers)}",
        )

    def end(self, number: int) -> None:
        """The first `number` jobs that were taken are done."""
        for job, token in self.heard.jobs[:number]:
            self.settler.settle(Ended(job, token, DONE, 0))

    async def taken(self, number: int) -> None:
        await eventually(lambda: len(self.heard.jobs) >= number)
