"""What is remembered of a pool: what a restart brings back, and when it is looked at again."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.counting import QueueKey
from corral_operator.decision import Decision, Reason
from corral_operator.deployment import Key, read_deployment
from corral_operator.observed import Observed, Pods, QueueReading, Unknown
from corral_operator.pool_state import (
    AGES_EVERY_S,
    LONGEST_PAUSE_S,
    LONGEST_PROBLEM_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    NET_S,
    TICK_S,
    PoolState,
    with_replicas,
)
from corral_operator.scaling import PoolMemory
from corral_operator.table import Pool, read_pool
from pools import adopting, pool
from redis_secret import secret_of

NOW = 1000.5


def _pool(generation: int = 1, status: dict[str, Any] | None = None, name: str = "emails", **spec: Any) -> Pool:
    metadata = {"namespace": "shop", "name": name, "uid": "u", "resourceVersion": "1", "generation": generation}
    return read_pool({**pool(name, **spec), "metadata": metadata, "status": status or {}})


def _state(**spec: Any) -> PoolState:
    return PoolState.begin(_pool(**spec), NOW)


def _decision(reason: Reason = Reason.IDLE, replicas: int = 0) -> Decision:
    return Decision(replicas, reason, "because", {}, "idle")


def _observed(*readings: QueueReading | Unknown, present: int = 0) -> Observed:
    return Observed(NOW, 1_000_000, readings or (QueueReading("emails"),), Pods.steady(present))


def _scheduled(state: PoolState, observed: Observed | None = None, decision: Decision | None = None) -> float:
    state.schedule(decision or _decision(), observed or _observed(), None, NOW)
    return state.due_at


def test_a_new_pool_is_due_at_once_and_knows_its_names() -> None:
    state = _state()
    assert (state.due_at, state.key, state.workload) == (NOW, Key("shop", "emails"), Key("shop", "emails"))
    assert state.secret_key == Key("shop", "redis")
    adopted = PoolState.begin(read_pool({**adopting("emails", "other"), "metadata": _metadata()}), NOW)
    assert adopted.workload == Key("shop", "other")


def _metadata() -> dict[str, Any]:
    return {"namespace": "shop", "name": "emails", "uid": "u", "resourceVersion": "1"}


def test_a_restart_brings_back_what_takes_long_to_learn() -> None:
    status = {
        "queues": [{"name": "emails", "found": True}],
        "learned": {"podStartSeconds": 4.0, "podStartSecondsP95": 9.0, "queues": [{"name": "emails", "jobSeconds": 3}]},
        "lastScale": {"from": 1, "to": 2, "at": "2026-01-01T00:00:00Z", "reason": "Flow"},
    }
    state = PoolState.begin(_pool(status=status), NOW)
    assert (state.found, state.pod_start_s, state.starts.median_s) == ({"emails"}, 9.0, 4.0)
    assert state.scaled is not None
    assert state.scaled.to == 2
    state.learn((QueueReading("emails"),), NOW)
    assert state.learned["emails"].service_s == 3.0


def test_a_wrong_spec_is_a_problem_until_it_is_corrected() -> None:
    state = _state(target={"wait": "soon"})
    assert state.problem is not None
    assert (state.problem.cause, state.spec, state.secret_key, state.workload) == ("SpecInvalid", None, None, None)
    assert "correct the field" in state.problem.text
    assert state.asks(NOW) == []
    assert state.take(_pool(2))
    assert (state.problem, state.secret_key) == (None, Key("shop", "redis"))


def test_only_another_spec_is_a_reason_to_look_at_once() -> None:
    state = _state()
    assert not state.take(_pool(1, {"replicas": 3}))
    assert state.pool.status == {"replicas": 3}
    state.refused(500, None, NOW)
    assert state.take(_pool(2))
    assert state.not_before == float("-inf")


def test_what_was_learned_of_another_redis_or_prefix_is_forgotten() -> None:
    state = _state()
    assert state.use(secret_of("redis://a"))
    state.learn((QueueReading("emails"),), NOW)
    assert not state.use(secret_of("redis://a"))
    assert state.found == {"emails"}
    assert state.use(secret_of("redis://b"))
    assert (state.found, state.learned, state.queues) == (set(), {}, {})
    state.learn((QueueReading("emails"),), NOW)
    state.take(_pool(2, prefix="mine"))
    assert (state.found, state.learned) == (set(), {})


def test_what_was_learned_of_the_redis_of_another_secret_is_forgotten() -> None:
    """Else the difference between the counters of both would be taken for arrivals."""
    state = _state()
    state.use(secret_of("redis://a"))
    state.learn((QueueReading("emails", id_counter=10),), NOW)
    other = {"secretRef": {"name": "other"}}
    state.take(_pool(2, redis=other))
    assert state.secret is None
    state.use(secret_of("redis://b"))
    assert (state.found, state.learned, state.queues) == (set(), {}, {})
    state.learn((QueueReading("emails", id_counter=1_000_000),), NOW + 2)
    state.take(_pool(3))
    state.use(secret_of("redis://b"))
    assert state.found == {"emails"}  # another Secret of the same Redis


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("redis://:first@a", "redis://:second@a", True),
        ("redis://a", "redis://user:p%40ss@A:6379/0", True),
        ("redis://a?password=first", "redis://a?password=second", True),
        ("redis://a", "rediss://a", True),
        ("redis://:first@a", "redis://:first@b", False),
        ("redis://a", "redis://a:6380", False),
        ("redis://a/0", "redis://a/1", False),
        ("redis://a?db=0", "redis://a?db=1", False),
        ("unix:///run/a.sock", "unix:///run/b.sock", False),
    ],
)
def test_a_rotated_password_is_no_other_redis_and_what_was_learned_stays(before: str, after: str, same: bool) -> None:
    state = _state()
    state.use(secret_of(before))
    state.learn((QueueReading("emails"),), NOW)
    state.orders_refused = "NOPERM"
    assert state.use(secret_of(after))
    assert (state.found == {"emails"}, "emails" in state.learned, "emails" in state.queues) == (same,) * 3
    assert state.orders_refused is None, "the new login may be allowed more"
    assert "first" not in str(state.learned_of)


def test_a_queue_that_left_the_pool_is_forgotten() -> None:
    state = _state(queues=[{"name": "emails"}, {"name": "sms"}])
    state.learn((QueueReading("emails"), QueueReading("sms")), NOW)
    state.take(_pool(2))
    state.learn((QueueReading("emails"),), NOW + 2)
    assert set(state.learned) == set(state.queues) == {"emails"}


def test_a_queue_that_could_not_be_read_keeps_what_was_learned() -> None:
    state = _state()
    state.learn((QueueReading("emails"),), NOW)
    learned = state.learned["emails"]
    state.learn((Unknown("emails", "Timeout", "no answer"),), NOW + 2)
    assert state.learned["emails"] is learned


def test_ages_are_asked_for_now_and_then() -> None:
    state = _state(queues=[{"name": "emails"}, {"name": "sms"}])
    first = state.asks(NOW)
    assert [(ask.queue, ask.ages, ask.seen_before) for ask in first] == [
        (QueueKey("bull", "emails"), True, False),
        (QueueKey("bull", "sms"), True, False),
    ]
    assert not any(ask.ages for ask in state.asks(NOW + TICK_S))
    assert all(ask.ages for ask in state.asks(NOW + AGES_EVERY_S))


def test_a_pool_with_work_is_due_at_the_next_tick() -> None:
    assert _scheduled(_state(), decision=_decision(Reason.FLOW, 2)) == (NOW // TICK_S + 1) * TICK_S


@pytest.mark.parametrize("reason", [Reason.IDLE, Reason.NEVER_CREATED, Reason.MANUAL])
def test_a_pool_with_nothing_to_do_sleeps(reason: Reason) -> None:
    state = _state()
    assert NOW < _scheduled(state, decision=_decision(reason)) <= NOW + NET_S
    assert state.asleep


def _deployment(total: int) -> Any:
    return read_deployment({"metadata": _metadata(), "spec": {"replicas": 0}, "status": {"replicas": total}})


def test_a_pool_does_not_sleep_while_anything_is_left() -> None:
    for decision, observed, deployment in (
        (_decision(Reason.NOT_IDLE_YET, 1), _observed(), None),
        (_decision(Reason.MANUAL, 1), _observed(), None),
        (_decision(), _observed(present=1), None),
        (_decision(), _observed(), _deployment(1)),
        (_decision(), _observed(QueueReading("emails"), Unknown("sms", "Timeout", "no answer")), None),
    ):
        state = _state()
        state.schedule(decision, observed, deployment, NOW)
        assert not state.asleep
        assert state.due_at <= NOW + TICK_S
    state = _state()
    state.schedule(_decision(), _observed(), _deployment(0), NOW)
    assert state.asleep


def test_sleeping_pools_are_spread_over_the_ticks() -> None:
    due = {_scheduled(_state(name=f"pool-{number}")) for number in range(200)}
    assert len(due) == NET_S // TICK_S


def test_a_sleeper_gets_up_before_its_next_job_is_due() -> None:
    state = _state(idleAfter="10s")
    lead_s = state.pod_start_s + 10
    soon = QueueReading("emails", delayed=1, next_due_ms=1_000_000 + int((lead_s + 1.25) * 1000))
    assert _scheduled(state, _observed(soon)) == pytest.approx(NOW + 1.25)
    past = QueueReading("emails", delayed=1, next_due_ms=5)
    assert _scheduled(state, _observed(past)) == NOW + 0.25
    paused = QueueReading("emails", delayed=1, next_due_ms=5, paused=True)
    assert _scheduled(state, _observed(paused)) > NOW + 0.25


def test_a_pool_kept_at_zero_by_hand_is_not_woken_by_due_times() -> None:
    """Nobody promotes its jobs, so their time stays in the past."""
    state = _state(replicas=0)
    past = QueueReading("emails", delayed=1, due=1, next_due_ms=5)
    assert _scheduled(state, _observed(past), _decision(Reason.MANUAL)) > NOW + 0.25
    assert state.asleep


def test_a_pool_that_is_woken_while_somebody_looks_is_looked_at_once_more() -> None:
    state = _state()
    state.start()
    state.wake(NOW)
    _scheduled(state)
    state.finish(NOW + 1)
    assert (state.busy, state.due_at) == (False, NOW + 1)
    state.start()
    _scheduled(state)
    state.finish(NOW + 2)
    assert state.due_at > NOW + 2


def test_a_refusal_is_waited_out_even_by_a_pool_that_is_woken() -> None:
    state = _state()
    state.refused(429, 7.0, NOW)
    assert state.due_at == NOW + 7
    state.due_at = NOW + 60
    state.wake(NOW + 1)
    assert state.due_at == NOW + 7
    state.wake(NOW + 20)
    assert state.due_at == NOW + 7


def test_nobody_is_waited_for_longer_than_a_minute() -> None:
    """As the maintenance page of a proxy asks for it."""
    state = _state()
    state.refused(503, 86_400.0, NOW)
    assert state.due_at == NOW + LONGEST_RETRY_AFTER_S


def test_refusals_and_problems_are_looked_at_more_and_more_rarely() -> None:
    refused, postponed = _state(), _state()
    pauses, waits = [], []
    for _ in range(12):
        refused.refused(500, None, NOW)
        pauses.append(refused.due_at - NOW)
        postponed.postpone(NOW)
        waits.append(postponed.due_at - NOW)
    assert (pauses[:3], pauses[-1]) == ([1.0, 2.0, 4.0], LONGEST_PAUSE_S)
    assert (waits[:2], waits[-1]) == ([5.0, 10.0], LONGEST_PROBLEM_PAUSE_S)
    _scheduled(refused)
    refused.refused(500, None, NOW)
    assert refused.due_at == NOW + 1.0


def test_only_the_first_conflict_is_tried_again_soon() -> None:
    state = _state()
    state.refused(409, None, NOW)
    first = state.due_at - NOW
    state.refused(409, None, NOW)
    assert (first < 0.5, state.due_at - NOW) == (True, 2.0)


def test_a_scaled_deployment_is_known_at_once() -> None:
    after = with_replicas(_deployment(0), 5, 77)
    assert (after.replicas, after.version, after.generation) == (5, 77, 1)


def test_a_secret_is_never_shown_by_a_state() -> None:
    state = _state()
    state.use(secret_of("redis://:s3cret@a"))
    assert "s3cret" not in repr(state)


def test_who_takes_over_knows_what_was_written_and_forgets_what_it_only_wished() -> None:
    state = _state()
    state.memory, state.told, state.own_generation = PoolMemory.begin(9, NOW), {"desired": 9}, 3
    state.learned_of = "redis://somewhere"
    state.refused(500, 60.0, NOW)
    scaled = {"from": 1, "to": 4, "at": "2026-03-01T12:00:00Z", "reason": "Backlog"}
    state.take(_pool(status={"lastScale": scaled}))
    state.take_over(NOW + 1)
    assert (state.memory, state.told, state.own_generation) == (None, None, None)
    assert state.scaled is not None
    assert (state.scaled.from_, state.scaled.to) == (1, 4)
    assert state.learned_of == "redis://somewhere"
    assert state.due_at == NOW + 1, "what was refused before is tried at once"
