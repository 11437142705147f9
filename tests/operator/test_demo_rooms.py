"""The rooms of `corral demo` one by one: its files, its load, its count and what it tells at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from corral import Job, JobOptions, State
from corral.errors import ConfigurationError
from corral_operator import demo_files
from corral_operator.demo_files import POOLS, find_files
from corral_operator.demo_load import MAILS, THUMBNAILS, is_doomed, nodes_share, reminder, rising
from corral_operator.demo_node import NodeMissing, add_from_node
from corral_operator.demo_peaks import Peaks
from corral_operator.demo_summary import Summary
from corral_operator.demo_tally import Ending, Tally, percentile
from corral_operator.deployment import Key
from corral_operator.pool_file import command_of, read_pools
from corral_operator.pool_state import PoolState
from corral_operator.replica import Replica, ReplicaState
from corral_operator.spec import read_spec
from corral_operator.table import Pool
from node import node_missing

if TYPE_CHECKING:
    from collections.abc import Sequence


# --- the files ---


def test_the_demo_runs_the_files_that_the_repository_shows() -> None:
    assert find_files() == Path(__file__).parents[2] / "manifests" / "examples" / "demo"


def test_an_installation_without_the_files_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo_files, "CHECKOUT", tmp_path)
    with pytest.raises(ConfigurationError, match=r"files were left out of this installation: no pools\.yaml in"):
        find_files()


def test_an_installed_wheel_runs_its_own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / POOLS).write_text("")
    monkeypatch.setattr(demo_files, "INSTALLED", tmp_path)
    assert find_files() == tmp_path


def test_there_is_a_pool_for_each_queue_and_its_worker_serves_it() -> None:
    pools = read_pools((find_files() / POOLS).read_text(), POOLS)
    assert [pool.key.name for pool in pools] == [MAILS, THUMBNAILS]
    for pool in pools:
        spec = read_spec(pool.key.name, pool.key.namespace, pool.spec)
        assert spec.queues == (pool.key.name,)
        assert (spec.min_replicas, spec.max_replicas) == (0, 3)
        assert spec.concurrency == {MAILS: 20, THUMBNAILS: 1}[pool.key.name]
        module, _, attribute = command_of(pool)[-1].partition(":")
        served = (
            f"import {module}; from corral.settings import Settings as s; print({module}.{attribute}.queue_names(s()))"
        )
        told = subprocess.run(
            [sys.executable, "-c", served], cwd=find_files(), capture_output=True, text=True, check=True
        )
        assert told.stdout == f"('{pool.key.name}',)\n"


# --- the load ---


def test_every_job_has_an_id_of_its_own() -> None:
    jobs = [job for part in rising() for specs in part.values() for job in specs]
    ids = Counter(job.opts.job_id for job in (*jobs, *nodes_share(), reminder(12)))
    assert None not in ids
    assert set(ids.values()) == {1}


def test_the_load_rises_in_both_queues_and_has_a_bit_of_everything() -> None:
    parts = rising()
    assert all(set(part) == {MAILS, THUMBNAILS} for part in parts)
    sizes = [len(part[MAILS]) for part in parts]
    assert sizes == sorted(sizes)
    last = parts[-1][MAILS]
    assert {job.name for job in last} == {"mail", "flaky", "broken", "newsletter"}
    assert [job.name for job in last if is_doomed(job.name)] == ["broken"] * 5
    assert any(job.opts.delay_ms for job in last)
    assert any(job.opts.priority for job in last)


# --- the count ---


def test_a_job_is_lost_unless_it_completed_or_failed_as_planned() -> None:
    tally = Tally.of(
        [
            Ending("fine", State.COMPLETED, attempts_made=3, recovered=1, wait_ms=7),
            Ending("doomed", State.FAILED, doomed=True, attempts_made=1, wait_ms=9),
            Ending("unlucky", State.FAILED, attempts_made=2, reason="no"),
            Ending("stuck", State.ACTIVE),
            Ending("gone", State.UNKNOWN),
        ]
    )
    assert (tally.jobs, tally.completed, tally.failed, tally.retries, tally.recovered) == (5, 1, 1, 3, 1)
    assert (tally.wait_p50, tally.wait_p95) == (7, 9)
    assert tally.lost == (
        "unlucky failed, which was not planned: no",
        "stuck is still active",
        "gone is gone: no list holds it",
    )


def test_the_wait_counts_from_when_a_job_was_due_and_only_for_a_single_start() -> None:
    job = Job("1", "mail", {}, JobOptions(delay_ms=500), "demo", 1000, attempts_started=1, processed_on=1620)
    assert Ending.of("1", State.COMPLETED, job, doomed=False).wait_ms == 120
    job.attempts_started = 2
    assert Ending.of("1", State.COMPLETED, job, doomed=False).wait_ms is None


def test_a_job_without_a_hash_is_lost_even_if_a_list_names_it() -> None:
    assert Ending.of("1", State.WAITING, None, doomed=False).lost == "1 is gone: no list holds it"


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 0.5) is None
    assert percentile([4], 0.95) == 4
    assert percentile(list(range(1, 101)), 0.5) == 50
    assert percentile(list(range(1, 101)), 0.95) == 95


# --- what it tells ---


class Told:
    """A view that keeps what it hears."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.shown: list[Sequence[tuple[PoolState, Sequence[Replica]]]] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)

    def show(self, rows: Sequence[tuple[PoolState, Sequence[Replica]]]) -> None:
        self.shown.append(rows)


