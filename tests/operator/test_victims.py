"""Which pods go when there are too many: the rules of the handshake, one story each, and what holds in all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral_operator.observed import Member, Staff
from corral_operator.pods import LOWEST_COST, LivePod
from corral_operator.spec import Busy
from corral_operator.victims import Plan, Scene, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOW = 1000.0
TEN_MINUTES = 600.0


def pod(name: str, **what: Any) -> LivePod:
    return LivePod(name, f"uid-{name}", **what)


def idle(name: str, since_s: float = NOW, **what: Any) -> Member:
    return Member(name, 0, idle_since_s=since_s, workers=(("emails", f"w-{name}"),), **what)


def busy(name: str, jobs: int = 1, **what: Any) -> Member:
    return Member(name, jobs, workers=(("emails", f"w-{name}"),), **what)


def scene(pods: Iterable[LivePod], members: Iterable[Member], wanted: int, **what: Any) -> Scene:
    rows = tuple(pods)
    staff = Staff({member.pod: member for member in members}, beats=True, complete=True)
    return Scene(rows, what.pop("present", len(rows)), wanted, staff, NOW, **what)


def names(pods: Sequence[LivePod]) -> list[str]:
    return [row.name for row in pods]


ABC = [pod("a", created_s=1), pod("b", created_s=2), pod("c", created_s=3)]
ALL_IDLE = [idle("a", 900), idle("b", 800), idle("c", 950)]


# --- who goes first ---


def test_pods_that_are_not_ready_go_first_by_their_number_alone() -> None:
    pods = [*ABC, pod("new", ready=False, pending=True), pod("late", ready=False)]
    plan = plan_of(scene(pods, ALL_IDLE, 2, safe={"a", "b", "c"}))
    # Two of the three that are too many: no mark, and the third is not counted yet though it is safe.
    assert (plan.replicas, plan.marks) == (3, ())
    assert names(plan.victims) == ["b"]
    assert plan_of(scene(pods, ALL_IDLE, 4)).replicas == 4


def test_a_marked_pod_is_never_counted_on_while_one_is_not_ready() -> None:
    pods = [replace(ABC[0], cost=LOWEST_COST), *ABC[1:], pod("new", ready=False)]
    assert plan_of(scene(pods, ALL_IDLE, 1, safe={"a", "b", "c"})).replicas == 3


def test_a_pod_that_is_not_ready_and_works_all_the_same_is_waited_for_and_no_mark_is_trusted() -> None:
    pods = [*ABC, pod("flaky", ready=False, created_s=0), pod("new", ready=False, pending=True)]
    rows = [*ALL_IDLE, busy("flaky")]
    waiting = scene(pods, rows, 2, safe={"a", "b", "c"})
    # Only the one that does not even run stands before it.
    assert plan_of(waiting).replicas == 4
    assert names(plan_of(waiting).victims)[0] == "flaky"
    without = scene(pods[:-1], rows, 2, safe={"a", "b", "c"})
    assert (plan_of(without).replicas, plan_of(without).marks) == (4, ())
    assert plan_of(replace(without, safe={"a", "b", "c", "flaky"})).replicas == 3
    assert plan_of(replace(without, since={"uid-flaky": NOW - TEN_MINUTES})).replicas == 3
    silent = scene(pods[:-1], [*ALL_IDLE, busy("flaky", silent=True)], 2, safe={"a", "b", "c"})
    assert plan_of(silent).replicas == 3


def test_victims_are_those_quiet_already_then_those_idle_longest_then_the_youngest() -> None:
    quiet = [idle("a", 900), idle("b", 800), idle("c", 990, quiet=True)]
    assert names(plan_of(scene(ABC, quiet, 1)).victims) == ["c", "b"]
    assert names(plan_of(scene(ABC, ALL_IDLE, 0)).victims) == ["b", "a", "c"]
    alike = [idle(name, 900) for name in "abc"]
    assert names(plan_of(scene(ABC, alike, 1)).victims) == ["c", "b"]


def test_a_pod_that_was_ordered_a_moment_ago_counts_as_quiet_already() -> None:
    assert names(plan_of(scene(ABC, ALL_IDLE, 2, ordered={"c"})).victims) == ["c"]


def test_among_the_busy_the_one_with_the_fewest_jobs_goes_first_and_the_unknown_last() -> None:
    rows = [busy("a", 3), busy("b", 2)]
    assert names(plan_of(scene(ABC, rows, 0)).victims) == ["b", "a", "c"]
    silent = [busy("a", 3), idle("b", silent=True), Member("c", None)]
    assert names(plan_of(scene(ABC, silent, 0)).victims) == ["a", "c", "b"]


def test_one_that_is_idle_for_long_goes_before_one_that_was_told_and_is_still_busy() -> None:
    rows = [busy("a", 1, quiet=True), idle("b", NOW - 11), busy("c")]
    assert names(plan_of(scene(ABC, rows, 1)).victims) == ["b", "a"]
    # A pause between two jobs is no reason to begin anew with another.
    rows = [busy("a", 1, quiet=True), idle("b", NOW - 9), busy("c")]
    assert names(plan_of(scene(ABC, rows, 1)).victims) == ["a", "b"]


# --- safe, and not so ---


def test_safe_victims_are_marked_and_the_replicas_lowered_by_their_number() -> None:
    told = {"uid-a": NOW - 20, "uid-b": NOW - 20}
    plan = plan_of(scene(ABC, ALL_IDLE, 1, safe={"b"}, since=told))
    assert (plan.replicas, names(plan.marks), names(plan.victims), plan.waiting) == (2, ["b"], ["b", "a"], 1)
    plan = plan_of(scene(ABC, ALL_IDLE, 1, safe={"a", "b"}))
    assert (plan.replicas, sorted(names(plan.marks)), plan.waiting) == (1, ["a", "b"], 0)


def test_those_that_are_idle_are_waited_for_a_beat_long_so_that_one_write_does_for_all() -> None:
    told = {"uid-a": NOW - 12, "uid-b": NOW - 12}
    plan = plan_of(scene(ABC, ALL_IDLE, 1, safe={"b"}, since=told))
    assert (plan.replicas, plan.marks, plan.waiting) == (3, (), 1)
    # One that is busy may be for long, and holds up nobody.
    plan = plan_of(scene(ABC, [busy("a"), idle("b"), busy("c")], 1, safe={"b"}, ordered={"a", "b"}, since=told))
    assert (plan.replicas, names(plan.marks), plan.waiting) == (2, ["b"], 1)


def test_a_pod_that_is_idle_and_has_not_said_that_it_is_quiet_is_not_counted() -> None:
    plan = plan_of(scene(ABC, ALL_IDLE, 1))
    assert (plan.replicas, plan.marks, plan.waiting) == (3, (), 2)


def test_unknown_counts_as_busy() -> None:
    for rows in ([], [Member(name, None) for name in "abc"], [idle(name, silent=True) for name in "abc"]):
        plan = plan_of(scene(ABC, rows, 0))
        assert (plan.replicas, plan.marks, plan.waiting) == (3, (), 3)


def test_a_victim_that_is_marked_already_is_not_marked_again() -> None:
    pods = [replace(ABC[0], cost=LOWEST_COST), *ABC[1:]]
    plan = plan_of(scene(pods, ALL_IDLE, 2, safe={"a"}, ordered={"a"}))
    assert (plan.replicas, plan.marks, plan.unmarks) == (2, (), ())


def test_where_all_go_no_mark_is_needed() -> None:
    plan = plan_of(scene(ABC, ALL_IDLE, 0, safe={"a", "b", "c"}))
    assert (plan.replicas, plan.marks) == (0, ())


def test_scaling_to_zero_waits_for_the_busy_ones_and_lets_the_others_go() -> None:
    plan = plan_of(scene(ABC, [busy("a"), idle("b"), idle("c")], 0, safe={"b", "c"}))
    assert (plan.replicas, sorted(names(plan.marks)), plan.waiting) == (1, ["b", "c"], 1)


# --- the end of waiting ---


def test_those_not_yet_safe_wait_their_turn_up_to_max_drain_and_go_all_the_same_then() -> None:
    rows = [busy("a"), busy("b"), busy("c")]
    chosen = {"uid-c": NOW - TEN_MINUTES + 1}
    plan = plan_of(scene(ABC, rows, 2, since=chosen, ordered={"c"}))
    assert (plan.replicas, plan.marks, plan.waiting, plan.overdue) == (3, (), 1, ())
    assert plan.since == chosen
    plan = plan_of(scene(ABC, rows, 2, since={"uid-c": NOW - TEN_MINUTES}, ordered={"c"}))
    assert (plan.replicas, names(plan.marks), plan.waiting, names(plan.overdue)) == (2, ["c"], 0, ["c"])


def test_one_that_was_chosen_and_let_off_meanwhile_begins_anew() -> None:
    long_ago = {"uid-a": NOW - TEN_MINUTES}
    assert plan_of(scene(ABC, ALL_IDLE, 3, since=long_ago)).since == {}


# --- load returns, and afterwards ---


def test_when_load_returns_every_marked_survivor_is_un_marked_and_nobody_is_a_victim() -> None:
    pods = [replace(ABC[0], cost=LOWEST_COST), *ABC[1:]]
    plan = plan_of(scene(pods, ALL_IDLE, 3, safe={"a"}, since={"uid-a": NOW}))
    assert (plan.replicas, names(plan.unmarks), plan.victims, plan.since) == (3, ["a"], (), {})
    assert plan_of(scene(pods, ALL_IDLE, 7)).replicas == 7


def test_when_a_part_of_the_load_returns_the_busiest_victims_are_let_off() -> None:
    rows = [busy("a", 2, quiet=True), idle("b", quiet=True), busy("c", 1, quiet=True)]
    assert names(plan_of(scene(ABC, rows, 1)).victims) == ["b", "c"]


def test_pods_that_an_earlier_number_has_given_up_are_not_counted_on_a_second_time() -> None:
    """The ReplicaSet deletes a moment later, and until then the marked ones are still in the list."""
    pods = [replace(row, cost=LOWEST_COST) for row in ABC[:2]] + [ABC[2], pod("d")]
    rows = [*ALL_IDLE, busy("d")]
    plan = plan_of(scene(pods, rows, 2, present=2, safe={"a", "b"}))
    assert (plan.replicas, plan.unmarks, plan.marks) == (2, (), ())
    plan = plan_of(scene(pods, rows, 1, present=2, safe={"a", "b"}))
    assert (plan.replicas, len(plan.victims), plan.waiting) == (2, 3, 1)


def test_replicas_whose_pod_does_not_exist_are_given_up_at_once() -> None:
    assert plan_of(scene(ABC, [], 3, present=5)).replicas == 3
    assert plan_of(scene(ABC, [], 2, present=5)).replicas == 3


def test_pods_that_are_ending_are_none_of_it() -> None:
    """They are not among the pods that may be chosen; one that has gone leaves the others as they were."""
    plan = plan_of(scene(ABC[:2], [*ALL_IDLE, idle("c")], 2, present=2, since={"uid-c": 1.0}))
    assert (plan.victims, plan.since, plan.replicas) == ((), {}, 2)


# --- rollouts ---


@pytest.mark.parametrize("rollout", [True, False], ids=["told", "seen"])
def test_during_a_rollout_nothing_is_lowered_and_everybody_is_let_off(rollout: bool) -> None:
    pods = [replace(ABC[0], cost=LOWEST_COST, template="old"), *(replace(row, template="new") for row in ABC[1:])]
    held = scene(pods, ALL_IDLE, 1, safe={"a", "b"}, rollout=rollout)
    plan = plan_of(held)
    assert (plan.replicas, plan.victims, plan.marks, names(plan.unmarks)) == (3, (), (), ["a"])
    assert plan.held_since_s == NOW
    assert plan_of(replace(held, wanted=5)).replicas == 5
    # One that is stuck must not keep all pods for ever.
    late = replace(held, held_since_s=NOW - TEN_MINUTES)
    assert plan_of(late).replicas == (3 if rollout else 1)


# --- the other guards ---


def test_in_mode_cost_idle_pods_are_marked_without_a_cordon_and_the_number_is_written_at_once() -> None:
    rows = [busy("a"), idle("b"), idle("c", silent=True)]
    plan = plan_of(scene(ABC, rows, 1, guard=Busy.COST))
    assert (plan.replicas, names(plan.marks), plan.victims, plan.waiting) == (1, ["b"], (), 0)
    unready = [*ABC, pod("new", ready=False)]
    assert plan_of(scene(unready, rows, 1, guard=Busy.COST)).replicas == 3


def test_in_mode_cost_a_pod_that_holds_no_job_is_known_by_those_that_do() -> None:
    staff = Staff({"a": Member("a", 2)}, complete=True)
    marks = plan_of(Scene(ABC, 3, 1, staff, NOW, Busy.COST)).marks
    assert sorted(names(marks)) == ["b", "c"]
    assert plan_of(Scene(ABC, 3, 1, replace(staff, complete=False), NOW, Busy.COST)).marks == ()


def test_in_mode_none_the_number_is_written_straight_and_no_pod_is_marked() -> None:
    pods = [replace(ABC[0], cost=LOWEST_COST), *ABC[1:]]
    plan = plan_of(scene(pods, ALL_IDLE, 1, guard=Busy.NONE))
    assert (plan.replicas, plan.marks, names(plan.unmarks)) == (1, (), ["a"])


# --- what holds in every story ---


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    count = draw(st.integers(0, 8))
    pods, members, safe = [], {}, set()
    for number in range(count):
        name = f"p{number}"
        ready = draw(st.booleans()) or draw(st.booleans())
        cost = draw(st.sampled_from([None, None, LOWEST_COST, "7"]))
        pods.append(pod(name, ready=ready, pending=not ready and draw(st.booleans()), created_s=number, cost=cost))
        kind = draw(st.sampled_from(["idle", "busy", "silent", "unknown", "safe"]))
        if kind == "safe":
            members[name] = idle(name, quiet=True)
            safe.add(name)
        elif kind == "silent":
            members[name] = busy(name, draw(st.integers(0, 2)), silent=True)
        elif kind != "unknown":
            members[name] = (
                idle(name, draw(st.floats(0, NOW))) if kind == "idle" else busy(name, draw(st.integers(1, 3)))
            )
    return Scene(
        pods=tuple(pods),
        present=draw(st.integers(max(0, count - 2), count + 2)),
        wanted=draw(st.integers(0, 9)),
        staff=Staff(members, beats=True),
        now_s=NOW,
        safe=safe,
        since={row.uid: draw(st.sampled_from([NOW, NOW - TEN_MINUTES])) for row in pods if draw(st.booleans())},
    )


def deleted(found: Scene, plan: Plan) -> list[LivePod]:
    """Whom Kubernetes would take when this plan is carried out; of those that are alike, those that hurt most."""
    marked = {*names(plan.marks), *(row.name for row in found.pods if row.marked and row not in plan.unmarks)}

    def hurts(row: LivePod) -> bool:
        member = found.staff.members.get(row.name)
        return row.ready and (member is None or member.silent or bool(member.busy))

    ranked = sorted(
        found.pods, key=lambda row: (row.ready, not row.pending, row.name not in marked, not hurts(row), -row.created_s)
    )
    return ranked[: max(0, len(ranked) - plan.replicas)]


@given(scenes())
@settings(max_examples=500, deadline=None)
def test_a_busy_or_unknown_pod_is_never_counted_on_before_its_time(found: Scene) -> None:
    plan = plan_of(found)
    # What a number of before has given up is not this one's doing.
    for row in deleted(found, plan) if plan.replicas < found.present else []:
        member = found.staff.members.get(row.name)
        late = found.since.get(row.uid, NOW) <= NOW - TEN_MINUTES
        absent = not row.ready and (member is None or member.silent)
        assert row.name in found.safe or late or absent, row


@given(scenes())
@settings(deadline=None)
def test_the_number_is_never_below_what_is_wanted_and_never_rises_on_the_way_down(found: Scene) -> None:
    plan = plan_of(found)
    assert plan.replicas >= found.wanted
    assert plan.replicas <= max(found.wanted, found.present)
    if found.wanted >= found.present:
        assert plan.replicas == found.wanted


@given(scenes())
@settings(deadline=None)
def test_only_those_are_marked_that_are_safe_or_overdue_and_everybody_else_is_un_marked(found: Scene) -> None:
    plan = plan_of(found)
    silent = {member.pod for member in found.staff.members.values() if member.silent}
    absent = {row.uid for row in found.pods if not row.ready and row.name not in found.staff.members.keys() - silent}
    allowed = {row.uid for row in found.pods if row.name in found.safe} | found.since.keys() | absent
    assert {row.uid for row in plan.marks} <= allowed
    assert not any(row.foreign_cost for row in plan.unmarks)
    kept = {row.uid for row in found.pods if row.marked} - {row.uid for row in plan.unmarks}
    assert len(kept | {row.uid for row in plan.marks}) <= max(0, len(found.pods) - found.wanted)


@given(scenes())
@settings(deadline=None)
def test_a_scale_down_always_ends(found: Scene) -> None:
    """Whatever the workers do not say: a step every five minutes, and every pod that is asked for is there in time."""
    now_s, since, pods, present = found.now_s, dict(found.since), list(found.pods), found.present
    for _ in range(30):
        current = replace(found, pods=tuple(pods), present=present, now_s=now_s, since=since)
        plan = plan_of(current)
        costs = dict.fromkeys(plan.marks, LOWEST_COST) | dict.fromkeys(plan.unmarks)
        gone = set(deleted(current, plan))
        pods = [replace(row, cost=costs.get(row, row.cost)) for row in pods if row not in gone]
        present, since, now_s = plan.replicas, dict(plan.since), now_s + 300
    assert present == found.wanted
    assert len(pods) <= max(found.wanted, len(found.pods))
    assert Counter(row.marked for row in pods)[True] == 0 or len(pods) > found.wanted
