"""The closer look on a real Redis, at jobs that real workers took, lost, handed back and left waiting."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from corral import DelayedError, FlowJob, FlowProducer, Job, JobOptions, JobSpec, Queue, RateLimitError, Worker
from corral.beat_record import Beat
from corral.clock import now_ms
from corral.errors import RedisRefused
from corral_operator import signs
from corral_operator.deployment import Key, read_deployment
from corral_operator.findings import Inspected
from corral_operator.inspection import MOST_ACTIVE, JobSeen, Place, look_at_jobs, look_at_parents
from corral_operator.inspector import Inspector
from corral_operator.observed import Member, Observed, Pods, QueueReading, Staff, Unknown, WorkerReading
from corral_operator.pool_state import Look, PoolState
from corral_operator.redises import Redis, Redises
from corral_operator.refusal import ApiError
from corral_operator.signs import ALERT_EVERY_S, EVERY_S
from corral_operator.table import Pool
from corral_process import CorralProcess
from pools import pool
from reconciling import reconciling
from redis_secret import secret_of
from running import running
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import redis.asyncio

    from corral_operator.door import Door
    from corral_operator.findings import Findings
    from kube_mock import KubeMock
    from servers import RedisServer

DEPLOYMENT = read_deployment({"metadata": {"namespace": "shop", "name": "emails", "uid": "u"}})

FOREVER = """
import asyncio
from corral import Worker

async def run(job):
    await asyncio.sleep(3600)

