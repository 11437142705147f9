"""Jobs that have fallen between the states: no worker will ever see them, until they are put back.

BullMQ 5 makes them when it resumes a queue that others fed while it was paused; so does whoever deletes keys by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from corral import orphan_scripts
from corral.clock import now_ms
from corral.queue_door import QueueDoor
from corral.script import to_text

BATCH = 500
"""Ids that one call looks at: Redis does nothing else meanwhile."""

REMOVED = 25
"""Jobs that one call removes: each is looked for in every list once more."""

PAGE = 5000


class OrphanKind(StrEnum):
    """What is wrong with a job or an id."""

    NO_STATE = "no state"
    """A job in no list or set: nobody will run it."""
    NO_JOB = "no job"
    """An id in a list or set, without a job."""
    AT_RISK = "at risk"
    """A job in `wait` of a paused queue that also has BullMQ 5's list `paused`: a resume by BullMQ 5 would lose it."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """One of them. `place` is the list or set that holds the id; empty when none does."""

    job_id: str
    kind: OrphanKind
    place: str = ""


class QueueOrphans(QueueDoor):
    """See the module's docstring. All of it is safe while workers run: each id is looked at again, in one step."""

    async def find_orphans(self) -> list[Orphan]:
        """Look through all keys of the queue. A job whose worker died is none of them: that is active, and recovered.

        Nor is what another queue holds whose prefix is this one's base, like `bull:q:other:5`, or a job whose id has
        one colon, which no BullMQ gives.
        """
        places = {place: await self._ids(place) for place in (*_LISTS, *_SETS)}
        listed = {id for place in _LISTS for id in places[place]}
        suspects = [id for ids in places.values() for id in await self._without_hash(ids)]
        suspects += [id for id in await self._hashes() if id not in listed]
        found = []
        for ids in _batches(suspects, BATCH):
            for id, place in await orphan_scripts.find_orphans(self._lines, self.keys, ids):
                found.append(Orphan(id, OrphanKind.NO_JOB if place else OrphanKind.NO_STATE, place))
        if places["paused"] and await self._lines.call("HEXISTS", self.keys.meta, "paused"):
            missing = {orphan.job_id for orphan in found}
            found += [Orphan(id, OrphanKind.AT_RISK, "wait") for id in places["wait"] if id not in missing]
        return found

    async def put_back_orphans(self) -> int:
        """Put jobs in no state where they belong, by what their hashes say; gives how many.

        Finished ones become completed or failed again, a parent with open children waits for them, others wait or are
        delayed. Jobs at risk join the list that a resume by any BullMQ brings back. Ids without a job are left.
        """
        orphans = await self.find_orphans()
        lost = [orphan.job_id for orphan in orphans if orphan.kind is OrphanKind.NO_STATE]
        at_risk = sum(orphan.kind is OrphanKind.AT_RISK for orphan in orphans)
        back = 0
        for ids in _batches(lost, BATCH):
            back += await orphan_scripts.put_back_orphans(self._lines, self.keys, self._dialect, now_ms(), ids)
        saved = 0
        # Step by step, and none once somebody has resumed the queue.
        while saved < at_risk and (joined := await orphan_scripts.join_paused(self._lines, self.keys, PAGE)):
            saved += joined
        return back + saved

    async def remove_orphaned_jobs(self, *, limit: int | None = None) -> int:
        """Delete jobs in no state, and drop ids without a job; gives how many. `limit` = at most so many."""
        orphans = [orphan.job_id for orphan in await self.find_orphans() if orphan.kind is not OrphanKind.AT_RISK]
        gone = 0
        for ids in _batches(orphans[:limit], REMOVED):
            gone += await orphan_scripts.remove_orphans(self._lines, self.keys, now_ms(), ids)
        return gone

    async def _ids(self, place: str) -> list[str]:
        """The ids of one list or set, read in pages. What moves meanwhile may be missed: a suspect, looked at again."""
        command = "LRANGE" if place in _LISTS else "ZRANGE"
        ids: list[str] = []
        while page := await self._lines.call(command, self.keys.base + place, len(ids), len(ids) + PAGE - 1):
            ids += [to_text(id) for id in page]
        # Versions of BullMQ before 5 kept markers among the ids.
        return [id for id in ids if id != "0" and not id.startswith("0:")]

    async def _without_hash(self, ids: Sequence[str]) -> list[str]:
        missing: list[str] = []
        for batch in _batches(ids, BATCH):
            exist = await self._lines.call_many([("EXISTS", self.keys.job(id)) for id in batch])
            missing += [id for id, exists in zip(batch, exist, strict=True) if not exists]
        return missing

    async def _hashes(self) -> list[str]:
        """What could be the id of a job: the hashes of the queue, those apart that the key's name tells."""
        pattern = "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in self.keys.base) + "*"
        ids: dict[str, None] = {}
        cursor = b"0"
        while True:
            cursor, page = await self._lines.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, "TYPE", "hash")
            ids |= dict.fromkeys(to_text(key).removeprefix(self.keys.base) for key in page)
            if int(cursor) == 0:
                return [id for id in ids if id != "meta" and not id.endswith(_PARTS)]


_LISTS = ("wait", "paused", "active")
_SETS = ("prioritized", "delayed", "waiting-children", "completed", "failed")
_PARTS = (":processed", ":failed")


def _batches(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
