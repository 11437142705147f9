"""How busy pods are protected: what is asked for, what workers and Redis allow, and why it is not better."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.guard import SPARED, UNHEARD_S, acl_of, guard_of, unheard_since
from corral_operator.observed import Staff
from corral_operator.spec import Busy, PoolSpec, read_spec
from pools import pool

BEATING = Staff(beats=True)


def spec(**fields: Any) -> PoolSpec:
    return read_spec("emails", "default", pool(**fields)["spec"])


def reason(policy: PoolSpec, staff: Staff = BEATING, **what: Any) -> tuple[Busy, str]:
    found = guard_of(policy, staff, **{"orders_refused": None, **what})
    assert found.text
    return found.busy, found.reason


def test_pods_are_drained_when_nothing_else_is_said() -> None:
    assert reason(spec()) == (Busy.DRAIN, "Drain")


@pytest.mark.parametrize(("asked", "holds"), [("Cost", Busy.COST), ("None", Busy.NONE)])
def test_what_the_spec_asks_for_holds(asked: str, holds: Busy) -> None:
    assert reason(spec(protection={"busy": asked})) == (holds, asked)
    assert reason(spec(protection={"busy": asked}), orders_refused="NOPERM") == (holds, asked)


def test_workers_of_another_kind_take_no_orders_and_nobody_is_warned_of_what_was_asked_for() -> None:
    assert reason(spec(runtime="Any"), Staff()) == (Busy.COST, "AnyRuntime")
    assert reason(spec(runtime="Any"), orders_refused="NOPERM") == (Busy.COST, "AnyRuntime")
    assert reason(spec(runtime="Any"), foreign=["emails-1"]) == (Busy.COST, "OtherWriter")
    assert "AnyRuntime" in SPARED


def test_without_the_second_part_of_the_permission_the_pool_works_in_mode_cost_and_says_the_exact_line() -> None:
    found = guard_of(spec(prefix="shop"), BEATING, orders_refused="NOPERM this user may not run hset")
    assert (found.busy, found.reason) == (Busy.COST, "NoOrders")
    assert "`+@read +@connection ~shop:* (+hset +hdel ~shop:*:corral:orders)`" in found.text
    assert "before Redis 7" in found.text
    assert "NOPERM this user may not run hset" in found.text
    assert acl_of("bull") == "+@read +@connection ~bull:* (+hset +hdel ~bull:*:corral:orders)"


def test_ready_pods_that_never_beat_are_told_after_three_spans_and_not_before() -> None:
    assert reason(spec(), Staff(), unheard_s=UNHEARD_S - 1) == (Busy.DRAIN, "Drain")
    assert reason(spec(), Staff(), unheard_s=UNHEARD_S) == (Busy.COST, "NoBeats")
    assert reason(spec(), BEATING, unheard_s=UNHEARD_S) == (Busy.DRAIN, "Drain")


def test_pods_that_have_just_started_and_do_not_beat_yet_are_not_waited_for_from_before() -> None:
    assert unheard_since(None, Staff(), 0, 50.0, read=True) is None
    since_s = unheard_since(None, Staff(), 2, 60.0, read=True)
    assert since_s == 60.0
    assert unheard_since(since_s, Staff(), 2, 80.0, read=True) == 60.0
    assert unheard_since(since_s, BEATING, 2, 80.0, read=True) is None
    assert unheard_since(since_s, Staff(), 0, 80.0, read=True) is None


def test_what_could_not_be_read_says_nothing_of_beats() -> None:
    assert unheard_since(None, Staff(), 2, 60.0, read=False) is None
    assert unheard_since(40.0, Staff(), 2, 60.0, read=False) == 40.0


def test_workers_that_name_no_pod_of_the_pool_are_told_with_the_env_that_they_miss() -> None:
    found = guard_of(spec(), BEATING, orders_refused=None, nameless_s=UNHEARD_S)
    assert (found.busy, found.reason) == (Busy.COST, "NoNames")
    assert "POD_NAME" in found.text
    assert reason(spec(), nameless_s=UNHEARD_S - 1) == (Busy.DRAIN, "Drain")


def test_others_that_write_the_deletion_cost_are_told_and_what_holds_stays() -> None:
    found = guard_of(spec(), BEATING, orders_refused=None, foreign=("emails-a", "emails-b"))
    assert (found.busy, found.reason) == (Busy.DRAIN, "OtherWriter")
    assert "emails-a and 1 more pods" in found.text
    assert reason(spec(protection={"busy": "Cost"}), foreign=("a",)) == (Busy.COST, "OtherWriter")
    assert reason(spec(protection={"busy": "None"}), foreign=("a",)) == (Busy.NONE, "None")
