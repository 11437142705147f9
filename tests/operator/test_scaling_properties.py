"""What holds for every pool, every load and every past: drawn at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corral_operator.decision import Decision, Reason
from corral_operator.formulas import erlang_c, flow_slots, late_share
from corral_operator.learning import Learned, Source
from corral_operator.observed import Observed, Pods, QueueReading, Rivals, Unknown
from corral_operator.scaling import PoolMemory, decide
from corral_operator.schedules import agenda_of, bounds_of
from corral_operator.spec import (
    Behavior,
    Busy,
    DrainTarget,
    Fallback,
    FallbackPolicy,
    LengthTarget,
    Pace,
    PoolSpec,
    Schedule,
    WaitTarget,
)
from corral_operator.wishes import Highest, Lowest

NAMES = ("a", "b")

# A story has many numbers to draw; a hundred of each would take long and find no more.
LESS = settings(max_examples=50, deadline=None)
WALL_MS = 1_700_000_000_000

few = st.integers(0, 60)
spans = st.floats(0.01, 2000)
paces = st.builds(Pace, st.none() | st.integers(1, 5), st.none() | st.floats(0, 300))
targets = (
    st.builds(WaitTarget, st.floats(0.5, 600), st.floats(50, 99.9))
    | st.builds(DrainTarget, st.floats(0.5, 600))
    | st.builds(LengthTarget, st.floats(0.5, 50))
)
lessons = st.builds(
    Learned, st.floats(0, 50), spans, spans, st.floats(0, 1000), st.integers(0, 100), st.sampled_from(Source)
)


@st.composite
def policies(draw: Any, **fixed: Any) -> PoolSpec:
    most = draw(st.integers(1, 50))
    values = {
        "max_replicas": most,
        "min_replicas": draw(st.integers(0, most)),
        "concurrency": draw(st.integers(1, 20)),
        "target": draw(targets),
        "behavior": Behavior(draw(paces), draw(paces), draw(st.floats(0, 50))),
        "idle_after_s": draw(st.none() | st.floats(0, 600)),
        **fixed,
    }
    return PoolSpec(name="p", namespace="n", redis_secret="r", queues=NAMES, template={}, **values)


@st.composite
def readings(draw: Any, name: str) -> QueueReading:
    due, soon, later = draw(few), draw(few), draw(few)
    in_s = 0.0 if due else draw(st.floats(0, 10)) if soon else draw(st.floats(15, 5000))
    delayed = due + soon + later
    return QueueReading(
        name,
        waiting=draw(few),
        prioritized=draw(few),
        due=due,
        soon_due=soon,
        delayed=delayed,
        next_due_ms=WALL_MS + round(in_s * 1000) if delayed else None,
        active=draw(few),
        paused=draw(st.booleans()),
        concurrency_limit=draw(st.none() | st.integers(1, 20)),
        rate_max=draw(st.none() | st.integers(1, 100)),
        rate_duration_ms=draw(st.integers(1, 60_000)),
        exists=draw(st.booleans()),
        seen_before=draw(st.booleans()),
        id_counter=1000,
    )


@st.composite
def pods(draw: Any) -> Pods:
    return Pods(
        present=draw(few),
        ready=draw(few),
        starting_ages_s=tuple(draw(st.lists(st.floats(0, 60), max_size=5))),
        terminating=draw(few),
        unschedulable=draw(st.integers(0, 3)),
        quota_text=draw(st.none() | st.just("exceeded quota")),
        rollout=draw(st.booleans()),
    )


@st.composite
def schedules(draw: Any, most: int) -> Schedule:
    """One that may hold at WALL_MS, a Tuesday, 22:13:20 UTC."""
    floor, ceiling = draw(st.integers(0, most)), draw(st.integers(1, most))
    hour, lasts_s = draw(st.integers(0, 23)), draw(st.floats(60, 90_000))
    return Schedule("s", f"0 {hour} * * *", "UTC", lasts_s, min(floor, ceiling), ceiling)


guards = st.sampled_from(Busy)
rivals = st.builds(Rivals, st.dictionaries(st.sampled_from(NAMES), st.floats(0.01, 0.99)))

both_readings = st.tuples(readings("a"), readings("b"))
both_lessons = st.fixed_dictionaries(dict.fromkeys(NAMES, lessons))
looks = st.tuples(both_readings, both_lessons, pods(), st.floats(0.1, 200))


def play(policy: PoolSpec, story: list[Any]) -> tuple[list[Decision], PoolMemory | None]:
    """Looks one after the other, whatever became of the decisions."""
    now_s, memory, decisions = 0.0, None, []
    for rows, learned, seen, passed_s in story:
        now_s += passed_s
        decision, memory = decide(policy, Observed(now_s, WALL_MS, rows, seen), learned, memory)
        decisions.append(decision)
    return decisions, memory


@LESS
@given(policies(), st.lists(looks, min_size=1, max_size=5))
def test_every_decision_lies_within_the_bounds_and_says_its_number(policy: PoolSpec, story: list[Any]) -> None:
    for decision in play(policy, story)[0]:
        assert policy.min_replicas <= decision.replicas <= policy.max_replicas
        assert decision.text.split(" ")[0] == f"{decision.replicas:,}"
        told = {name: number for name, number in decision.candidates.items() if name not in ("busy", "present")}
        assert max(told.values()) <= policy.max_replicas


@LESS
@given(st.data(), policies(), st.lists(looks, min_size=1, max_size=4), guards, rivals)
def test_schedules_guards_and_rivals_leave_every_decision_within_the_bounds(
    data: Any, policy: PoolSpec, story: list[Any], guard: Busy, shares: Rivals
) -> None:
    policy = replace(policy, schedules=tuple(data.draw(st.lists(schedules(policy.max_replicas), max_size=3))))
    agenda = agenda_of(policy.schedules, WALL_MS)
    bounds = bounds_of(policy, agenda)
    now_s, memory = 0.0, None
    for rows, learned, seen, passed_s in story:
        now_s += passed_s
        observed = Observed(now_s, WALL_MS, rows, seen, guard=guard, rivals=shares)
        decision, memory = decide(policy, observed, learned, memory)
        assert bounds.least <= decision.replicas <= bounds.most
        assert decision.text.split(" ")[0] == f"{decision.replicas:,}"
        active = any(row.active for row in rows) and not all(row.never_created for row in rows)
        assert decision.replicas >= 1 or not active


@LESS
@given(policies(), st.lists(looks, min_size=1, max_size=4), st.sampled_from(FallbackPolicy), st.integers(1, 60))
def test_an_error_is_never_a_reason_for_zero(
    policy: PoolSpec, story: list[Any], fallback: FallbackPolicy, replicas: int
) -> None:
    kept = None if fallback is FallbackPolicy.HOLD else min(replicas, policy.max_replicas)
    policy = replace(policy, fallback=Fallback(10.0, fallback, kept))
    now_s, memory = 0.0, None
    for _, learned, seen, passed_s in story:
        now_s += passed_s
        lost = tuple(Unknown(name, "Unreachable", "gone") for name in NAMES)
        decision, memory = decide(policy, Observed(now_s, WALL_MS, lost, seen), learned, memory)
        assert decision.replicas >= min(1, seen.present)


@LESS
@given(policies(), st.lists(looks, max_size=4), looks)
def test_it_is_never_zero_while_jobs_are_active_ready_or_due_soon(
    policy: PoolSpec, story: list[Any], last: Any
) -> None:
    rows, _, _, _ = last
    assume(not any(row.never_created for row in rows))
    open_rows = [row for row in rows if not row.paused]
    assume(any(row.active for row in rows) or any(row.ready or row.soon_due for row in open_rows))
    assert play(policy, [*story, last])[0][-1].replicas >= 1


@LESS
@given(policies(), st.lists(looks, max_size=4), looks, st.integers(0, 2))
def test_an_unknown_queue_never_moves_it(policy: PoolSpec, story: list[Any], last: Any, which: int) -> None:
    rows, learned, seen, passed_s = last
    lost = tuple(
        Unknown(row.name, "Unreachable", "gone") if which in (2, index) else row for index, row in enumerate(rows)
    )
    before = play(policy, story)[1]
    decision, after = play(policy, [*story, (lost, learned, seen, passed_s)])
    assert (decision[-1].replicas, decision[-1].reason) == (seen.present, Reason.UNKNOWN)
    assert after is not None
    assert before is None or after.wishes == before.wishes


@LESS
@given(policies(), looks, st.sampled_from(NAMES), st.integers(1, 200))
def test_more_ready_jobs_never_mean_fewer_replicas(policy: PoolSpec, look: Any, name: str, more: int) -> None:
    rows, learned, seen, passed_s = look
    longer = tuple(replace(row, waiting=row.waiting + more) if row.name == name else row for row in rows)
    # Where jobs of one length wait, W/B stays what it was; a mean of two lengths may fall when short ones come.
    learned = {row.name: replace(learned["a"], arrival_rate=learned[row.name].arrival_rate) for row in rows}
    less = play(policy, [(rows, learned, seen, passed_s)])[0][0]
    assert play(policy, [(longer, learned, seen, passed_s)])[0][0].replicas >= less.replicas


@LESS
@given(policies(), looks)
def test_a_restart_never_scales_down(policy: PoolSpec, look: Any) -> None:
    policy = replace(policy, behavior=Behavior(), idle_after_s=60.0)
    rows, learned, seen, _ = look
    decision, _ = decide(policy, Observed(5.0, WALL_MS, rows, seen), learned, None)
    assert decision.replicas >= min(seen.present, policy.max_replicas)


@LESS
@given(policies(), st.lists(looks, max_size=3), looks)
def test_the_same_past_gives_the_same_decision(policy: PoolSpec, story: list[Any], last: Any) -> None:
    assert play(policy, [*story, last]) == play(policy, [*story, last])


@given(st.lists(st.integers(0, 8), min_size=1, max_size=100))
def test_what_is_remembered_of_wishes_stays_small(numbers: list[int]) -> None:
    now_s, highest, lowest = 0.0, Highest.begin(3, 0.0), Lowest.begin(3, 0.0)
    for number in numbers:
        now_s += 2
        highest, lowest = highest.then(number, now_s, 1e9), lowest.then(number, now_s, 1e9)
    assert len(highest.wishes) <= 9
    assert len(lowest.wishes) <= 9


@given(st.floats(0.01, 80), st.floats(0.1, 300), st.floats(0.1, 300), st.floats(50, 99.9))
def test_flow_slots_are_the_fewest_that_keep_the_target(
    offered: float, target_s: float, remaining_s: float, percentile: float
) -> None:
    slots = flow_slots(offered, target_s, remaining_s, percentile, 10_000)
    allowed = 1 - percentile / 100
    assert slots > offered
    assert late_share(slots, offered, target_s, remaining_s) <= allowed + 1e-9
    assert slots - 1 <= offered or late_share(slots - 1, offered, target_s, remaining_s) > allowed - 1e-9


def test_erlang_c_is_that_of_the_textbook() -> None:
    assert abs(erlang_c(2, 1.0) - 1 / 3) < 1e-12
    assert abs(erlang_c(1, 0.3) - 0.3) < 1e-12
    assert abs(erlang_c(10, 8.0) - 0.409) < 0.001
    assert erlang_c(3, 3.0) == 1.0


wishes = st.lists(st.tuples(st.floats(0.1, 50), st.integers(0, 20)), min_size=1, max_size=40)


@given(wishes, st.floats(0, 200))
def test_the_highest_and_lowest_wish_are_those_in_force_within_the_window(
    rows: list[tuple[float, int]], window_s: float
) -> None:
    now_s, highest, lowest = 0.0, Highest.begin(7, 0.0), Lowest.begin(7, 0.0)
    begun = [(0.0, 7)]
    for passed_s, number in rows:
        now_s += passed_s
        highest, lowest = highest.then(number, now_s, window_s), lowest.then(number, now_s, window_s)
        begun.append((now_s, number))
    ends = [*(at_s for at_s, _ in begun[1:]), now_s + 1]
    in_force = [number for (_, number), end_s in zip(begun, ends, strict=True) if end_s > now_s - window_s]
    # A wish that was asked about with a window keeps no more than that window needs.
    assert highest.number == max(in_force if window_s else in_force[-1:])
    assert lowest.number == min(in_force if window_s else in_force[-1:])
