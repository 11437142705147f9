"""What workers tell of their work, learned from; and both sources held against the same played queue."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.beat_record import Beat
from corral_operator.learning import Learned, QueueMemory, Source, learn
from corral_operator.observed import QueueReading, WorkerReading
from corral_operator.tally import Tally, Work, work_since

REDIS_MS = 1_800_000_000_000


def _row(worker: str = "w", *, began_s: float = 0.0, beat_s: float = 100.0, **said: Any) -> WorkerReading:
    since = REDIS_MS + round(began_s * 1000)
    return WorkerReading(Beat(worker, since=since, **said), REDIS_MS + round(beat_s * 1000))


def _reading(*rows: WorkerReading, **counts: Any) -> QueueReading:
    return QueueReading("jobs", workers=rows, **counts)


# --- from one reading to the next ---


def _work(before: QueueReading, after: QueueReading, passed_s: float = 2.0) -> Work | None:
    return work_since(Tally.of(before), after, passed_s)


def test_a_worker_in_both_readings_has_done_the_difference() -> None:
    before = _reading(_row("a", taken=5, ended=4, seconds=10.5), _row("b", taken=1))
    after = _reading(_row("a", taken=9, ended=7, seconds=18.0), _row("b", taken=2, ended=1, seconds=1.0))
    assert _work(before, after) == Work(5, 4, 8.5)


def test_a_worker_that_began_in_between_has_done_all_that_it_tells() -> None:
    new = _row(began_s=99.2, beat_s=100.2, taken=20, ended=10, seconds=4.0)
    assert _work(_reading(), _reading(new)) == Work(20, 10, 4.0)


@pytest.mark.parametrize(
    "row",
    [
        _row(began_s=50, beat_s=100, taken=20, ended=10, seconds=4.0),
        WorkerReading(Beat("w", taken=20, ended=10, seconds=4.0), REDIS_MS),
    ],
    ids=["cut off for long", "does not say since when"],
)
def test_any_other_worker_that_appears_counts_from_its_first_reading_on(row: WorkerReading) -> None:
    assert _work(_reading(), _reading(row)) == Work()
    later = replace(row, beat=replace(row.beat, taken=23, ended=12, seconds=5.0))
    assert _work(_reading(row), _reading(later)) == Work(3, 2, 1.0)


def test_one_that_vanishes_stops_counting() -> None:
    gone, stays = _row("a", taken=50, ended=50, seconds=9.0), _row("b", taken=1)
    assert _work(_reading(gone, stays), _reading(replace(stays, beat=replace(stays.beat, taken=3)))) == Work(2)
    assert _work(_reading(gone), _reading()) == Work()


def test_without_any_worker_or_when_nobody_asked_nothing_is_told() -> None:
    assert _work(_reading(), _reading()) is None
    assert _work(QueueReading("jobs"), _reading(_row())) is None
    assert _work(_reading(_row()), QueueReading("jobs")) is None


def test_active_jobs_that_no_worker_told_of_are_untold() -> None:
    tally = Tally.of(_reading(_row("a", busy=2), _row("b", busy=1), active=5))
    assert tally is not None
    assert tally.untold == 2
    assert Tally.of(_reading(_row("a", busy=9), active=5)) == Tally({"a": Work()}, 0)


counts = st.tuples(st.integers(0, 99), st.integers(0, 99), st.floats(0, 1e6))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), counts), st.dictionaries(st.sampled_from("abcd"), counts))
def test_nothing_is_ever_undone(before: dict[str, Any], after: dict[str, Any]) -> None:
    def reading(rows: dict[str, Any]) -> QueueReading:
        return _reading(*(_row(name, taken=row[0], ended=row[1], seconds=row[2]) for name, row in rows.items()))

    work = _work(reading(before), reading(after))
    assert work is None or min(work) >= 0


# --- learned ---


@dataclass
class Teacher:
    """Readings learned from as they are told; time passes as said."""

    now_s: float = 1000.0
    memory: QueueMemory | None = None

    def read(self, reading: QueueReading, after_s: float = 2.0) -> Learned:
        self.now_s += after_s
        learned, self.memory = learn(self.memory, reading, self.now_s)
        return learned


def test_entered_is_taken_and_ready_so_deduplicated_adds_do_not_count() -> None:
    teacher = Teacher()
    teacher.read(_reading(_row(taken=3), id_counter=3))
    learned = teacher.read(_reading(_row(taken=3), id_counter=503, waiting=1))
    assert (learned.taken, learned.arrival_rate) == (3, pytest.approx(1 / 30))
    assert teacher.read(_reading(_row(taken=4), id_counter=503)).taken == 4
    plain = Teacher()
    plain.read(QueueReading("jobs", id_counter=3))
    assert plain.read(QueueReading("jobs", id_counter=503, waiting=1)).arrival_rate == pytest.approx(500 / 30)


def test_service_is_what_workers_served_over_what_they_ended() -> None:
    teacher = Teacher()
    for step in range(31):
        learned = teacher.read(_reading(_row(taken=2 * step + 7, ended=2 * step, seconds=14.0 * step), active=7))
    assert (learned.service_s, learned.source) == (7, Source.MEASURED)


def test_a_job_that_was_taken_since_the_last_beats_has_entered_all_the_same() -> None:
    teacher = Teacher()
    teacher.read(_reading(_row(), id_counter=0))
    assert teacher.read(_reading(_row(), id_counter=9, waiting=9)).taken == 0
    assert teacher.read(_reading(_row(), id_counter=9, waiting=5, active=4)).taken == 4
    assert teacher.read(_reading(_row(busy=4, taken=4), id_counter=9, waiting=5, active=4)).taken == 4
    # It ended one and took one: nobody can see that before it tells.
    assert teacher.read(_reading(_row(busy=4, taken=4), id_counter=9, waiting=4, active=4)).taken == 4
    assert teacher.read(_reading(_row(busy=4, taken=5, ended=1), id_counter=9, waiting=4, active=4)).taken == 5


def test_jobs_of_workers_that_do_not_beat_are_not_taken_again_and_again() -> None:
    teacher, dice, before = Teacher(), random.Random(3), 0.0
    for _ in range(500):  # up to ten jobs in the hands of others, come and go
        learned = teacher.read(_reading(_row(taken=5), id_counter=9, active=dice.randrange(10)))
        assert before <= learned.taken <= 9 + 9
        before = learned.taken


def test_a_gap_of_readings_counts_neither_as_service_nor_as_done_with_beats_either() -> None:
    teacher = Teacher()
    for step in range(40):
        before = teacher.read(_reading(_row(taken=2 * step, ended=2 * step, seconds=10.0 * step), active=5))
    assert (before.service_s, before.source) == (5, Source.MEASURED)
    after = teacher.read(_reading(_row(taken=978, ended=978, seconds=395.0), active=5), after_s=16)
    assert after.service_s == 5
    assert after.taken == before.taken + 900
    assert teacher.read(_reading(_row(taken=979, ended=979, seconds=595.0), active=5), after_s=14).service_s > 7


def test_the_counts_go_on_when_workers_are_asked_and_when_nobody_asks_any_more() -> None:
    teacher, jobs = Teacher(), 0
    for step in range(240):
        jobs += 4
        reading = _reading(_row(taken=jobs, ended=jobs - 10, seconds=5.0 * jobs, busy=10), id_counter=jobs, active=10)
        learned = teacher.read(reading if 60 <= step < 180 else replace(reading, workers=None))
        if step > 30:
            assert learned.arrival_rate == pytest.approx(2, rel=0.1), step
            assert learned.taken == pytest.approx(jobs), step
        if step > 60:
            assert learned.service_s == pytest.approx(5, rel=0.1), step


def test_a_queue_that_was_obliterated_begins_anew_though_workers_tell() -> None:
    teacher = Teacher()
    for step in range(40):
        teacher.read(_reading(_row(taken=2 * step, ended=2 * step, seconds=10.0 * step), id_counter=2 * step))
    learned = teacher.read(_reading(_row(taken=80, ended=80, seconds=400.0)))
    assert (learned.arrival_rate, learned.taken, learned.source) == (0, 0, Source.KEPT)
    assert learned.service_s == 5


# --- a played queue ---


@dataclass
class _PlayedWorker:
    """Beats every 3 s while it holds a job, every 10 s otherwise, and tells of nothing in between."""

    name: str
    began_s: float
    beat_s: float
    runs: list[tuple[float, float]] = field(default_factory=list)
    """When each running job was taken, and when it ends."""
    taken: int = 0
    ended: int = 0
    seconds: float = 0.0
    told: WorkerReading | None = None

    def tell(self, now_s: float) -> None:
        if now_s < self.beat_s:
            return
        every = 3.0 if self.runs else 10.0
        self.beat_s = now_s + every
        beat = Beat(
            self.name,
            busy=len(self.runs),
            taken=self.taken,
            ended=self.ended,
            seconds=self.seconds + sum(now_s - run[0] for run in self.runs),
            every=every,
            since=REDIS_MS + round(self.began_s * 1000),
        )
        self.told = WorkerReading(beat, REDIS_MS + round(now_s * 1000))


class Played:
    """A queue with workers of so many slots each, in steps of a tenth of a second. `again`: for each job, how many
    more adds a producer sends that are deduplicated."""

    STEP_S = 0.1

    def __init__(self, *, rate: float, service_s: float, workers: int, slots: int, again: float = 0.0) -> None:
        self.rate, self.service_s, self.again, self.slots = rate, service_s, again, slots
        self.dice = random.Random(11)
        self.now_s = 0.0
        self.workers = [_PlayedWorker(f"w{number}", 0.0, number * 0.7) for number in range(workers)]
        self.waiting: list[float] = []
        self.id_counter = 0
        self.beats, self.plain = Teacher(), Teacher()

    def play(self, seconds: float) -> tuple[Learned, Learned]:
        """Time passes, and every two seconds both learn: with beats, and without."""
        for _ in range(round(seconds / 2)):
            for _ in range(20):
                self._step()
            reading = self.reading()
            learned = self.beats.read(reading), self.plain.read(replace(reading, workers=None))
        return learned

    def _step(self) -> None:
        self.now_s += self.STEP_S
        while self.dice.random() < (share := self.rate * self.STEP_S) / (1 + share):
            self.waiting.append(self.now_s)
            self.id_counter += 1
            while self.dice.random() < self.again / (1 + self.again):
                self.id_counter += 1
        for worker in self.workers:
            for run in [run for run in worker.runs if run[1] <= self.now_s]:
                worker.runs.remove(run)
                worker.ended, worker.seconds = worker.ended + 1, worker.seconds + run[1] - run[0]
            while self.waiting and len(worker.runs) < self.slots:
                self.waiting.pop(0)
                worker.taken += 1
                worker.runs.append((self.now_s, self.now_s + self.dice.uniform(0.5, 1.5) * self.service_s))
            worker.tell(self.now_s)

    @property
    def oldest_s(self) -> float:
        return self.now_s - self.waiting[0] if self.waiting else 0.0

    def reading(self) -> QueueReading:
        runs = [run for worker in self.workers for run in worker.runs]
        return QueueReading(
            "jobs",
            waiting=len(self.waiting),
            active=len(runs),
            id_counter=self.id_counter,
            running_age_s=sum(self.now_s - run[0] for run in runs) if runs else None,
            workers=tuple(worker.told for worker in self.workers if worker.told is not None),
        )


def test_both_sources_teach_the_same_of_a_queue_without_duplicates() -> None:
    for learned in Played(rate=2, service_s=5, workers=5, slots=4).play(600):
        assert learned.arrival_rate == pytest.approx(2, rel=0.15)
        assert learned.service_s == pytest.approx(5, rel=0.1)
        assert learned.remaining_s == pytest.approx(2.5 * (1 + 1 / 12), rel=0.15)
        assert (learned.source, learned.oldest_age_s) == (Source.MEASURED, 0.0)


def test_with_beats_deduplicated_adds_leave_service_and_rate_right_and_without_only_their_product() -> None:
    beats, plain = Played(rate=2, service_s=5, workers=5, slots=4, again=3.0).play(600)
    assert beats.service_s == pytest.approx(5, rel=0.1)
    assert beats.arrival_rate == pytest.approx(2, rel=0.15)
    assert plain.service_s < 5 / 3
    assert plain.arrival_rate > 2 * 3
    assert plain.offered == pytest.approx(beats.offered, rel=0.15)


@pytest.mark.parametrize("service_s", [0.3, 5.0])
def test_the_oldest_is_as_old_as_entered_says_with_both_sources(service_s: float) -> None:
    played = Played(rate=0, service_s=service_s, workers=4, slots=2)
    played.play(20)
    played.rate = 12 / service_s  # half as much again as they can do
    ages = []
    for _ in range(60):
        learned = played.play(2)
        ages.append((played.oldest_s, *(row.oldest_age_s for row in learned)))
    assert played.oldest_s > 30
    for true_s, beats_s, plain_s in ages:
        assert beats_s == pytest.approx(true_s, abs=4)
        assert plain_s == pytest.approx(true_s, abs=4)


def test_a_worker_of_a_new_pod_has_all_its_jobs_counted() -> None:
    played = Played(rate=3, service_s=2, workers=0, slots=5)
    played.play(40)
    backlog = len(played.waiting)
    played.workers = [_PlayedWorker(f"w{number}", played.now_s, played.now_s + 1.0) for number in range(20)]
    learned, plain = played.play(20)
    assert backlog > 90
    # Of what they took since their last beats, most shows in `active`.
    assert plain.taken == played.id_counter - len(played.waiting)
    assert learned.taken == pytest.approx(plain.taken, abs=5)
    assert learned.arrival_rate == pytest.approx(plain.arrival_rate, rel=0.1)
