"""The per-minute metrics that settling writes, as dashboards read them."""

from __future__ import annotations

from corral import Keep
from corral.lifecycle import Complete, Fail, Retry
from jobs import NOW, Stage, active

DONE = Complete("null", Keep())
FAILED = Fail("no", (), Keep(), True)
MINUTE = 60_000
START = NOW - NOW % MINUTE


async def settle(stage: Stage, *steps: object, now: int, points: int = 10) -> None:
    """End as many jobs as there are steps, and look at what that changed later."""
    ids = [f"j{place}" for place in range(len(steps))]
    await stage.lay(active(*ids))
    settled = await stage.settle(*zip(ids, steps, strict=True), now=now, points=points)  # type: ignore[arg-type]
    assert set(settled.codes) == {0}
    await stage.client.delete("bull:q:active", "bull:q:completed", "bull:q:failed", *(f"bull:q:{id}" for id in ids))


def only_metrics(changed: dict) -> dict:
    return {name: value for name, value in changed.items() if name.startswith("metrics")}


async def test_the_first_ends_begin_to_count(stage: Stage) -> None:
    await settle(stage, DONE, DONE, FAILED, Retry("no", (), False), now=START + 5)
    assert only_metrics(await stage.changed()) == {
        "metrics:completed": {"count": "2", "prevTS": str(START + 5), "prevCount": "0"},
        "metrics:failed": {"count": "1", "prevTS": str(START + 5), "prevCount": "0"},
    }


async def test_within_a_minute_only_the_count_grows(stage: Stage) -> None:
    await settle(stage, DONE, now=START + 5)
    await settle(stage, DONE, DONE, now=START + MINUTE - 1)
    assert only_metrics(await stage.changed()) == {"metrics:completed": {"count": "3"}}


async def test_the_first_end_of_a_later_minute_writes_what_came_before_and_zeros_for_the_gap(stage: Stage) -> None:
    await settle(stage, DONE, DONE, now=START + 5)
    await settle(stage, DONE, now=START + MINUTE)
    assert only_metrics(await stage.changed()) == {
        "metrics:completed": {"count": "3", "prevTS": str(START + MINUTE), "prevCount": "2"},
        "metrics:completed:data": ["2"],
    }
    await settle(stage, DONE, DONE, now=START + 4 * MINUTE + 7)
    assert only_metrics(await stage.changed()) == {
        "metrics:completed": {"count": "5", "prevTS": str(START + 4 * MINUTE + 7), "prevCount": "3"},
        "metrics:completed:data": ["0", "0", "1", "2"],
    }


async def test_only_so_many_minutes_are_kept(stage: Stage) -> None:
    await settle(stage, DONE, now=START, points=3)
    await settle(stage, DONE, DONE, now=START + MINUTE, points=3)
    await settle(stage, DONE, now=START + 3 * MINUTE, points=3)
    assert (await stage.changed())["metrics:completed:data"] == ["0", "2", "1"]
    await settle(stage, DONE, now=START + 500 * MINUTE, points=3)
    assert (await stage.changed())["metrics:completed:data"] == ["0", "0", "1"]


async def test_nothing_is_counted_where_no_minutes_are_kept(stage: Stage) -> None:
    await settle(stage, DONE, now=START, points=0)
    assert only_metrics(await stage.changed()) == {}


async def test_damaged_metrics_stop_no_job(stage: Stage) -> None:
    await stage.lay({"metrics:completed": "not a hash"}, active("1"))
    settled = await stage.settle(("1", DONE), now=START, points=5)
    assert settled.codes == [0]
    assert "metrics" in settled.troubles[0]