worker = Worker("emails", run, name="mail-1", lock_duration=1.0, stalled_interval=0.3)
"""


class Looked:
    """A pool that is looked at by hand, `pass_s` seconds after the look before."""

    def __init__(self, url: str, *queues: str) -> None:
        self.skipped_s = 0.0
        self.there: list[dict[str, Any]] = []
        self.lists = 0
        self.refused: ApiError | None = None
        spec = pool(queues=[{"name": name} for name in queues or ("emails",)])["spec"]
        self.state = PoolState.begin(Pool(Key("shop", "emails"), "uid", 1, 1, spec, {}), 0.0)
        self.state.use(secret_of(url))
        self.state.inspected = Inspected(time.monotonic())
        self.redises = Redises(lambda way, queue: None)
        self._inspector = Inspector(cast("Door", self), self.redises, self._now_s)

    def _now_s(self) -> float:
        return time.monotonic() + self.skipped_s

    async def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        self.lists += 1
        if self.refused is not None:
            raise self.refused
        return self.there

    async def observed(self, staff: Staff | None = None, pods: Pods | None = None) -> Observed:
        assert self.state.secret is not None
        readings = await self.redises.of(self.state.secret).read(self.state.asks(self._now_s()), now_ms())
        crew = self.state.crew(readings.values(), time.monotonic())
        return Observed(0.0, now_ms(), tuple(readings.values()), pods or Pods.steady(1), staff or crew)

    async def look(self, pass_s: float = EVERY_S, **seen: Any) -> Findings:
        self.skipped_s += pass_s
        observed = seen.pop("observed", None) or await self.observed(**seen)
        return await self._inspector.look(self.state, DEPLOYMENT, observed)

    async def kinds(self, pass_s: float = EVERY_S, **seen: Any) -> list[str]:
        findings = await self.look(pass_s, **seen)
        assert findings.looked
        return [row.kind for row in findings.rows]


@pytest.fixture
async def new_look(redis7_url: str) -> AsyncIterator[Callable[..., Looked]]:
    made: list[Looked] = []

    def make(*queues: str, url: str = redis7_url) -> Looked:
        made.append(Looked(url, *queues))
        return made[-1]

    yield make
    for looked in made:
        await looked.redises.close()


def pod(name: str = "mail-1", *, died: bool = False, since: float = -60.0) -> dict[str, Any]:
    """As the API server tells of one: its container began so many seconds before now, and did it die?"""

    def stamp(seconds: float) -> str:
        return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    end = {"exitCode": 137, "reason": "OOMKilled", "startedAt": stamp(-300), "finishedAt": stamp(0)}
    status = {"name": "worker", "state": {"running": {"startedAt": stamp(since)}}}
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "64Mi"}}}]},
        "status": {"containerStatuses": [status | ({"lastState": {"terminated": end}} if died else {})]},
    }


@pytest.fixture
async def emails(redis7_url: str) -> AsyncIterator[Queue]:
    async with Queue("emails", redis=redis7_url) as queue:
        yield queue


async def killed(folder: Path, url: str, client: redis.asyncio.Redis, job_id: str) -> None:
    """A worker of a process of its own takes the job and is killed."""

    async def starts() -> int:
        return int(await client.hget(f"bull:emails:{job_id}", "ats") or 0)

    before = await starts()
    with CorralProcess(folder, FOREVER, url, {"POD_NAME": "mail-1"}) as process:
        await eventually(lambda: _reaches(starts, before + 1), 30)
        await process.kill()


async def unlocked(client: redis.asyncio.Redis, job_id: str) -> None:
    async def gone() -> bool:
        return not await client.exists(f"bull:emails:{job_id}:lock")

    await eventually(gone)


# --- orphans and poison ---


async def test_a_killed_workers_job_is_told_as_an_orphan_and_no_more_when_another_has_done_it(
    new_look: Callable[..., Looked], emails: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    looked = new_look()
    job = await emails.add("mail")
    await killed(tmp_path, redis7_url, redis7_client, job.id)
    await unlocked(redis7_client, job.id)
    (row,) = (await looked.look()).rows
    assert (row.kind, row.number) == ("OrphanedJobs", 1)
    assert f"job {job.id} of emails is active, but the worker is gone" in row.text

    async def run(job: Job) -> None: ...

    async with running(Worker("emails", run, redis=redis7_url, name="mail-2", stalled_interval=0.2)):

        async def done() -> bool:
            return await redis7_client.zcard("bull:emails:completed") == 1

        await eventually(done)
    assert await looked.kinds() == []


async def test_an_oom_kill_is_told_with_the_job_the_pod_and_the_limit_even_when_another_pod_has_the_job_by_then(
    new_look: Callable[..., Looked], emails: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    looked = new_look()
    job = await emails.add("mail")
    await killed(tmp_path, redis7_url, redis7_client, job.id)
    looked.there = [pod(died=True)]
    await unlocked(redis7_client, job.id)
    assert await looked.kinds() == ["OrphanedJobs"], "it may yet turn out that it was handed back"
    enough = asyncio.Event()

    async def run(job: Job) -> None:
        await enough.wait()

    async with running(Worker("emails", run, redis=redis7_url, name="mail-2", stalled_interval=0.2)):

        async def again() -> bool:
            return await redis7_client.hget(f"bull:emails:{job.id}", "pb") == b"mail-2"

        await eventually(again)
        (row,) = (await looked.look()).rows
        assert row.kind == "OutOfMemory"
        for part in (f"job {job.id} of emails", "pod mail-1", "OOMKilled", "64Mi", "Raise the memory limit"):
            assert part in row.text
        enough.set()
        await eventually(lambda: _is_empty(redis7_client, "bull:emails:active"))
    assert await looked.kinds() == []


async def _is_empty(client: redis.asyncio.Redis, key: str) -> bool:
    return not await client.exists(key)


async def test_a_job_that_was_given_up_for_its_stalls_is_told_from_among_the_failed(
    new_look: Callable[..., Looked], emails: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    looked = new_look()
    job = await emails.add("mail")
    for _ in range(2):  # the second one recovers what the first one left, and takes it
        await killed(tmp_path, redis7_url, redis7_client, job.id)
        await unlocked(redis7_client, job.id)
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.id)

    async with running(Worker("emails", run, redis=redis7_url, stalled_interval=0.2)):

        async def failed() -> bool:
            return await redis7_client.zcard("bull:emails:failed") == 1

        await eventually(failed)
    (row,) = (await looked.look()).rows
    assert (row.kind, ran) == ("StalledTwice", [])
    assert f"job {job.id} of emails lost the worker up to 2 times; 1 of them failed for it" in row.text


# --- rule 13: what is never poison ---


async def _handed_back(job: Job) -> None:
    await asyncio.sleep(3600)


async def _limited(job: Job) -> None:
    raise RateLimitError(0.01)


async def _delayed(job: Job) -> None:
    await job.move_to_delayed(0.01)
    raise DelayedError


@pytest.mark.parametrize("processor", [_handed_back, _limited, _delayed])
async def test_a_handed_back_a_rate_limited_and_a_delayed_job_is_never_poison(
    new_look: Callable[..., Looked], emails: Queue, redis7_url: str, redis7_client: redis.asyncio.Redis, processor: Any
) -> None:
    """Though it was started many times, and the container that had it dies in the end."""
    looked = new_look()
    job = await emails.add("mail")

    async def starts() -> int:
        return int(await redis7_client.hget(f"bull:emails:{job.id}", "ats") or 0)

    for least in (1, 2, 3, 4):
        async with running(Worker("emails", processor, redis=redis7_url, name="mail-1"), grace=0.01):
            await eventually(lambda least=least: _reaches(starts, least))
        looked.there = [pod(died=True)]
        assert await looked.kinds() == []
    assert await starts() >= 4
    assert await redis7_client.hget(f"bull:emails:{job.id}", "stc") is None


async def _reaches(number: Callable[[], Any], least: int) -> bool:
    return await number() >= least


# --- parents ---


async def _family(redis7_url: str) -> None:
    """A parent whose child has failed, without a policy for that."""
    child = FlowJob("part", "parts", None, JobOptions.checked(job_id="C"))
    async with FlowProducer(redis=redis7_url) as flows:
        await flows.add(FlowJob("whole", "emails", None, JobOptions.checked(job_id="P"), (child,)))


async def test_a_parent_whose_children_have_still_to_run_is_no_finding(
    new_look: Callable[..., Looked], redis7_url: str
) -> None:
    await _family(redis7_url)
    assert await new_look().kinds() == []


async def test_a_parent_that_waits_for_a_failed_child_is_told_until_the_child_is_retried(
    new_look: Callable[..., Looked], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    looked = new_look()
    await _family(redis7_url)

    async def run(job: Job) -> None:
        raise RuntimeError("no")

    async with running(Worker("parts", run, redis=redis7_url)), Queue("parts", redis=redis7_url) as parts:
        await eventually(lambda: redis7_client.zcard("bull:parts:failed"))
        (row,) = (await looked.look()).rows
        assert row.kind == "WaitingParents"
        assert "job P of emails waits for bull:parts:C, which has failed: retry it" in row.text
        assert [row.kind for row in (await looked.look()).rows] == ["WaitingParents"]
        await parts.pause()
        await parts.retry_jobs()
    assert await looked.kinds() == []


async def test_a_parent_whose_only_open_child_is_gone_waits_for_ever_and_is_told(
    new_look: Callable[..., Looked], redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    looked = new_look()
    await _family(redis7_url)
    await redis7_client.delete("bull:parts:C")  # by hand, past every script
    (row,) = (await looked.look()).rows
    assert "job P of emails waits for bull:parts:C, which is no more" in row.text
    await redis7_client.delete("bull:emails:P:dependencies")
    (row,) = (await looked.look()).rows
    assert "job P of emails has no open child" in row.text
    await redis7_client.zrem("bull:emails:waiting-children", "P")
    assert await looked.kinds() == []


async def test_a_stuck_parent_is_found_wherever_it_stands_in_the_line(
    new_look: Callable[..., Looked], redis7_client: redis.asyncio.Redis
) -> None:
    for number in range(12):
        await redis7_client.zadd("bull:emails:waiting-children", {str(number): number})
        await redis7_client.sadd(f"bull:emails:{number}:dependencies", f"bull:parts:{number}")
        await redis7_client.hset(f"bull:parts:{number}", "timestamp", 1)
    await redis7_client.delete("bull:parts:11")
    looked = new_look()
    looks = [await looked.kinds() for _ in range(5)]
    assert looks == [[], [], ["WaitingParents"], ["WaitingParents"], ["WaitingParents"]]


# --- silent workers ---


async def test_a_worker_that_is_silent_while_its_container_runs_is_told_and_its_pod_left_alone(
    new_look: Callable[..., Looked],
    emails: Queue,
    redis7_url: str,
    redis7_client: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = new_look()
    started = asyncio.Event()

    async def run(job: Job) -> None:
        started.set()
        await asyncio.sleep(3600)

    monkeypatch.setenv("POD_NAME", "mail-1")
    async with running(Worker("emails", run, redis=redis7_url), grace=0.01):
        await emails.add("mail")
        await started.wait()
        await eventually(lambda: redis7_client.zcard("bull:emails:corral:beats"))
        observed = await looked.observed()
        (member,) = observed.staff.members.values()
        assert (member.pod, member.silent) == ("mail-1", False)
        assert await looked.kinds(observed=observed) == []
        # A minute later, as Redis' clock has it, and no beat since.
        later = replace(observed.staff, redis_ms=(observed.staff.redis_ms or 0) + 60_000, members=_silent(member))
        looked.there = [pod()]
        stuck = await looked.look(1.0, observed=replace(observed, staff=later))
        assert [row.kind for row in stuck.rows] == ["SilentWorkers", "OrphanedJobs"]
        assert "mail-1" in stuck.rows[0].text
        # Its container was started anew since: then it is gone, and not stuck.
        looked.there = [pod(since=1.0)]
        gone = await looked.look(ALERT_EVERY_S, observed=replace(observed, staff=later))
        assert [row.kind for row in gone.rows] == ["OrphanedJobs"]


def _silent(member: Member) -> dict[str, Member]:
    return {member.pod: replace(member, silent=True)}


# --- when, and how much ---


class Sent:
    """What the looks send to Redis."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[list[Any]] = []
        send = Redis.send

        async def counted(redis: Redis, commands: Any) -> list[Any]:
            self.trips.append(list(commands))
            return await send(redis, commands)

        monkeypatch.setattr(Redis, "send", counted)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


