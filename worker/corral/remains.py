"""What a settler leaves behind is written by one last call, for which nobody waits long."""

from collections.abc import Sequence
from dataclasses import dataclass

from corral import scripts
from corral.clock import now_ms
from corral.keys import Keys
from corral.lifecycle import HandBack
from corral.script import Caller
from corral.scripts import Held, Settled, Settlement, Taking


@dataclass(frozen=True, slots=True)
class End:
    """A step that is to be written. `starts`: how often its job has been started, 0 = not known."""

    settlement: Settlement
    starts: int = 0

    @property
    def held(self) -> Held:
        return Held(self.settlement.job_id, self.settlement.token, self.starts)


@dataclass(frozen=True, slots=True)
class Remains:
    """Of one queue. `nothing`: a take of none."""

    caller: Caller
    keys: Keys
    dialect: str
    lock_ms: int
    nothing: Taking

    async def write(self, ends: Sequence[End], takes: Sequence[str]) -> int:
        """Write ends, and hand back the jobs of takes (by their tokens) that are in nobody's hands.

        Gives the number of jobs it was about. Raises RedisUnavailable.
        """
        known = {(end.settlement.job_id, end.settlement.token) for end in ends}
        every = list(ends)
        for token in takes:
            jobs = await scripts.reclaim_jobs(self.caller, self.keys, token, self.lock_ms)
            untouched = [job_id for job_id, _ in jobs if (job_id, token) not in known]
            every += [End(Settlement(job_id, token, HandBack())) for job_id in untouched]
        if every:
            codes = (await self._settle(every)).codes
            await self._write_anew([end for end, code in zip(every, codes, strict=True) if code == scripts.NO_LOCK])
        return len(every)

    async def _write_anew(self, lockless: list[End]) -> None:
        """An outage may have outlasted the locks; while nobody has taken the jobs, their ends are ours to write."""
        if lockless:
            held = [end.held for end in lockless]
            lost = set((await scripts.renew_locks(self.caller, self.keys, self.lock_ms, held)).lost)
            if ours := [end for end in lockless if end.held not in lost]:
                await self._settle(ours)

    async def _settle(self, ends: Sequence[End]) -> Settled:
        settlements = [end.settlement for end in ends]
        return await scripts.settle_jobs(self.caller, self.keys, self.dialect, now_ms(), settlements, self.nothing)
