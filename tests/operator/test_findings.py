"""What goes wrong with jobs and pods: which jobs are poison and which never are, and what is told of each finding."""

from __future__ import annotations

from typing import Any

import pytest

from corral_operator.blame import REMEMBERED, Cases, JobKey, poisonous, with_jobs
from corral_operator.deaths import Death, PodSeen, pods_seen
from corral_operator.findings import (
    CONTAINER_DIED,
    KINDS,
    OUT_OF_MEMORY,
    POISON,
    STALLED_TWICE,
    STUCK,
    Finding,
    Findings,
    orphans,
    poison,
    silent,
    waiting,
)
from corral_operator.inspection import JobSeen, ParentSeen, Place

BEGAN = 1_767_268_800_000
DIED = BEGAN + 60_000
TAKEN = BEGAN + 50_000
NOW = DIED + 30_000

OOM = Death("mail-1", BEGAN, DIED, "OOMKilled", 137, "256Mi")
CRASH = Death("mail-1", BEGAN, DIED, "Error", 1)
PODS = {"mail-1": PodSeen(DIED + 1000, (OOM,))}


def seen(job_id: str = "7", place: Place = Place.READY, **fields: Any) -> JobSeen:
    return JobSeen("emails", job_id, place, **{"worker": "mail-1", "taken_ms": TAKEN, **fields})


def found(*jobs: JobSeen, pods: dict[str, PodSeen] | None = None, before: Cases | None = None) -> list[Finding]:
    cases = with_jobs(before or Cases(), jobs, PODS if pods is None else pods)
    return poison(jobs, cases, NOW)


# --- poison ---


def test_a_job_that_was_lost_with_a_container_that_died_for_want_of_memory_is_told_with_pod_limit_and_cure() -> None:
    (row,) = found(seen(stalls=1))
    assert row.kind == OUT_OF_MEMORY
    for part in ("job 7 of emails", "pod mail-1", "OOMKilled", "256Mi", "Raise the memory limit"):
        assert part in row.text


def test_a_container_without_a_limit_is_told_without_one() -> None:
    (row,) = found(seen(stalls=1), pods={"mail-1": PodSeen(None, (OOM._replace(memory=None),))})
    assert "(OOMKilled)" in row.text


def test_a_container_that_died_of_something_else_is_told_with_its_exit_code() -> None:
    (row,) = found(seen(stalls=1), pods={"mail-1": PodSeen(None, (CRASH,))})
    assert row.kind == CONTAINER_DIED
    assert "exit code 1" in row.text
    assert "kubectl logs mail-1 --previous" in row.text


def test_a_job_that_lost_its_worker_twice_is_poison_whatever_the_pods_say() -> None:
    (row,) = found(seen(stalls=2), pods={})
    assert row.kind == STALLED_TWICE
    assert "2 times" in row.text


def test_a_job_that_lost_its_worker_once_is_no_poison_as_long_as_no_container_died() -> None:
    assert found(seen(stalls=1), pods={}) == []
    assert found(seen(stalls=1), pods={"mail-1": PodSeen(BEGAN)}) == []


def test_a_job_that_was_given_up_lately_is_told_and_one_of_long_ago_is_not() -> None:
    given_up = seen(place=Place.FAILED, stalls=2, given_up=True, ended_ms=NOW - 60_000)
    (row,) = found(given_up, pods={})
    assert row.kind == STALLED_TWICE
    assert "1 of them failed for it" in row.text
    assert found(given_up._replace(ended_ms=NOW - 3_700_000), pods={}) == []


def test_a_job_that_failed_by_its_own_error_is_no_poison() -> None:
    assert found(seen(place=Place.FAILED, stalls=2, ended_ms=NOW)) == []


def test_a_handed_back_job_is_never_poison() -> None:
    """Its container may die all the same, later and with others: what waits again lost no worker."""
    assert found(seen(stalls=0)) == []


def test_a_job_handed_back_after_an_earlier_stall_is_not_blamed_for_a_death_that_it_did_not_see() -> None:
    was = with_jobs(Cases(), [seen(place=Place.ACTIVE, stalls=1)], {"mail-1": PodSeen(BEGAN)})
    assert found(seen(stalls=1), before=was) == []