async def test_a_look_comes_every_half_minute_and_at_once_when_a_ready_pod_is_lost(
    new_look: Callable[..., Looked], emails: Queue, sent: Sent
) -> None:
    looked = new_look()
    await emails.add("mail")
    await looked.look()
    first = len(sent.trips)
    await looked.look(EVERY_S - 1.0, pods=Pods.steady(3))
    assert len(sent.trips) == first
    await looked.look(1.0, pods=Pods.steady(3))
    assert len(sent.trips) > first
    second = len(sent.trips)
    await looked.look(0.1, pods=Pods(3, ready=2))
    assert len(sent.trips) > second
    third = len(sent.trips)
    await looked.look(ALERT_EVERY_S, pods=Pods(3, ready=2))
    assert len(sent.trips) > third, "for a while it is looked at more often"


async def test_the_first_looks_at_many_pools_are_spread_over_half_a_minute(
    new_look: Callable[..., Looked], emails: Queue, sent: Sent
) -> None:
    await emails.add("mail")
    looked = [new_look() for _ in range(40)]
    for number, row in enumerate(looked):
        row.state.inspected = None
        row.state.pool = replace(row.state.pool, key=Key("shop", f"emails-{number}"))
        await row.look(0.0)
    assert sent.trips == []
    begun = []
    for row in looked:
        await row.look(EVERY_S / 2)
        begun.append(len(sent.trips))
        sent.trips.clear()
    assert 8 < sum(trips > 0 for trips in begun) < 32