def _replicas(*states: ReplicaState) -> list[Replica]:
    return [Replica(f"mails-{n}", [], {}, Path(), True, 1.0, state) for n, state in enumerate(states)]


def test_the_peak_is_the_most_replicas_that_were_ready_at_once() -> None:
    view = Told()
    peaks = Peaks(view)
    state = PoolState.begin(Pool(Key("local", "mails"), "", 1, 1, {}, {}), 0.0)
    ready, starting, ending = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.ENDING
    for replicas in (_replicas(ready, starting), _replicas(ready, ready, ending), _replicas(ready), []):
        peaks.show([(state, replicas)])
    peaks.tell("killed mails-1")
    assert peaks.most == {"mails": 2}
    assert view.texts == ["killed mails-1"]
    assert len(view.shown) == 4


def _summary(*troubles: str) -> Summary:
    mails = Tally.of([Ending("a", State.COMPLETED, wait_ms=1234), Ending("b", State.COMPLETED, wait_ms=7)])
    return Summary(
        total=mails,
        pools={"mails": mails, "thumbnails": Tally.of([])},
        most={"mails": 3},
        woken_ms=None,
        node_note="from Node",
        killed_note="mails-2 held 1 when it was killed",
        woken_note="no pool was woken",
        troubles=troubles,
    )


def test_the_summary_says_what_became_of_the_jobs_and_of_each_pool() -> None:
    assert _summary().lines(61.25) == [
        "jobs               2  from Node",
        "completed          2",
        "failed             0  as planned",
        "retries            0  after failed attempts, with exponential backoff",
        "recovered          0  mails-2 held 1 when it was killed",
        "lost               0",
        "woken        unknown  no pool was woken",
        "took          61.2 s",
        "",
        "pool          jobs      wait p50      wait p95  replicas, most",
        "mails            2          7 ms      1,234 ms               3",
        "thumbnails       0       unknown       unknown               0",
    ]


def test_the_summary_names_ten_troubles_and_counts_the_others() -> None:
    told = _summary(*(f"job {n}" for n in range(12))).lines(1.0)
    assert told[-12:] == ["", *(f"job {n}" for n in range(10)), "and 2 more"]


async def test_node_that_does_not_find_bullmq_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NODE_PATH", raising=False)
    reason = "node is not on PATH" if node_missing() == "node is not on PATH" else f"no bullmq in {tmp_path}"
    with pytest.raises(NodeMissing, match=re.escape(reason)):
        await add_from_node([], "mails", "redis://127.0.0.1:1", [tmp_path])
