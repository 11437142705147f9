"""take: who is next, what a taken job carries, and what holds a take back."""

from __future__ import annotations

import pytest

from jobs import BASE, LOCK_MS, NOW, Px, Stage, ids_of, job


def waiting(*ids: str, **fields: str | int) -> dict:
    return {"wait": list(ids), **{id: job(**fields) for id in ids}}


def class_score(priority: int, place: int) -> int:
    return priority * 2**32 + place


async def test_a_taken_job_is_locked_and_marked_and_the_next_worker_woken(stage: Stage) -> None:
    await stage.lay(waiting("2", "1", data='{"a":1}'))
    settled = await stage.take(1, token="w:7", worker="w1")
    assert settled.codes == settled.unreadable == []
    assert (settled.limited_ms, settled.next_due_ms) == (0, 0)
    # The hash as it was before the take.
    assert settled.jobs == [("1", {name.encode(): text.encode() for name, text in job(data='{"a":1}').items()})]
    assert await stage.changed() == {
        "1": {"processedOn": str(NOW), "pb": "w1", "ats": "1"},
        "1:lock": Px("w:7"),
        "active": ["1"],
        "wait": ["2"],
        "marker": {"0": 0},
        "events": ["active jobId=1 prev=waiting"],
    }
    assert LOCK_MS - 60_000 < await stage.left_ms("1:lock") <= LOCK_MS


async def test_a_nameless_worker_writes_no_pb_and_ats_counts_on(stage: Stage) -> None:
    await stage.lay(waiting("1", ats=2, processedOn=5, pb="w0"))
    await stage.take()
    assert (await stage.changed())["1"] == {"processedOn": str(NOW), "ats": "3"}


async def test_waiting_jobs_go_from_the_tail_then_priorities_in_order(stage: Stage) -> None:
    ranks = {"p9": class_score(9, 1), "p2-late": class_score(2, 9), "p2-soon": class_score(2, 4)}
    await stage.lay(
        waiting("newest", "older", "lifo"),
        {"prioritized": ranks, "pc": "9", "active": ["busy"]},
        {id: job(priority=2) for id in ranks},
    )
    first = await stage.take(4)
    assert ids_of(first) == ["lifo", "older", "newest", "p2-soon"]
    changed = await stage.changed()
    assert changed["active"] == ["p2-soon", "newest", "older", "lifo", "busy"]
    assert changed["wait"] is None
    assert "pc" not in changed
    assert ids_of(await stage.take(4)) == ["p2-late", "p9"]


async def test_a_prioritized_job_is_taken_like_any_other(stage: Stage) -> None:
    await stage.lay({"prioritized": {"1": class_score(3, 1)}, "pc": "1", "1": job(priority=3)})
    assert ids_of(await stage.take(1)) == ["1"]
    assert await stage.changed() == {
        "1": {"processedOn": str(NOW), "ats": "1"},
        "1:lock": Px("t:1"),
        "active": ["1"],
        "prioritized": None,
        "marker": {"0": 0},
        "events": ["active jobId=1 prev=waiting"],
    }


async def test_a_take_that_finds_no_priority_resets_their_counter(stage: Stage) -> None:
    await stage.lay({"pc": "12", "id": "3"})
    settled = await stage.take()
    assert (settled.jobs, settled.limited_ms, settled.next_due_ms) == ([], 0, 0)
    assert await stage.changed() == {"pc": None}


async def test_due_jobs_are_promoted_in_the_order_they_were_due(stage: Stage) -> None:
    delayed = {"first": (NOW - 5) * 4096, "ranked": (NOW - 4) * 4096, "last": NOW * 4096 + 4095, "no": (NOW + 1) * 4096}
    await stage.lay(
        waiting("old"),
        {"delayed": delayed, "ranked": job(delay=50, priority=2)},
        {id: job(delay=50) for id in ("first", "last", "no")},
    )
    settled = await stage.take(1)
    assert ids_of(settled) == ["old"]
    assert await stage.changed() == {
        "old": {"processedOn": str(NOW), "ats": "1"},
        "old:lock": Px("t:1"),
        "active": ["old"],
        "delayed": {"no": (NOW + 1) * 4096},
        "wait": ["last", "first"],
        "prioritized": {"ranked": class_score(2, 1)},
        "pc": "1",
        **{id: {"delay": "0"} for id in ("first", "ranked", "last")},
        "marker": {"0": 0},
        "events": [
            *(f"waiting jobId={id} prev=delayed" for id in ("first", "ranked", "last")),
            "active jobId=old prev=waiting",
        ],
    }


@pytest.mark.parametrize(
    ("meta", "lists"),
    [({"version": "bullmq:6.7.0"}, "wait"), ({"version": "bullmq:5.81.5"}, "paused")],
    ids=["v6", "v5"],
)
async def test_a_paused_queue_promotes_and_gives_nothing(stage: Stage, meta: dict, lists: str) -> None:
    await stage.lay(
        {"meta": {**meta, "paused": "1"}, "delayed": {"1": NOW * 4096, "2": NOW * 4096 + 1}},
        {"1": job(delay=9), "2": job(delay=9, priority=1)},
    )
    settled = await stage.take()
    assert (settled.jobs, settled.limited_ms, settled.next_due_ms) == ([], 0, 0)
    assert await stage.changed() == {
        "1": {"delay": "0"},
        "2": {"delay": "0"},
        "delayed": None,
        lists: ["1"],
        "prioritized": {"2": class_score(1, 1)},
        "pc": "1",
        "events": ["waiting jobId=1 prev=delayed", "waiting jobId=2 prev=delayed"],
    }