async def test_fewer_pods_by_our_own_doing_are_no_sign_of_trouble(
    new_look: Callable[..., Looked], emails: Queue, sent: Sent
) -> None:
    looked = new_look()
    await emails.add("mail")
    await looked.look(pods=Pods.steady(3))
    before = len(sent.trips)
    await looked.look(1.0, pods=Pods.steady(2))
    assert len(sent.trips) == before


async def test_a_pool_with_nothing_to_do_is_not_looked_at(new_look: Callable[..., Looked], sent: Sent) -> None:
    assert await new_look().kinds() == []
    assert sent.trips == []


async def test_a_worker_that_falls_silent_with_nothing_to_do_is_told_all_the_same(
    new_look: Callable[..., Looked],
) -> None:
    looked = new_look()
    assert await looked.kinds() == []
    beat = WorkerReading(Beat("w", pod="mail-1"), now_ms())
    staff = Staff({"mail-1": Member("mail-1", None, silent=True)}, beats=True, redis_ms=beat.beat_ms + 60_000)
    looked.there = [pod()]
    seen = Observed(0.0, now_ms(), (QueueReading("emails", workers=(beat,)),), Pods.steady(1), staff)
    assert await looked.kinds(1.0, observed=seen) == ["SilentWorkers"]


async def test_failed_jobs_of_a_sleeping_pool_are_looked_at_once(
    new_look: Callable[..., Looked], redis7_client: redis.asyncio.Redis, sent: Sent
) -> None:
    await redis7_client.zadd("bull:emails:failed", {"1": 1})
    looked = new_look()
    await looked.look()
    before = len(sent.trips)
    assert before > 0
    await looked.look()
    assert len(sent.trips) == before
    await redis7_client.zadd("bull:emails:failed", {"2": 2})
    await looked.look()
    assert len(sent.trips) > before