@pytest.mark.parametrize("place", [Place.READY, Place.KNOWN])
def test_a_rate_limited_or_delayed_job_is_never_poison_however_often_it_was_started(place: Place) -> None:
    """`ats` is not even read: rate limits and delays raise it, and nothing of what is read."""
    assert "starts" not in JobSeen._fields
    assert found(seen(place=place, stalls=0)) == []


def test_an_active_job_whose_container_died_is_suspected_and_told_when_it_is_found_to_have_lost_it() -> None:
    held = seen(place=Place.ACTIVE, alone=True)
    cases = with_jobs(Cases(), [held], PODS)
    assert not poisonous(held, cases, NOW)
    again = seen(place=Place.ACTIVE, stalls=1, worker="mail-2", taken_ms=NOW)
    (row,) = found(again, pods={}, before=cases)
    assert row.kind == OUT_OF_MEMORY
    assert "mail-1" in row.text


def test_a_job_that_another_pod_has_taken_anew_is_still_told_of_the_pod_that_died() -> None:
    was = with_jobs(Cases(), [seen(place=Place.ACTIVE)], None)
    (row,) = found(seen(place=Place.ACTIVE, stalls=1, worker="mail-2", taken_ms=NOW), before=was)
    assert "pod mail-1" in row.text


def test_a_job_that_was_handed_back_before_the_container_died_is_not_blamed_when_another_pod_has_it() -> None:
    was = with_jobs(Cases(), [seen(place=Place.ACTIVE)], None)
    assert found(seen(place=Place.ACTIVE, worker="mail-2", taken_ms=NOW), before=was) == []


@pytest.mark.parametrize(
    ("taken_ms", "struck"),
    [(BEGAN - 1, False), (BEGAN, True), (DIED, True), (DIED + 999, True), (DIED + 1000, False)],
)
def test_only_what_was_taken_while_the_container_lived_went_down_with_it(taken_ms: int, struck: bool) -> None:
    assert OOM.struck(taken_ms) is struck
    assert bool(found(seen(stalls=1, taken_ms=taken_ms))) is struck


def test_a_suspect_that_completed_or_is_gone_is_forgotten() -> None:
    cases = with_jobs(Cases(), [seen(stalls=1)], PODS)
    assert cases.of("emails") == ("7",)
    assert cases.of("bulk") == ()
    done = seen(place=Place.KNOWN, stalls=1, ended_ms=NOW)
    assert with_jobs(cases, [done], None).deaths == {}
    assert with_jobs(cases, [], None).deaths == {}
    assert poison([done], cases, NOW) == []


def test_jobs_that_went_down_together_are_told_together_and_that_nobody_knows_which_did_it() -> None:
    (row,) = found(*(seen(str(number), stalls=1) for number in range(7)))
    assert row.number == 7
    assert "job 4 of emails and 2 more" in row.text
    assert "Which of them did it is not to be seen" in row.text


def test_what_is_remembered_of_jobs_is_bounded() -> None:
    jobs = [seen(str(number), place=Place.ACTIVE, stalls=1) for number in range(3 * REMEMBERED)]
    cases = with_jobs(Cases(), jobs, PODS)
    assert len(cases.holds) == len(cases.stalls) == len(cases.deaths) == REMEMBERED
    assert JobKey("emails", str(3 * REMEMBERED - 1)) in cases.deaths


# --- what the pods say ---


def pod(name: str = "mail-1", **status: Any) -> dict[str, Any]:
    worker = {"name": "worker", "resources": {"limits": {"memory": "256Mi"}}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "sidecar"}, worker]},
        "status": {"containerStatuses": [{"name": "sidecar"}, {"name": "worker", **status}]},
    }


TERMINATED = {
    "exitCode": 137,
    "reason": "OOMKilled",
    "startedAt": "2026-01-01T12:00:00Z",
    "finishedAt": "2026-01-01T12:01:00Z",
}


