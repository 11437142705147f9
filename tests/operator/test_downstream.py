"""More pods that do no more jobs per second: found by what was done, told, and never a cap."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from corral_operator.downstream import PIECES
from corral_operator.observed import Rivals
from story import POOL, Story, lesson, quiet

if TYPE_CHECKING:
    from corral_operator.decision import Decision


class Work(Story):
    """A pool whose pods do so many jobs per second, whatever is decided of them."""

    taken = 0.0

    def work(self, seconds: float, pods: int, rate: float, **said: Any) -> Decision:
        """So many pods, all busy and with jobs waiting unless it is said otherwise, for so long."""
        service_s = said.pop("service_s", 1.0)
        counts = {"active": pods * self.policy.concurrency, "waiting": 5000, **said}
        decision = None
        for _ in range(round(seconds / 2)):
            self.now_s += 2
            self.taken += 2 * rate
            self.present = pods
            decision = self.see(quiet(**counts), lessons={"emails": lesson(service_s=service_s, taken=self.taken)})
        assert decision is not None
        return decision


def test_half_as_many_pods_again_that_do_no_more_are_told() -> None:
    story = Work()
    assert story.work(70, pods=10, rate=10.0).downstream is None
    assert story.work(58, pods=15, rate=11.0).downstream is None
    decision = story.work(6, pods=15, rate=11.0)
    assert decision.downstream == (
        "15 ready pods, all of them busy, did 11 jobs/s over 60 s, and 10 did 10: what the jobs call may be at its "
        "limit, or the jobs have become longer"
    )


def test_it_caps_nothing() -> None:
    told, untold = Work(), Work()
    told.work(70, pods=10, rate=10.0)
    untold.work(70, pods=10, rate=10.0)
    found, other = told.work(70, pods=15, rate=11.0), untold.work(70, pods=15, rate=15.0)
    assert (found.downstream is None, other.downstream is None) == (False, True)
    assert found.replicas == other.replicas == 30
    assert found.limited == other.limited


@pytest.mark.parametrize(
    ("pods", "rate", "said"),
    [
        (15, 11.6, {}),  # a sixth more jobs
        (14, 10.0, {}),  # fewer than half as many pods again
        (15, 11.0, {"active": 8}),  # slots are free
        (15, 11.0, {"waiting": 0}),  # nothing waits
        (15, 11.0, {"concurrency_limit": 10}),  # the queue's own limit says it already
        (15, 11.0, {"paused": True}),
    ],
)
def test_where_more_pods_help_or_could_not_be_used_nothing_is_told(
    pods: int, rate: float, said: dict[str, Any]
) -> None:
    story = Work()
    story.work(70, pods=10, rate=10.0)
    assert story.work(200, pods=pods, rate=rate, **said).downstream is None


def test_it_takes_five_jobs_long_where_jobs_are_long() -> None:
    story = Work()
    story.work(210, pods=10, rate=0.25, service_s=40.0)
    assert story.work(196, pods=20, rate=0.25, service_s=40.0).downstream is None
    assert story.work(10, pods=20, rate=0.25, service_s=40.0).downstream is not None


def test_fewer_pods_need_not_have_been_full_to_say_what_they_did() -> None:
    story = Work()
    story.work(70, pods=10, rate=10.0, waiting=0, active=7)
    assert story.work(70, pods=30, rate=10.0).downstream is not None


def test_the_words_stay_while_it_holds_and_go_when_it_does_not() -> None:
    story = Work()
    story.work(70, pods=10, rate=10.0)
    first = story.work(70, pods=15, rate=11.0).downstream
    assert first is not None
    assert story.work(40, pods=15, rate=11.3).downstream == first
    assert story.work(20, pods=20, rate=11.0).downstream == first
    assert story.work(2, pods=12, rate=11.0).downstream is None
    story.work(70, pods=20, rate=11.0)
    assert story.work(70, pods=20, rate=25.0).downstream is None


def test_a_free_slot_now_and_then_is_no_free_pod() -> None:
    story = Work(replace(POOL, concurrency=10))
    story.work(70, pods=10, rate=10.0)
    assert story.work(70, pods=15, rate=11.0, active=138).downstream is not None


def test_a_gap_a_fallen_count_and_a_shared_queue_begin_anew() -> None:
    gap = Work()
    gap.work(70, pods=10, rate=10.0)
    gap.work(40, pods=15, rate=10.0)
    gap.now_s += 20
    assert gap.work(40, pods=15, rate=10.0).downstream is None
    fallen = Work()
    fallen.work(70, pods=10, rate=10.0)
    fallen.work(40, pods=15, rate=10.0)
    fallen.taken = 0.0
    assert fallen.work(40, pods=15, rate=10.0).downstream is None
    shared = Work()
    shared.rivals = Rivals(shares={"emails": 0.5})
    shared.work(70, pods=10, rate=10.0)
    assert shared.work(70, pods=15, rate=10.0).downstream is None


def test_what_is_remembered_stays_small() -> None:
    story = Work()
    for pods in range(1, 30):
        story.work(64, pods=pods, rate=10.0)
    assert story.memory is not None
    assert len(story.memory.downstream.pieces) == PIECES
