"""What a pool asks of its queues: who works there, in beats or in the jobs' own words, and only while somebody may."""

from __future__ import annotations

from typing import Any

import pytest

from corral.beat_record import Beat
from corral_operator.counting import QueueKey
from corral_operator.deployment import Key
from corral_operator.observed import Member, QueueReading, Unknown, WorkerReading
from corral_operator.pool_state import PoolState
from corral_operator.reconcile import _widest
from corral_operator.table import read_pool
from pools import pool
from redis_secret import ask, secret_of

NOW = 1000.0


def _state(**spec: Any) -> PoolState:
    metadata = {"namespace": "shop", "name": "emails", "uid": "u", "resourceVersion": "1", "generation": 1}
    return PoolState.begin(read_pool({**pool(**spec), "metadata": metadata, "status": {}}), NOW)


def _asked(state: PoolState) -> tuple[bool, bool]:
    (one,) = state.asks(NOW)
    return one.workers, one.holders


def _beating(name: str | None = "emails-1") -> QueueReading:
    return QueueReading("emails", workers=(WorkerReading(Beat("w", pod=name), 7),))


def test_of_corrals_workers_the_beats_are_read_and_of_any_others_who_holds_the_jobs() -> None:
    assert _asked(_state()) == (True, False)
    assert _asked(_state(runtime="Corral")) == (True, False)
    assert _asked(_state(runtime="Any")) == (False, True)


@pytest.mark.parametrize("runtime", ["Corral", "Any"])
def test_a_pool_that_sleeps_has_no_pods_to_ask_for(runtime: str) -> None:
    state = _state(runtime=runtime)
    state.asleep = True
    assert _asked(state) == (False, False)


@pytest.mark.parametrize("name", [None, "emails-1"])
def test_where_no_worker_names_its_pod_the_jobs_are_asked_who_holds_them(name: str | None) -> None:
    state = _state()
    state.crew([QueueReading("emails", workers=())], NOW)
    assert _asked(state) == (True, True)
    state.crew([_beating(name)], NOW)
    assert _asked(state) == (True, name is None)
    state.crew([Unknown("emails", "Timeout", "no answer")], NOW)
    assert _asked(state) == (True, name is None)


def test_what_is_known_of_the_crew_ends_with_its_redis() -> None:
    state = _state()
    state.use(secret_of("redis://one"))
    state.crew([QueueReading("emails", workers=())], NOW)
    assert _asked(state) == (True, True)
    state.use(secret_of("redis://two"))
    assert _asked(state) == (True, False)


def test_the_crew_is_told_by_the_name_of_the_pools_deployment() -> None:
    state = _state(runtime="Any")
    assert state.workload == Key("shop", "emails")
    held = QueueReading("emails", active=1, holders={"emails-6c9d8b7f4d-x2x4z": 1})
    staff = state.crew([held], NOW)
    assert staff.members == {"emails-6c9d8b7f4d-x2x4z": Member("emails-6c9d8b7f4d-x2x4z", 1)}
    assert staff.complete
    assert not state.crew([QueueReading("emails", active=1, holders={"emails": 1})], NOW).complete


def test_pools_on_one_queue_ask_for_all_that_any_of_them_needs() -> None:
    asks = [ask("q", workers=True), ask("q", holders=True), ask("q", ages=True), ask("other")]
    both, other = _widest(asks)
    assert (both.queue, both.workers, both.holders, both.ages) == (QueueKey("bull", "q"), True, True, True)
    assert (other.workers, other.holders, other.ages) == (False, False, False)