def test_a_containers_death_is_read_from_its_last_state_and_from_its_present_one() -> None:
    running = {"running": {"startedAt": "2026-01-01T12:01:01Z"}}
    rows = pods_seen([pod(state=running, lastState={"terminated": TERMINATED})])
    assert rows == {"mail-1": PodSeen(DIED + 1000, (OOM,))}
    assert pods_seen([pod(state={"terminated": TERMINATED})]) == {"mail-1": PodSeen(None, (OOM,))}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"lastState": {}},
        {"lastState": {"terminated": {**TERMINATED, "exitCode": 0}}},
        {"lastState": {"terminated": {**TERMINATED, "startedAt": None}}},
    ],
)
def test_a_clean_end_and_half_a_record_are_no_death(status: dict[str, Any]) -> None:
    assert pods_seen([pod(**status)]) == {"mail-1": PodSeen(None)}


def test_the_death_of_a_sidecar_is_not_the_workers() -> None:
    row = pod()
    row["status"]["containerStatuses"][0]["lastState"] = {"terminated": TERMINATED}
    assert pods_seen([row]) == {"mail-1": PodSeen(None)}


def test_a_pod_that_ends_is_not_looked_at() -> None:
    row = pod()
    row["metadata"]["deletionTimestamp"] = "2026-01-01T12:01:00Z"
    assert pods_seen([row, {"metadata": {"uid": "x"}}]) == {}


# --- what does not go on ---


def test_orphans_are_told_with_their_ids_and_what_happens_next() -> None:
    jobs = [seen("7", place=Place.ACTIVE, alone=True), seen("8", place=Place.ACTIVE)]
    (row,) = orphans(jobs, beats=True, ready=2)
    assert row.text.startswith("job 7 of emails is active, but the worker is gone; the other workers put them back")
    assert "within 15 s" in row.text
    (row,) = orphans(jobs, beats=False, ready=0)
    assert "no pod is ready; the first that is puts them back within 60 s" in row.text
    assert orphans([seen(place=Place.ACTIVE)], beats=True, ready=1) == []


def test_silent_workers_are_told_by_their_pods_and_that_nobody_kills_them() -> None:
    (row,) = silent(["mail-2", "mail-1"])
    assert row.number == 2
    assert "mail-1, mail-2" in row.text
    assert "left to the liveness probe" in row.text
    assert silent([]) == []


@pytest.mark.parametrize(
    ("fate", "cure"),
    [
        ("gone", "bull:mail:5, which is no more: add a job with that id"),
        ("failed", "bull:mail:5, which has failed: retry it"),
        ("completed", "bull:mail:5, which has completed all the same: let the parent go on"),
    ],
)
def test_a_parent_that_waits_for_ever_is_told_with_the_child_and_the_cure(fate: str, cure: str) -> None:
    (row,) = waiting([ParentSeen("orders", "P", "bull:mail:5", fate)])
    assert f"job P of orders waits for {cure}" in row.text


def test_a_parent_without_any_open_child_is_told_as_such() -> None:
    (row,) = waiting([ParentSeen("orders", "P", None)])
    assert "job P of orders has no open child" in row.text
    assert waiting([]) == []


def test_ids_that_somebody_chose_are_cut_and_hold_no_line_break() -> None:
    (row,) = found(seen("x\n" * 100, stalls=2), pods={})
    assert "\n" not in row.text
    assert "…" in row.text


def test_every_kind_stands_in_the_table_of_the_module_and_belongs_to_a_condition() -> None:
    import corral_operator.findings as module

    table = module.__doc__ or ""
    assert [kind for kind in KINDS if f"    {kind} " not in table] == []
    assert sorted(KINDS) == sorted({*POISON, *STUCK})


def test_findings_are_chosen_by_kind_in_the_order_of_the_kinds() -> None:
    rows = Findings((Finding(STALLED_TWICE, "b"), Finding(OUT_OF_MEMORY, "a"), Finding("OrphanedJobs", "c")))
    assert [row.text for row in rows.of(POISON)] == ["a", "b"]
    assert [row.text for row in rows.of(STUCK)] == ["c"]
