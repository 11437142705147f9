"""Who works for a pool: what its workers' beats say, look by look, and what may be made of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.beat_record import Beat, BeatState
from corral_operator.hearing import FORGOTTEN_S
from corral_operator.observed import Member, QueueReading, Reading, Staff, Unknown, WorkerReading
from corral_operator.presence import StaffMemory, staff_of

REDIS_MS = 1_800_000_000_000


class Watched:
    """The workers at the queues of one pool; every look passes time, for Redis and for us alike.

    Host clocks play no part: Redis' time is nowhere near ours.
    """

    def __init__(self) -> None:
        self.now_s = 5000.0
        self.redis_ms = REDIS_MS
        self.rows: dict[tuple[str, str], WorkerReading] = {}
        self.active: dict[str, int] = {}
        self.holders: dict[str, dict[str, int]] = {}
        self.memory: StaffMemory | None = None
        self.staff = Staff()

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.redis_ms += round(seconds * 1000)

    def beat(self, worker: str, *queues: str, until_ms: int | None = None, ago_s: float = 0.0, **said: Any) -> None:
        """A worker beats at its queues, now or a while ago. Its pod is its own name but for the last sign."""
        said = {"pod": worker[:-1], "since": REDIS_MS, **said}
        for queue in queues or ("mails",):
            row = WorkerReading(Beat(worker, **said), self.redis_ms - round(ago_s * 1000), until_ms)
            self.rows[queue, worker] = row

    def end(self, worker: str) -> None:
        self.rows = {key: row for key, row in self.rows.items() if key[1] != worker}

    def reading(self, queue: str) -> QueueReading:
        rows = tuple(row for (name, _), row in self.rows.items() if name == queue)
        return QueueReading(queue, active=self.active.get(queue, 0), workers=rows, holders=self.holders.get(queue))

    def look(self, *queues: Reading | str) -> Staff:
        readings = [self.reading(row) if isinstance(row, str) else row for row in queues or ("mails",)]
        self.staff, self.memory = staff_of(readings, self.memory, self.now_s, workload="emails")
        return self.staff

    def member(self, pod: str) -> Member:
        return self.staff.members[pod]


@pytest.fixture
def watched() -> Watched:
    return Watched()


# --- what a pod does ---


def test_a_pods_busy_jobs_are_those_of_its_worker_at_all_its_queues(watched: Watched) -> None:
    watched.beat("p1", "mails", busy=2)
    watched.beat("p1", "sms", busy=3)
    watched.look("mails", "sms")
    assert watched.member("p").busy == 5
    assert watched.member("p").workers == (("mails", "p1"), ("sms", "p1"))


def test_two_workers_of_one_pod_are_one_member(watched: Watched) -> None:
    watched.beat("p1", busy=1)
    watched.beat("p2", busy=0, state=BeatState.QUIET)
    watched.look()
    assert list(watched.staff.members) == ["p"]
    assert (watched.member("p").busy, watched.member("p").quiet) == (1, False)
    assert watched.member("p").workers == (("mails", "p1"), ("mails", "p2"))


def test_a_pod_is_quiet_only_when_every_worker_says_so_in_all_its_records(watched: Watched) -> None:
    quiet = BeatState.QUIET
    watched.beat("p1", "mails", "sms", state=quiet)
    watched.beat("p2", "mails", state=quiet)
    assert watched.look("mails", "sms").members["p"].quiet
    watched.beat("p1", "sms", state=BeatState.TAKING)
    assert not watched.look("mails", "sms").members["p"].quiet
    watched.beat("p1", "sms", state=quiet)
    watched.beat("p2", "mails", state=BeatState.DRAINING)
    assert not watched.look("mails", "sms").members["p"].quiet


def test_a_draining_worker_holds_its_jobs_and_is_not_quiet(watched: Watched) -> None:
    watched.beat("p1", busy=2, state=BeatState.DRAINING)
    assert watched.look().members["p"] == Member("p", 2, workers=(("mails", "p1"),))


def test_the_pods_of_other_pools_at_the_same_queue_are_members_too(watched: Watched) -> None:
    watched.active["mails"] = 3
    watched.beat("ours1", busy=1)
    watched.beat("theirs1", busy=2)
    assert (set(watched.look().members), watched.staff.complete, watched.staff.busy) == ({"ours", "theirs"}, True, 2)


# --- orders ---


def test_an_order_at_any_of_a_workers_queues_is_one_for_all_of_it(watched: Watched) -> None:
    watched.beat("p1", "mails", until_ms=REDIS_MS + 60_000)
    watched.beat("p1", "sms")
    watched.look("mails", "sms")
    assert watched.member("p").ordered_until_ms == REDIS_MS + 60_000


def test_an_order_stands_for_a_pod_when_all_its_workers_have_one_and_for_as_long_as_the_first_of_them(
    watched: Watched,
) -> None:
    watched.beat("p1", until_ms=REDIS_MS + 60_000)
    watched.beat("p2")
    assert watched.look().members["p"].ordered_until_ms is None
    watched.beat("p2", until_ms=REDIS_MS + 20_000)
    assert watched.look().members["p"].ordered_until_ms == REDIS_MS + 20_000


# --- presence ---


@pytest.mark.parametrize(("every_s", "after_s"), [(3.0, 10), (10.0, 30), (60.0, 180)])
def test_present_is_a_beat_within_three_times_every_and_at_least_ten_seconds(
    watched: Watched, every_s: float, after_s: float
) -> None:
    watched.beat("p1", every=every_s)
    for _ in range(round(after_s)):
        assert not watched.look().members["p"].silent
        watched.pass_s(1)
    assert not watched.look().members["p"].silent
    watched.pass_s(1)
    assert watched.look().members["p"].silent
    watched.beat("p1", every=every_s)
    assert not watched.look().members["p"].silent


def test_at_first_sight_silence_is_judged_by_the_newest_beat(watched: Watched) -> None:
    watched.beat("old1", ago_s=31)
    watched.beat("fresh1", ago_s=5)
    watched.beat("newest1", ago_s=2)
    watched.look()
    assert [pod for pod, row in watched.staff.members.items() if row.silent] == []
    watched = Watched()
    watched.beat("old1", ago_s=33)
    watched.beat("newest1", ago_s=2)
    assert [pod for pod, row in watched.look().members.items() if row.silent] == ["old"]


def test_a_worker_alone_is_given_its_time_at_first_sight(watched: Watched) -> None:
    watched.beat("p1", ago_s=299, every=3.0)
    assert not watched.look().members["p"].silent
    for _ in range(6):
        watched.pass_s(2)
        watched.look()
    assert watched.member("p").silent


def test_a_worker_that_beats_at_one_queue_is_present(watched: Watched) -> None:
    watched.beat("p1", "mails", "sms")
    watched.look("mails", "sms")
    for _ in range(20):
        watched.pass_s(2)
        watched.beat("p1", "sms")
        assert not watched.look("mails", "sms").members["p"].silent


def test_one_silent_worker_makes_its_pod_silent_and_not_quiet(watched: Watched) -> None:
    watched.beat("p1", state=BeatState.QUIET, every=3.0)
    watched.look()
    for _ in range(6):
        watched.pass_s(2)
        watched.beat("p2", state=BeatState.QUIET)
        watched.look()
    assert (watched.member("p").silent, watched.member("p").quiet) == (True, False)


def test_a_silent_worker_that_held_nothing_may_hold_something_now(watched: Watched) -> None:
    watched.beat("p1", busy=0, every=3.0)
    watched.beat("q1", busy=4, every=3.0)
    watched.look()
    assert (watched.member("p").busy, watched.member("q").busy) == (0, 4)
    for _ in range(6):
        watched.pass_s(2)
        watched.look()
    assert (watched.member("p").busy, watched.member("q").busy) == (None, 4)
    assert watched.member("p").idle_since_s is None


def test_time_in_which_nobody_could_look_makes_no_worker_silent(watched: Watched) -> None:
    watched.beat("p1", every=3.0)
    watched.look()
    for _ in range(30):
        watched.pass_s(2)
        watched.look(Unknown("mails", "Unreachable", "gone"))
    assert watched.staff.members == {}
    watched.pass_s(2)
    assert not watched.look().members["p"].silent
    for _ in range(6):
        watched.pass_s(2)
        watched.look()
    assert watched.member("p").silent


def test_a_silent_worker_stays_silent_through_an_outage(watched: Watched) -> None:
    watched.beat("p1", every=3.0)
    watched.look()
    for _ in range(8):
        watched.pass_s(2)
        watched.look()
    assert watched.member("p").silent
    watched.pass_s(100)
    watched.look(Unknown("mails", "Unreachable", "gone"))
    watched.pass_s(2)
    assert watched.look().members["p"].silent


def test_a_beat_that_came_while_nobody_looked_is_as_old_as_redis_says(watched: Watched) -> None:
    watched.beat("p1", every=3.0)
    watched.look()
    watched.pass_s(100)
    watched.beat("p1", every=3.0, ago_s=60)
    watched.beat("q1", every=3.0)
    watched.look()
    assert (watched.member("p").silent, watched.member("q").silent) == (True, False)


def test_a_worker_that_is_forgotten_or_has_ended_is_no_member_any_more(watched: Watched) -> None:
    watched.beat("p1")
    watched.beat("q1")
    watched.look()
    watched.end("p1")
    assert set(watched.look().members) == {"q"}
    assert watched.memory is not None
    assert {record.worker for record in watched.memory.hearing.heard} == {"q1"}


def test_what_cannot_be_read_for_long_is_forgotten(watched: Watched) -> None:
    watched.beat("p1")
    watched.look()
    watched.pass_s(FORGOTTEN_S - 1)
    watched.look(Unknown("mails", "Unreachable", "gone"))
    assert watched.memory is not None
    assert watched.memory.hearing.heard
    watched.pass_s(2)
    watched.look(Unknown("mails", "Unreachable", "gone"))
    assert not watched.memory.hearing.heard


def test_a_container_that_was_started_anew_leaves_no_silent_worker_behind(watched: Watched) -> None:
    watched.beat("p1", busy=3, every=3.0)
    watched.beat("p2", busy=3, every=3.0)
    watched.look()
    for _ in range(6):
        watched.pass_s(2)
        watched.beat("p3", since=REDIS_MS + 1000)
        watched.look()
    assert watched.member("p") == Member("p", 0, idle_since_s=5012.0, workers=(("mails", "p3"),))


@pytest.mark.parametrize("since", [REDIS_MS - 1, None], ids=["began before", "does not say when"])
def test_a_silent_worker_beside_one_that_was_there_before_is_not_replaced_by_it(
    watched: Watched, since: int | None
) -> None:
    watched.beat("p1", busy=3, every=3.0)
    watched.look()
    for _ in range(6):
        watched.pass_s(2)
        watched.beat("p2", since=since)
        watched.look()
    assert (watched.member("p").silent, watched.member("p").busy) == (True, 3)


# --- Redis' time ---


def test_redis_time_is_as_late_as_any_beat_makes_it_and_runs_on_by_our_clock(watched: Watched) -> None:
    assert watched.look().redis_ms is None
    watched.beat("p1", ago_s=8)
    watched.look()
    assert watched.staff.redis_ms == watched.redis_ms - 8000
    watched.pass_s(2)
    assert watched.look().redis_ms == watched.redis_ms - 8000
    watched.pass_s(2)
    watched.beat("q1", ago_s=1)
    assert watched.look().redis_ms == watched.redis_ms - 1000
    watched.pass_s(2)
    watched.beat("p1", ago_s=1.5)
    assert watched.look().redis_ms == watched.redis_ms - 1000


def test_a_redis_whose_clock_was_set_back_is_followed(watched: Watched) -> None:
    watched.beat("p1")
    watched.beat("q1")
    watched.look()
    watched.pass_s(2)
    watched.beat("q1")
    watched.redis_ms -= 3_600_000
    watched.beat("p1")
    for _ in range(2):
        assert watched.look().redis_ms == watched.redis_ms  # though the other's beat is of a time to come
        watched.pass_s(2)
    watched.beat("q1")
    assert watched.look().redis_ms == watched.redis_ms
    assert not watched.member("p").silent


def test_redis_time_is_known_through_an_outage(watched: Watched) -> None:
    watched.beat("p1")
    watched.look()
    watched.pass_s(40)
    assert watched.look(Unknown("mails", "Unreachable", "gone")).redis_ms == watched.redis_ms


# --- rest ---


def test_a_pod_rests_since_its_hands_were_seen_empty(watched: Watched) -> None:
    watched.beat("p1", busy=1, taken=1)
    assert watched.look().members["p"].idle_since_s is None
    watched.pass_s(2)
    watched.beat("p1", busy=0, taken=1)
    assert watched.look().members["p"].idle_since_s == 5002
    watched.pass_s(2)
    assert watched.look().members["p"].idle_since_s == 5002
    watched.beat("p1", busy=1, taken=2)
    assert watched.look().members["p"].idle_since_s is None


def test_a_pod_that_took_a_job_between_two_looks_has_not_rested(watched: Watched) -> None:
    watched.beat("p1", taken=1)
    watched.look()
    watched.pass_s(2)
    watched.beat("p1", taken=2)
    assert watched.look().members["p"].idle_since_s == 5002


# --- who is accounted for ---


def test_staff_is_complete_when_as_many_jobs_are_told_of_as_are_active(watched: Watched) -> None:
    watched.beat("p1", busy=2)
    watched.active["mails"] = 2
    assert (watched.look().complete, watched.staff.busy) == (True, 1)
    watched.active["mails"] = 3
    assert (watched.look().complete, watched.staff.busy) == (False, None)
    watched.active["mails"] = 1
    assert watched.look().complete


def test_jobs_of_one_queue_do_not_account_for_those_of_another(watched: Watched) -> None:
    watched.beat("p1", "mails", busy=2)
    watched.active["sms"] = 1
    assert not watched.look("mails", "sms").complete


def test_without_active_jobs_nobody_is_missing(watched: Watched) -> None:
    assert (watched.look().complete, watched.staff.busy) == (True, 0)


def test_nothing_read_is_nothing_known(watched: Watched) -> None:
    staff, _ = staff_of([], None, 0.0, workload="emails")
    assert (staff, staff.busy) == (Staff(), None)


def test_a_queue_that_cannot_be_read_leaves_nobody_known_to_be_idle(watched: Watched) -> None:
    watched.beat("p1", busy=0)
    watched.beat("q1", busy=2)
    watched.look("mails", Unknown("sms", "WrongType", "no"))
    assert (watched.member("p").busy, watched.member("q").busy, watched.staff.complete) == (None, 2, False)
    assert watched.member("p").idle_since_s is None


def test_a_worker_without_a_pod_is_no_member_and_its_jobs_make_the_staff_incomplete(watched: Watched) -> None:
    watched.beat("p1", busy=2)
    watched.beat("laptop1", pod=None)
    watched.active["mails"] = 1
    assert (set(watched.look().members), watched.staff.complete) == ({"p"}, True)
    watched.beat("laptop1", pod=None, busy=1)
    assert not watched.look().complete


def test_jobs_of_a_silent_worker_account_for_none(watched: Watched) -> None:
    watched.beat("p1", busy=2, every=3.0)
    watched.active["mails"] = 2
    assert watched.look().complete
    for _ in range(6):
        watched.pass_s(2)
        watched.look()
    assert not watched.staff.complete


def test_workers_beat_when_one_of_them_is_present_and_names_its_pod(watched: Watched) -> None:
    assert not watched.look().beats
    watched.beat("laptop1", pod=None)
    assert not watched.look().beats
    watched.beat("p1", every=3.0)
    assert watched.look().beats
    watched.pass_s(2)
    assert watched.look(Unknown("mails", "Unreachable", "gone")).beats  # nobody says otherwise
    for _ in range(8):
        watched.pass_s(2)
        watched.look()
    assert not watched.staff.beats


# --- without beats ---


def _held(active: int, holders: dict[str, int] | None, name: str = "mails") -> QueueReading:
    return QueueReading(name, active=active, holders=holders)


def test_without_beats_the_members_are_the_pods_that_the_active_jobs_name(watched: Watched) -> None:
    a, b = "emails-6c9d8b7f4d-x2x4z", "emails-6c9d8b7f4d-bbbbb"
    staff = watched.look(_held(3, {a: 2, b: 1}), _held(1, {a: 1}, "sms"))
    assert staff == Staff({a: Member(a, 3), b: Member(b, 1)}, beats=False, complete=True)
    assert staff.busy == 2


@pytest.mark.parametrize(
    ("name", "complete"),
    [
        ("emails-6c9d8b7f4d-x2x4z", True),
        ("emails-7", True),
        ("emails", False),
        ("worker-1", False),
        ("emails-worker", False),
        ("emails-big-6c9d8b7f4d-x2x4z", False),
        ("emails-worker-alpha", False),
        ("", False),
    ],
)
def test_a_name_that_is_none_of_a_pod_of_the_workload_leaves_the_staff_incomplete(
    watched: Watched, name: str, *, complete: bool
) -> None:
    assert watched.look(_held(1, {name: 1})).complete == complete
    assert set(watched.staff.members) == ({name} if name else set())


def test_more_active_jobs_than_are_listed_leave_the_staff_incomplete(watched: Watched) -> None:
    assert not watched.look(_held(501, None)).complete


def test_a_pod_that_beats_and_holds_a_job_it_has_not_told_of_is_busy(watched: Watched) -> None:
    watched.beat("p1", busy=0)
    watched.active["mails"], watched.holders["mails"] = 1, {"p": 1}
    assert (watched.look().members["p"].busy, watched.staff.complete) == (1, True)


# --- whatever is said ---

beats = st.builds(
    Beat,
    worker=st.sampled_from(["p1", "p2", "q1", "r1"]),
    state=st.sampled_from(BeatState),
    busy=st.integers(0, 3),
    taken=st.integers(0, 100),
    every=st.sampled_from([3.0, 10.0]),
    pod=st.sampled_from(["p", "q", None]),
    since=st.none() | st.integers(REDIS_MS - 100_000, REDIS_MS),
)
rows = st.lists(
    st.builds(WorkerReading, beats, st.integers(REDIS_MS - 400_000, REDIS_MS), st.none() | st.just(REDIS_MS)),
    max_size=6,
    unique_by=lambda row: row.beat.worker,
)
readings = st.builds(
    QueueReading,
    name=st.just("mails"),
    active=st.integers(0, 8),
    workers=st.none() | rows.map(tuple),
    holders=st.none() | st.dictionaries(st.sampled_from(["", "p", "emails-1"]), st.integers(1, 3)),
)
looks = st.lists(
    st.tuples(
        st.floats(0, 400),
        st.tuples(readings, readings.map(lambda row: replace(row, name="sms")) | st.just(Unknown("sms", "x", "y"))),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(looks)
def test_whatever_is_said_busy_is_never_too_low_and_a_quiet_pod_is_present(
    said: list[tuple[float, tuple[Reading, ...]]],
) -> None:
    memory, now_s = None, 1000.0
    for passed_s, row in said:
        now_s += passed_s
        staff, memory = staff_of(row, memory, now_s, workload="emails")
        known = [reading for reading in row if isinstance(reading, QueueReading)]
        for member in staff.members.values():
            assert member.busy is None or member.busy >= 0
            assert not (member.quiet and member.silent)
            assert not (member.idle_since_s is not None and member.busy is None)
            assert member.idle_since_s is None or member.idle_since_s <= now_s
        assert not (staff.complete and len(known) < len(row))
        assert len(memory.hearing.heard) <= 12
        if staff.complete:
            named = sum(member.busy or 0 for member in staff.members.values())
            assert named >= sum(reading.active for reading in known if reading.holders is None)