async def test_a_paused_queue_keeps_its_jobs(stage: Stage) -> None:
    await stage.lay(waiting("1"), {"meta": {"paused": "1"}, "delayed": {"2": (NOW + 9) * 4096}})
    settled = await stage.take()
    assert (settled.jobs, settled.next_due_ms) == ([], 0)
    assert await stage.changed() == {}


async def test_one_call_promotes_a_thousand_jobs_at_most(stage: Stage) -> None:
    await stage.lay({"delayed": {f"j{n}": (NOW - 2000 + n) * 4096 for n in range(1001)}, "meta": {"paused": "1"}})
    await stage.take()
    changed = await stage.changed()
    assert changed["delayed"] == {"j1000": (NOW - 1000) * 4096}
    assert changed["wait"] == [f"j{n}" for n in reversed(range(1000))]
    await stage.take()
    assert (await stage.changed())["wait"][0] == "j1000"


async def test_a_promoted_id_without_a_job_gets_no_hash(stage: Stage) -> None:
    await stage.lay({"delayed": {"gone": NOW * 4096}})
    assert (await stage.take()).unreadable == ["gone"]
    assert (await stage.changed()).keys() == {"delayed", "marker", "events"}


async def test_an_id_without_a_job_is_dropped_and_told(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"))
    await stage.lay({"prioritized": {"lost": class_score(1, 1)}})
    await stage.client.rpush(f"{BASE}wait", "gone")
    await stage.lay({})
    settled = await stage.take()
    assert ids_of(settled) == ["1", "2"]
    assert settled.unreadable == ["gone", "lost"]
    changed = await stage.changed()
    assert changed["active"] == ["2", "1"]
    assert changed.keys() == {"1", "1:lock", "2", "2:lock", "active", "wait", "prioritized", "marker", "events"}
    assert not [event for event in changed["events"] if "gone" in event or "lost" in event]


async def test_a_value_that_is_no_hash_stops_nobody_else(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"), {"odd": "text", "list": ["x"]})
    await stage.client.rpush(f"{BASE}wait", "odd")
    await stage.client.zadd(f"{BASE}delayed", {"list": NOW * 4096})
    await stage.lay({})
    settled = await stage.take()
    assert ids_of(settled) == ["1", "2"]
    assert sorted(settled.unreadable) == ["list", "odd"]
    changed = await stage.changed()
    assert changed.keys() == {"1", "1:lock", "2", "2:lock", "active", "wait", "delayed", "marker", "events"}


async def test_an_id_without_a_job_costs_no_other_job_its_turn(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"), {"prioritized": {"3": class_score(1, 1)}, "3": job(priority=1)})
    await stage.client.rpush(f"{BASE}wait", "gone", "lost")
    settled = await stage.take(2)
    assert ids_of(settled) == ["1", "2"]
    assert sorted(settled.unreadable) == ["gone", "lost"]


async def test_a_marker_of_versions_before_5_is_dropped(stage: Stage) -> None:
    await stage.lay(waiting("1"))
    await stage.client.rpush(f"{BASE}wait", "0:123")
    await stage.lay({})
    settled = await stage.take()
    assert (ids_of(settled), settled.unreadable) == (["1"], [])
    changed = await stage.changed()
    assert (changed["active"], changed["wait"]) == (["1"], None)


async def test_a_marker_of_versions_before_5_costs_no_job_its_turn(stage: Stage) -> None:
    await stage.lay(waiting("1"))
    await stage.client.rpush(f"{BASE}wait", "0:123")
    assert ids_of(await stage.take(1)) == ["1"]


async def test_the_global_concurrency_leaves_only_its_rest(stage: Stage) -> None:
    await stage.lay(waiting("3", "2", "1"), {"meta": {"concurrency": "3"}, "active": ["a"]})
    settled = await stage.take()
    assert ids_of(settled) == ["1", "2"]
    assert (await stage.changed())["wait"] == ["3"]
    settled = await stage.take()
    assert (settled.jobs, settled.limited_ms, settled.next_due_ms) == ([], 0, 0)
    assert await stage.changed() == {}


async def test_at_the_global_concurrency_a_promotion_wakes_nobody(stage: Stage) -> None:
    await stage.lay({"meta": {"concurrency": "1"}, "active": ["a"], "delayed": {"1": NOW * 4096}, "1": job(delay=1)})
    await stage.take()
    assert await stage.changed() == {
        "1": {"delay": "0"},
        "delayed": None,
        "wait": ["1"],
        "events": ["waiting jobId=1 prev=delayed"],
    }


async def test_next_due_comes_when_fewer_came_than_wanted(stage: Stage) -> None:
    await stage.lay(waiting("2", "1"), {"delayed": {"a": (NOW + 70) * 4096, "b": (NOW + 90) * 4096}})
    assert (await stage.take(1)).next_due_ms == 0
    assert (await stage.take(2)).next_due_ms == NOW + 70


async def test_next_due_is_the_whole_ms_of_any_place_in_it(stage: Stage) -> None:
    await stage.lay({"delayed": {"second": (NOW + 70) * 4096 + 1}})
    assert (await stage.take()).next_due_ms == NOW + 70


async def test_ten_thousand_jobs_fit_into_one_take(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(10_000)]
    await stage.lay({"wait": ids})
    pipeline = stage.client.pipeline(transaction=False)
    for id in ids:
        pipeline.hset(BASE + id, mapping=job())
    await pipeline.execute()
    assert ids_of(await stage.take(10_000)) == ids[::-1]
    assert await stage.client.lrange(f"{BASE}active", 0, -1) == [id.encode() for id in ids]