async def test_a_crowd_of_jobs_costs_a_few_dozen_commands(
    new_look: Callable[..., Looked], emails: Queue, redis7_client: redis.asyncio.Redis, sent: Sent
) -> None:
    await emails.add_bulk([JobSpec("mail")] * 3000)
    for state in ("active", "wait"):
        await redis7_client.rpush(f"bull:emails:{state}", *range(3000, 6000))
    await redis7_client.zadd("bull:emails:failed", {str(number): number for number in range(3000)})
    await new_look().look()
    assert len(sent.trips) <= 3
    assert sum(len(trip) for trip in sent.trips) < 6 * MOST_ACTIVE


async def test_pods_are_listed_only_when_they_may_tell_something_and_not_again_for_the_same(
    new_look: Callable[..., Looked], emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    looked = new_look()
    job = await emails.add("mail")
    await looked.look()
    assert looked.lists == 0
    await redis7_client.hset(f"bull:emails:{job.id}", "stc", 1)
    await looked.look()
    assert looked.lists == 1
    await looked.look()
    assert looked.lists == 1
    await redis7_client.hset(f"bull:emails:{job.id}", "stc", 2)
    await looked.look()
    assert looked.lists == 2


async def test_pods_that_were_listed_anyway_are_not_listed_again(
    new_look: Callable[..., Looked], emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    looked = new_look()
    job = await emails.add("mail")
    taken_ms = now_ms() - 1000
    await redis7_client.hset(f"bull:emails:{job.id}", mapping={"stc": 1, "pb": "mail-1", "processedOn": taken_ms})
    looked.state.looked = Look(1, 0.0, (pod(died=True),))
    assert await looked.kinds() == ["OutOfMemory"]
    assert looked.lists == 0


async def test_who_may_not_list_pods_still_tells_what_redis_says(
    new_look: Callable[..., Looked], emails: Queue, redis7_client: redis.asyncio.Redis
) -> None:
    looked = new_look()
    looked.refused = ApiError(403, "Forbidden", "no")
    job = await emails.add("mail")
    await redis7_client.hset(f"bull:emails:{job.id}", "stc", 2)
    assert await looked.kinds() == ["StalledTwice"]


async def test_reading_is_all_the_permission_that_a_look_needs(
    new_look: Callable[..., Looked], redis7: RedisServer, emails: Queue, redis7_url: str
) -> None:
    await emails.add("mail")
    await _family(redis7_url)
    with redis7.client() as client:
        client.execute_command("ACL", "SETUSER", "looker", "reset", "on", ">pw", "+@read", "+@connection", "~bull:*")
        client.rpush("bull:emails:active", "9")
        client.hset("bull:emails:9", "stc", 2)
    looked = new_look(url=redis7_url.replace("redis://", "redis://looker:pw@"))
    assert await looked.kinds() == ["StalledTwice", "OrphanedJobs"]
    with redis7.client() as client:
        client.acl_deluser("looker")


async def test_an_outage_is_no_finding_and_takes_none_away(
    new_look: Callable[..., Looked], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server()
    looked = new_look(url=server.url)
    with server.client() as client:
        client.rpush("bull:emails:wait", "9")
        client.hset("bull:emails:9", "stc", 2)
    observed = await looked.observed()
    assert await looked.kinds(observed=observed) == ["StalledTwice"]
    server.stop()
    assert await looked.kinds(observed=observed) == ["StalledTwice"], "the last look's answer"
    blind = replace(observed, readings=(Unknown("emails", "Unreachable", "gone"),))
    assert not (await looked.look(observed=blind)).looked


# --- the whole loop ---


@pytest.mark.usefixtures("quick")
async def test_poison_is_told_as_a_condition_an_event_and_a_metric(
    kube: KubeMock, emails: Queue, redis7_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "EVERY_S", 0.2)
    job = await emails.add("mail")
    await redis7_client.hset(f"bull:emails:{job.id}", "stc", 2)
    kube.add("workerpools", pool())
    async with reconciling(kube) as operator:
        await eventually(lambda: kube.condition("PoisonJobs") == ("True", "StalledTwice"))
        assert kube.condition("Stuck") == ("False", "NoneFound")
        await eventually(lambda: "StalledTwice" in kube.events())
        shown = operator.shown()
        assert 'corral_pool_findings{kind="StalledTwice",namespace="default",pool="emails"} 1.0' in shown
        assert not any(f"job {job.id} " in line for line in shown)
        await redis7_client.delete("bull:emails:wait", f"bull:emails:{job.id}")
        await eventually(lambda: kube.condition("PoisonJobs") == ("False", "NoneFound"))
        assert kube.events().count("StalledTwice") == 1


# --- between two round trips ---


def test_a_job_that_ended_between_two_round_trips_is_no_orphan() -> None:
    look = look_at_jobs(QueueReading("emails", active=1), "bull", frozenset(), ())
    assert look.send(cast("Any", None)) == [("LRANGE", "bull:emails:active", -MOST_ACTIVE, -1)]
    look.send([[b"1"]])
    look.send([None, [None, b"mail-1", b"5", None, None]])
    with pytest.raises(StopIteration) as stop:
        look.send([None, None])  # without a lock, but not active any more
    assert stop.value.value.jobs == (JobSeen("emails", "1", Place.ACTIVE, 0, "mail-1", 5),)


@pytest.mark.parametrize(
    "last",
    [
        [[b"1", None, None], 1, 1, b"1"],  # the child has still to run
        [[b"1", b"2", None], 0, 0, b"1"],  # it has ended since, and released the parent
        [[b"1", b"2", None], 0, 1, b"1"],  # the same, and another child has come
        [[b"1", b"2", None], 1, 1, None],  # the parent waits no more
        [[b"1", b"2", None], 1, 2, b"1"],  # another child came
        [RedisRefused("no", "NOPERM"), 1, 1, b"1"],  # a child that may not be read
    ],
)
def test_a_parent_that_moved_between_two_round_trips_or_is_not_known_whole_is_no_finding(last: list[Any]) -> None:
    look = look_at_parents(QueueReading("emails", waiting_children=1), "bull", 0, ())
    look.send(cast("Any", None))
    look.send([[b"P"]])
    look.send([[b"0", [b"bull:parts:C"]]])
    with pytest.raises(StopIteration) as stop:
        look.send(last)
    assert stop.value.value.parents == ()


def test_what_redis_refuses_is_not_known_and_no_finding() -> None:
    look = look_at_jobs(QueueReading("emails", active=1, failed=1), "bull", frozenset(), ("7",))
    look.send(cast("Any", None))
    refused = RedisRefused("no", "NOPERM")
    commands = look.send([refused, [b"1", b"\xff"]])
    assert [command[1] for command in commands] == [
        "bull:emails:1:lock",
        "bull:emails:1",
        "bull:emails:7:lock",
        "bull:emails:7",
    ]
    with pytest.raises(StopIteration) as stop:
        look.send([refused, refused, None, [None] * 5])
    assert [job.job_id for job in stop.value.value.jobs] == ["7"]
