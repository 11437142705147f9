"""Decisions by the clock, as stories: schedules are floors and ceilings, and between them the load decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from corral_operator.decision import Held, Reason
from corral_operator.observed import Observed, Pods
from corral_operator.pool_state import PoolState
from corral_operator.scaling import decide
from corral_operator.spec import Behavior, Pace, PoolSpec, Schedule
from corral_operator.table import read_pool
from pools import pool as manifest
from story import POOL, REFUSED, Story, arriving, lesson, quiet

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = Schedule("office", "0 8 * * 1-5", "Europe/Berlin", 10 * 3600.0, min_replicas=3)
NIGHT = Schedule("night", "0 8 * * 1-5", "Europe/Berlin", 10 * 3600.0, max_replicas=2)


def begins(hour: int, minute: int = 0, second: int = 0) -> int:
    """A moment of Monday, 23 November 2026, in Berlin."""
    return round(datetime(2026, 11, 23, hour, minute, second, tzinfo=BERLIN).timestamp() * 1000)


def pool(*schedules: Schedule, **changes: object) -> PoolSpec:
    return replace(POOL, schedules=schedules, **changes)


def test_a_floor_by_the_clock_raises_an_idle_pool_when_it_begins_and_lets_it_go_when_it_ends() -> None:
    story = Story(pool(OFFICE), begins_ms=begins(7, 59))
    assert story.look(quiet()).replicas == 0
    numbers = story.go_on(70, quiet())
    assert numbers[:29] == [0] * 29
    assert numbers[29:] == [3] * 6
    decision = story.see(quiet())
    assert (decision.reason, decision.chosen_by, decision.candidates["schedule"]) == (Reason.SCHEDULE, "schedule", 3)
    assert decision.text == (
        "3 replicas: schedule office (until 2026-11-23 18:00 Europe/Berlin) asks for no fewer; nothing waits and "
        "nothing arrives"
    )
    story.begins_ms += 10 * 3600 * 1000
    story.now_s += 2
    decision = story.look(quiet())
    assert (decision.replicas, decision.reason) == (0, Reason.IDLE)
    assert "schedule" not in decision.candidates


def test_a_floor_by_the_clock_is_no_ceiling() -> None:
    story = Story(pool(OFFICE), present=3, begins_ms=begins(9))
    decision = story.look(quiet(waiting=40))
    assert (decision.replicas, decision.reason) == (14, Reason.DRAIN)


def test_zero_is_not_reached_below_a_floor_by_the_clock() -> None:
    story = Story(pool(replace(OFFICE, min_replicas=1)), present=5, begins_ms=begins(9))
    assert set(story.go_on(600, quiet())) >= {1}
    assert story.present == 1


def test_a_ceiling_by_the_clock_caps_what_is_wanted_and_is_told_as_the_limit() -> None:
    story = Story(pool(NIGHT), begins_ms=begins(9))
    decision = story.look(quiet(waiting=40))
    assert (decision.replicas, decision.candidates["scheduleCeiling"]) == (2, 2)
    assert decision.limited is not None
    assert (decision.limited.because, decision.limited.wanted) == (Reason.SCHEDULE_CEILING, 14)
    assert decision.text.endswith("14 are wanted, but schedule night (until 2026-11-23 18:00 Europe/Berlin) allows 2")


def test_a_ceiling_that_begins_takes_away_what_is_above_it_and_its_end_gives_back_what_is_wanted() -> None:
    story = Story(pool(NIGHT), present=14, begins_ms=begins(7, 59))
    backlog = quiet(waiting=40, active=9)
    assert story.look(backlog).replicas == 14
    numbers = story.go_on(70, backlog)
    assert numbers[:29] == [14] * 29
    assert numbers[29:] == [2] * 6
    assert story.see(backlog).candidates["window"] == 2
    story.begins_ms += 10 * 3600 * 1000
    story.now_s += 2
    assert story.look(backlog).replicas == 14


def test_a_wish_above_a_ceiling_is_not_remembered() -> None:
    story = Story(pool(NIGHT), present=2, begins_ms=begins(17, 57))
    story.go_on(120, quiet(waiting=400, active=2), lessons=arriving(2.0))
    # The backlog is gone before the ceiling ends: nothing of it is left to be wanted.
    numbers = story.go_on(80, quiet(active=1), lessons=arriving(0.05))
    assert max(numbers) == 2


def test_a_ceiling_by_the_clock_goes_before_minreplicas() -> None:
    story = Story(pool(NIGHT, min_replicas=5), present=5, begins_ms=begins(9))
    decision = story.look(quiet())
    assert (decision.replicas, decision.reason) == (2, Reason.SCHEDULE_CEILING)
    assert story.see(quiet(waiting=90)).replicas == 2
    story.go_on(300, quiet())
    decision = story.see(quiet())
    assert (decision.replicas, decision.reason) == (2, Reason.SCHEDULE_CEILING)
    assert decision.text.startswith("2 replicas: schedule night (until 2026-11-23 18:00 Europe/Berlin) allows no more")


def test_a_floor_by_the_clock_is_no_reason_to_scale_while_nobody_can_read_the_queue() -> None:
    story = Story(pool(OFFICE), present=1, begins_ms=begins(7, 59, 30))
    assert set(story.go_on(120, REFUSED)) == {1}


def test_a_queue_that_nobody_created_gets_the_floor_by_the_clock() -> None:
    story = Story(pool(OFFICE), begins_ms=begins(9))
    decision = story.look(quiet(exists=False, seen_before=False))
    assert (decision.replicas, decision.reason) == (3, Reason.NEVER_CREATED)
    assert decision.text == (
        "3 replicas: nobody has ever created emails; schedule office (until 2026-11-23 18:00 Europe/Berlin) asks for no "
        "fewer; what is there stays until a job comes"
    )


def test_a_number_set_by_hand_goes_before_the_clock() -> None:
    for schedule in (OFFICE, NIGHT):
        story = Story(pool(schedule, replicas=1 if schedule is OFFICE else 7), present=4, begins_ms=begins(9))
        assert story.look(quiet()).reason is Reason.MANUAL
        assert story.present == story.policy.replicas


def test_steps_do_not_hold_back_a_bound_by_the_clock() -> None:
    story = Story(pool(OFFICE, behavior=Behavior(Pace(1, None))), begins_ms=begins(9))
    assert story.look(quiet()).replicas == 3
    busy = Story(pool(behavior=Behavior(Pace(1, None))), begins_ms=begins(9)).look(quiet(waiting=40))
    assert busy.held == Held(14, Reason.STEP)


def test_a_sleeping_pool_is_looked_at_the_moment_a_schedule_begins() -> None:
    schedule = {
        "name": "office",
        "cron": "0 8 * * 1-5",
        "duration": "10h",
        "timeZone": "Europe/Berlin",
        "minReplicas": 3,
    }
    metadata = {"namespace": "shop", "name": "emails", "uid": "u", "resourceVersion": "1"}
    state = PoolState.begin(read_pool({**manifest(schedules=[schedule]), "metadata": metadata}), 1000.5)
    assert state.spec is not None
    observed = Observed(1000.5, begins(7, 59, 55), (quiet(),), Pods.steady(0))
    decision, state.memory = decide(state.spec, observed, {"emails": lesson()}, None)
    state.schedule(decision, observed, None, 1000.5)
    assert (decision.replicas, state.asleep, state.due_at) == (0, True, 1005.5)
