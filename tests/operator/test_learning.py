"""What counts over time teach: readings go in one by one, as a test says, and the numbers come out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral_operator.history import MOST, Sample, add, at, passed
from corral_operator.learning import Learned, QueueMemory, Source, learn
from corral_operator.observed import QueueReading

EMPTY = QueueReading("jobs")


class Teacher:
    """A queue whose counts move as told; every reading is learned from."""

    def __init__(self, *, hint_s: float | None = None, kept_s: float | None = None) -> None:
        self.hint_s, self.kept_s = hint_s, kept_s
        self.now_s = 1000.0
        self.reading = EMPTY
        self.memory: QueueMemory | None = None
        self.learned = self.read()

    def read(self, **counts: int | float | None) -> Learned:
        self.reading = replace(self.reading, **counts)  # type: ignore[arg-type]
        self.learned, self.memory = learn(self.memory, self.reading, self.now_s, hint_s=self.hint_s, kept_s=self.kept_s)
        return self.learned

    def work(self, seconds: float, *, rate: float, service_s: float, every_s: float = 2.0) -> Learned:
        """An even flow: `rate` jobs a second come and go, each of `service_s`, the running ones evenly spread."""
        active = round(rate * service_s)
        for _ in range(round(seconds / every_s)):
            self.now_s += every_s
            added = self.reading.id_counter + round(rate * every_s)
            self.read(id_counter=added, active=active, running_age_s=active * service_s / 2)
        return self.learned


def test_an_even_flow_is_learned_exactly() -> None:
    learned = Teacher().work(600, rate=2, service_s=5)
    assert learned.arrival_rate == pytest.approx(2, rel=0.02)
    assert learned.service_s == pytest.approx(5, rel=0.02)
    assert learned.remaining_s == pytest.approx(2.5, rel=0.02)
    assert learned.offered == pytest.approx(10, rel=0.04)
    assert (learned.source, learned.oldest_age_s) == (Source.MEASURED, 0.0)


def test_before_anything_ran_the_hint_counts_then_what_was_kept_then_a_second() -> None:
    assert (Teacher(hint_s=7, kept_s=3).learned.service_s, Teacher(hint_s=7).learned.source) == (7, Source.HINT)
    assert (Teacher(kept_s=3).learned.service_s, Teacher(kept_s=3).learned.source) == (3, Source.KEPT)
    assert (Teacher().learned.service_s, Teacher().learned.source) == (1, Source.DEFAULT)


def test_with_running_jobs_alone_they_last_twice_their_age() -> None:
    teacher = Teacher(hint_s=7)
    learned = teacher.read(id_counter=4, active=4, running_age_s=40.0)
    assert (learned.service_s, learned.source) == (20, Source.RUNNING)


def test_finished_and_running_jobs_count_together_until_fifty_are_done() -> None:
    teacher = Teacher()
    teacher.read(id_counter=10, active=10, running_age_s=0.0)
    teacher.now_s += 10  # 100 slot-seconds: six jobs ended, the four others are ten seconds old
    learned = teacher.read(active=4, running_age_s=40.0)
    assert learned.source is Source.RUNNING
    assert learned.service_s == pytest.approx((70 + 40) / 10)  # served on average by 7 slots


def test_what_was_measured_is_kept_when_all_of_it_is_long_ago() -> None:
    teacher = Teacher()
    teacher.work(200, rate=2, service_s=5)
    measured = teacher.learned.service_s
    for _ in range(20):
        teacher.now_s += 30
        teacher.read(active=0, running_age_s=None)
    assert (teacher.learned.service_s, teacher.learned.source) == (pytest.approx(measured, rel=0.03), Source.KEPT)
    assert teacher.learned.arrival_rate == 0


def test_the_last_minute_replaces_the_longer_window_when_jobs_become_twice_as_long() -> None:
    teacher = Teacher()
    teacher.work(300, rate=5, service_s=2)
    assert teacher.work(60, rate=5, service_s=3).service_s < 2.5  # not twofold: the long window stands
    teacher = Teacher()
    teacher.work(300, rate=5, service_s=2)
    assert teacher.work(62, rate=5, service_s=8).service_s == pytest.approx(8, rel=0.05)


def test_jobs_without_a_measurable_length_take_a_millisecond() -> None:
    assert Teacher().work(120, rate=5, service_s=0).service_s == 0.001


def test_a_gap_of_readings_counts_neither_as_service_nor_as_done() -> None:
    teacher = Teacher()
    before = teacher.work(200, rate=2, service_s=5)
    teacher.now_s += 100
    teacher.read(id_counter=teacher.reading.id_counter + 5)
    after = teacher.work(20, rate=2, service_s=5)
    assert after.service_s == pytest.approx(before.service_s, rel=0.03)
    teacher.now_s += 14  # no gap: this counts, and ten slots for 14 s with nothing done make jobs longer
    assert teacher.read().service_s > after.service_s * 1.02


def test_arrivals_are_a_mean_of_five_minutes() -> None:
    teacher = Teacher()
    teacher.work(600, rate=2, service_s=1)
    teacher.work(10, rate=3, service_s=1)  # ten jobs more than usual are no other time
    assert teacher.learned.arrival_rate == pytest.approx((290 * 2 + 10 * 3) / 300, rel=0.02)


def test_arrivals_begin_anew_when_the_last_half_minute_is_another_time() -> None:
    teacher = Teacher()
    teacher.work(600, rate=2, service_s=1)
    assert teacher.work(30, rate=20, service_s=1).arrival_rate == pytest.approx(20, rel=0.1)
    assert teacher.work(32, rate=0, service_s=1).arrival_rate < 1


def test_a_quiet_poisson_stream_is_not_taken_for_another_time_again_and_again() -> None:
    dice, teacher, begun = random.Random(7), Teacher(), set()
    for _ in range(1800):
        teacher.now_s += 2
        teacher.read(id_counter=teacher.reading.id_counter + sum(dice.random() < 0.02 for _ in range(100)))
        assert teacher.memory is not None
        begun.add(teacher.memory.rate_since_s)
    assert teacher.learned.arrival_rate == pytest.approx(1, rel=0.25)
    assert len(begun) < 30  # out of 1800 looks


def test_retries_that_wait_for_their_delay_have_left_and_enter_again() -> None:
    teacher = Teacher()
    teacher.read(id_counter=1, active=1)
    assert teacher.read(active=0, delayed=1).taken == 0
    assert teacher.read(delayed=1, due=1).taken == 0  # ready again, not taken
    assert teacher.read(delayed=0, due=0, active=1).taken == 1


def test_parents_that_wait_for_their_children_have_not_entered() -> None:
    teacher = Teacher()
    assert teacher.read(id_counter=3, waiting=2, waiting_children=1).taken == 0
    assert teacher.read(waiting=3, waiting_children=0).oldest_age_s == 0


def test_the_oldest_job_is_as_old_as_the_time_since_it_entered() -> None:
    teacher = Teacher()
    for waiting in range(1, 51):  # a job every two seconds, and nobody takes one
        teacher.now_s += 2
        teacher.read(id_counter=waiting, waiting=waiting)
    assert teacher.learned.oldest_age_s == pytest.approx(99, rel=0.08)
    teacher.read(waiting=20, active=30)
    assert teacher.learned.oldest_age_s == pytest.approx(39, rel=0.1)
    assert teacher.read(waiting=0, active=50).oldest_age_s == 0


@pytest.mark.parametrize("asleep_s", [6, 10, 30, 600])
def test_a_burst_on_a_sleeping_queue_is_new_however_long_ago_it_was_read(asleep_s: float) -> None:
    teacher = Teacher()
    teacher.now_s += asleep_s
    assert teacher.read(id_counter=500, waiting=500).oldest_age_s == 0
    teacher.now_s += 2
    assert teacher.read(waiting=470, active=30).oldest_age_s == 2


def test_promoted_jobs_are_as_old_as_their_due_time() -> None:
    teacher = Teacher()
    teacher.read(id_counter=9, delayed=9)
    for _ in range(100):
        teacher.now_s += 2
        teacher.read()
    teacher.read(due=9)
    teacher.now_s += 6
    assert teacher.read().oldest_age_s == 6


def test_a_first_look_at_an_old_backlog_knows_no_more_than_its_own_time() -> None:
    teacher = Teacher()
    teacher.memory = None
    assert teacher.read(id_counter=900, waiting=100).oldest_age_s == 0
    teacher.now_s += 8
    assert teacher.read().oldest_age_s == 8


def test_a_counter_that_falls_begins_anew_and_keeps_the_service_time() -> None:
    teacher = Teacher()
    teacher.work(300, rate=2, service_s=5)
    learned = teacher.read(id_counter=0, active=0, running_age_s=None)
    assert (learned.arrival_rate, learned.source) == (0, Source.KEPT)
    assert learned.service_s == pytest.approx(5, rel=0.02)


def test_a_heavy_tail_shows_in_the_remaining_time() -> None:
    teacher = Teacher()
    for _ in range(300):  # 2 of 12 slots hold jobs of ten minutes
        teacher.now_s += 2
        added = teacher.reading.id_counter + 20
        teacher.read(id_counter=added, active=12, running_age_s=10 * 0.5 + 2 * 300)
    assert teacher.learned.service_s == pytest.approx(1.2, rel=0.02)
    assert teacher.learned.remaining_s == pytest.approx(605 / 12, rel=0.02)


def test_without_ages_a_running_job_is_taken_to_have_a_whole_service_time_left() -> None:
    teacher = Teacher()
    for _ in range(100):
        teacher.now_s += 2
        teacher.read(id_counter=teacher.reading.id_counter + 4, active=10)
    assert teacher.learned.remaining_s == teacher.learned.service_s == pytest.approx(5, rel=0.05)


def test_a_day_of_busy_readings_fits_in_a_bounded_memory() -> None:
    history: tuple[Sample, ...] = ()
    for second in (*range(0, 190_000, 60), *range(190_000, 200_000, 2)):
        history = add(history, Sample(second, second, second, second, second), 1e9)
        assert len(history) <= MOST
    assert history[0].at_s < 200_000 - 80_000
    assert at(history, 150_000.5).entered == pytest.approx(150_000.5)
    assert passed(history, 199_000) == pytest.approx(199_000, abs=50)
    assert len(history) < 160


def test_while_nothing_happens_two_samples_are_enough() -> None:
    history: tuple[Sample, ...] = ()
    for second in range(0, 3000, 30):
        history = add(history, Sample(second, 7, 7, 7, 7), 300)
    assert [sample.at_s for sample in history] == [0, 2970]


counts = st.fixed_dictionaries(
    {
        "waiting": st.integers(0, 50),
        "delayed": st.integers(0, 50),
        "active": st.integers(0, 50),
        "id_counter": st.integers(0, 500),
        "running_age_s": st.none() | st.floats(0, 1e6),
    }
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e5), counts), max_size=30))
def test_whatever_is_read_the_numbers_are_sane(rows: list[tuple[float, dict[str, int]]]) -> None:
    teacher = Teacher()
    for passed_s, row in rows:
        teacher.now_s += passed_s
        learned = teacher.read(**row)
        assert learned.arrival_rate >= 0
        assert 0.001 <= learned.service_s < 1e12
        assert 0 <= learned.remaining_s < 1e12
        assert 0 <= learned.oldest_age_s <= teacher.now_s - 1000.0
