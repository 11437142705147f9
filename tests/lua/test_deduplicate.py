"""add with a deduplication id: who is turned away, who takes over, and what listeners hear."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral.lifecycle import Complete
from corral.retention import KEEP_ALL
from jobs import LOCK_MS, NOW, Px, Stage, active, job, new_job

META = {"opts.maxLenEvents": "10000", "version": "bullmq:6.7.0"}
SLOT = 4096
HOUR = 3_600_000


def deduplicated(job_id: str = "", *, data: str = "{}", delay_ms: int = 0, **de: Any) -> Any:
    return new_job(job_id, data=data, delay_ms=delay_ms, more=json.dumps({"de": {"id": "d", **de}}))


async def test_the_first_add_owns_the_id_and_says_so_in_its_hash(stage: Stage) -> None:
    await stage.lay({"meta": META})
    assert await stage.add(deduplicated()) == ["1"]
    changed = await stage.changed()
    assert (changed["de:d"], changed["1"]["deid"]) == ("1", "d")
    assert changed["events"] == ["added jobId=1 name=n", "waiting jobId=1"]


async def test_the_second_add_is_turned_away_and_answered_with_the_owner(stage: Stage) -> None:
    await stage.lay({"meta": META})
    await stage.add(deduplicated())
    await stage.changed()
    assert await stage.add(deduplicated(data='"other"')) == ["1"]
    assert await stage.changed() == {
        "id": "2",
        "events": ["deduplicated jobId=1 deduplicationId=d deduplicatedJobId=2"],
    }


async def test_an_id_of_ones_own_is_told_as_the_one_turned_away(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": "o", "o": job()})
    assert await stage.add(deduplicated("mine")) == ["o"]
    assert (await stage.changed())["events"] == ["deduplicated jobId=o deduplicationId=d deduplicatedJobId=mine"]


async def test_the_owner_added_again_by_its_id_is_a_duplicate(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": "mine", "mine": job()})
    assert await stage.add(deduplicated("mine")) == ["mine"]
    assert (await stage.changed())["events"] == ["duplicated jobId=mine"]


async def test_with_a_ttl_the_id_is_held_for_so_long_and_later_adds_do_not_prolong_it(stage: Stage) -> None:
    await stage.lay({"meta": META})
    await stage.add(deduplicated(ttl=HOUR))
    assert (await stage.changed())["de:d"] == Px("1")
    await stage.client.pexpire("bull:q:de:d", HOUR // 2)
    await stage.add(deduplicated(ttl=HOUR))
    assert await stage.left_ms("de:d") <= HOUR // 2


async def test_extend_starts_the_ttl_anew(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": Px("o", HOUR // 2), "o": job()})
    assert await stage.add(deduplicated(ttl=HOUR, extend=True)) == ["o"]
    assert await stage.left_ms("de:d") > HOUR // 2
    assert (await stage.changed())["events"] == ["deduplicated jobId=o deduplicationId=d deduplicatedJobId=1"]


async def test_replace_lets_a_delayed_owner_give_way(stage: Stage) -> None:
    await stage.lay({"meta": META})
    await stage.add(deduplicated(delay_ms=5000, replace=True))
    await stage.changed()
    assert await stage.add(deduplicated(delay_ms=7000, replace=True, data="[2]")) == ["2"]
    assert await stage.changed() == {
        "1": None,
        "2": job(timestamp=NOW, delay=7000, deid="d", data="[2]"),
        "de:d": "2",
        "delayed": {"2": (NOW + 7000) * SLOT},
        "id": "2",
        "marker": {"1": NOW + 7000},
        "events": [
            "removed jobId=1 prev=delayed",
            "deduplicated jobId=2 deduplicationId=d deduplicatedJobId=1",
            "added jobId=2 name=n",
            f"delayed jobId=2 delay={NOW + 7000}",
        ],
    }


@pytest.mark.parametrize(("extend", "longer"), [(False, False), (True, True)])
async def test_replace_keeps_the_ttl_unless_it_extends(stage: Stage, extend: bool, longer: bool) -> None:
    await stage.lay({"meta": META, "de:d": Px("o", HOUR // 2), "o": job(delay=5), "delayed": {"o": NOW * SLOT}})
    assert await stage.add(deduplicated(delay_ms=10, ttl=HOUR, replace=True, extend=extend)) == ["1"]
    assert (await stage.left_ms("de:d") > HOUR // 2) is longer


async def test_replace_turns_away_silently_when_the_owner_is_not_delayed(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": "o", "o": job(), "wait": ["o"]})
    assert await stage.add(deduplicated(replace=True)) == ["o"]
    assert await stage.changed() == {"id": "1"}


async def test_while_the_owner_runs_the_newest_add_is_kept_back(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": Px("o"), "dn:d": {"name": "older", "pk": "x"}}, active("o", deid="d"))
    assert await stage.add(deduplicated(data="[3]", keepLastIfActive=True)) == ["o"]
    assert await stage.changed() == {
        "id": "1",
        "de:d": "o",
        "dn:d": {"name": "n", "data": "[3]", "opts": "{}", "jid": "1", "pk": None},
        "events": ["deduplicated jobId=o deduplicationId=d deduplicatedJobId=1"],
    }


async def test_the_add_kept_back_follows_when_the_owner_has_ended(stage: Stage) -> None:
    await stage.lay({"meta": META})
    row = deduplicated(data="[3]", keepLastIfActive=True)
    await stage.add(row)
    await stage.take()
    await stage.add(row)
    settled = await stage.settle(("1", Complete("null", KEEP_ALL)), want=1)
    assert [job_id for job_id, _ in settled.jobs] == ["2"]


async def test_keep_last_has_no_ttl_and_turns_away_while_the_owner_waits(stage: Stage) -> None:
    await stage.lay({"meta": META})
    await stage.add(deduplicated(ttl=HOUR, keepLastIfActive=True))
    assert (await stage.changed())["de:d"] == "1"
    assert await stage.add(deduplicated(ttl=HOUR, keepLastIfActive=True)) == ["1"]
    assert (await stage.changed())["events"] == ["deduplicated jobId=1 deduplicationId=d deduplicatedJobId=2"]


async def test_reschedule_gives_a_delayed_owner_the_new_delay_and_leaves_its_data(stage: Stage) -> None:
    await stage.lay({"meta": META})
    await stage.add(deduplicated(delay_ms=5000, reschedule=True, data="[1]"))
    await stage.changed()
    assert await stage.add(deduplicated(delay_ms=9000, reschedule=True, data="[2]")) == ["1"]
    assert await stage.changed() == {
        "1": {"delay": "9000"},
        "id": "2",
        "delayed": {"1": (NOW + 9000) * SLOT},
        "marker": {"1": NOW + 9000},
        "events": [
            "deduplicated jobId=1 deduplicationId=d deduplicatedJobId=2",
            f"delayed jobId=1 delay={NOW + 9000}",
        ],
    }


async def test_a_key_whose_job_is_gone_is_taken_over(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": "gone"})
    assert await stage.add(deduplicated()) == ["1"]
    assert (await stage.changed())["de:d"] == "1"


async def test_a_key_with_a_ttl_holds_even_when_its_job_is_gone(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": Px("gone", LOCK_MS)})
    assert await stage.add(deduplicated(ttl=5)) == ["gone"]


async def test_twins_in_one_call_are_turned_away_too(stage: Stage) -> None:
    await stage.lay({"meta": META})
    assert await stage.add(deduplicated(), new_job(), deduplicated()) == ["1", "2", "1"]


async def test_a_replaced_job_that_a_flow_has_made_its_child_is_waited_for_no_longer(stage: Stage) -> None:
    tie = '{"id":"p","queueKey":"bull:up"}'
    await stage.lay(
        {
            "meta": META,
            "de:d": "o",
            "o": job(delay=500, parentKey="bull:up:p", parent=tie),
            "delayed": {"o": NOW * SLOT},
        },
        {"bull:up:p": job(), "bull:up:p:dependencies": {"bull:q:o"}, "bull:up:waiting-children": {"p": 1}},
    )
    assert await stage.add(deduplicated(replace=True)) == ["1"]
    changed = await stage.changed()
    assert (changed["bull:up:p:dependencies"], changed["bull:up:waiting-children"]) == (None, None)
    assert (changed["bull:up:wait"], changed["o"]) == (["p"], None)


async def test_what_an_owner_that_is_gone_kept_back_is_gone_too(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": "gone", "dn:d": {"name": "old", "data": "{}", "opts": "{}"}})
    await stage.add(deduplicated(keepLastIfActive=True))
    assert (await stage.changed())["dn:d"] is None
    await stage.take()
    await stage.settle(("1", Complete("null", KEEP_ALL)))
    assert (await stage.changed())["wait"] is None


async def test_a_ttl_of_nothing_extends_nothing(stage: Stage) -> None:
    await stage.lay({"meta": META, "de:d": Px("o", HOUR // 2), "o": job()})
    assert await stage.add(deduplicated(ttl=0, extend=True)) == ["o"]
    assert 0 < await stage.left_ms("de:d") <= HOUR // 2
