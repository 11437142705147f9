"""beat: a worker tells of itself, those that are silent are forgotten, and an order that stands is heard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from corral import beat_scripts
from corral.beat_record import quiet_order
from corral.beat_scripts import FORGET_S
from corral.errors import RedisRefused

if TYPE_CHECKING:
    from jobs import Stage

BEATS, WORKERS, ORDERS = "corral:beats", "corral:workers", "corral:orders"
KEYS = [BEATS, WORKERS, ORDERS]
MINUTE = 60_000


async def redis_ms(stage: Stage) -> int:
    seconds, micros = await stage.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def beat(stage: Stage, worker: str = "w1", record: str = "{}") -> beat_scripts.Heard:
    return await beat_scripts.beat(stage.caller, stage.keys, worker, record)


async def known(stage: Stage) -> dict[str, Any]:
    """Who is in each of the keys."""
    return {
        "beats": sorted(await stage.client.zrange(stage.keys.beats, 0, -1)),
        "workers": sorted(await stage.client.hkeys(stage.keys.workers)),
        "orders": sorted(await stage.client.hkeys(stage.keys.orders)),
    }


async def test_a_beat_writes_both_records_and_its_score_is_redis_time_in_ms(stage: Stage) -> None:
    before = await redis_ms(stage)
    heard = await beat(stage, record='{"v":1,"busy":2}')
    after = await redis_ms(stage)
    assert before <= heard.now_ms <= after
    assert heard.order is None
    assert await stage.client.zrange(stage.keys.beats, 0, -1, withscores=True) == [(b"w1", heard.now_ms)]
    assert await stage.client.hgetall(stage.keys.workers) == {b"w1": b'{"v":1,"busy":2}'}
    assert {name.removeprefix("bull:q:") for name in await stage.changed()} == {BEATS, WORKERS}


async def test_a_later_beat_replaces_what_the_worker_said_and_leaves_the_others(stage: Stage) -> None:
    await beat(stage, "w1", '{"busy":1}')
    await beat(stage, "w2", '{"busy":5}')
    first = await stage.client.zscore(stage.keys.beats, "w2")
    await beat(stage, "w1", '{"busy":3}')
    assert await stage.client.hgetall(stage.keys.workers) == {b"w1": b'{"busy":3}', b"w2": b'{"busy":5}'}
    assert await stage.client.zscore(stage.keys.beats, "w2") == first


async def test_a_beat_forgets_workers_silent_for_5_min_in_all_three_keys(stage: Stage) -> None:
    now = await redis_ms(stage)
    late, silent = now - FORGET_S * 1000 + MINUTE, now - FORGET_S * 1000 - 1
    assert FORGET_S == 300
    await stage.lay(
        {
            BEATS: {"late": late, "silent": silent},
            WORKERS: {"late": "{}", "silent": "{}"},
            ORDERS: {"late": quiet_order(now + MINUTE), "silent": quiet_order(now + MINUTE)},
        }
    )
    await beat(stage)
    assert await known(stage) == {"beats": [b"late", b"w1"], "workers": [b"late", b"w1"], "orders": [b"late"]}


async def test_a_beat_from_a_future_of_before_a_failover_is_forgotten_too(stage: Stage) -> None:
    now = await redis_ms(stage)
    await stage.lay({BEATS: {"ahead": now + 2 * FORGET_S * 1000, "near": now + MINUTE}, WORKERS: {"ahead": "{}"}})
    await beat(stage)
    assert await known(stage) == {"beats": [b"near", b"w1"], "workers": [b"w1"], "orders": []}


async def test_more_dead_workers_than_lua_hands_over_at_once_are_forgotten_by_a_few_beats(stage: Stage) -> None:
    old = await redis_ms(stage) - 2 * FORGET_S * 1000
    await stage.lay({BEATS: {f"d{n}": old for n in range(2500)}, WORKERS: {f"d{n}": "{}" for n in range(2500)}})
    for _ in range(3):
        await beat(stage)
    assert await known(stage) == {"beats": [b"w1"], "workers": [b"w1"], "orders": []}


async def test_the_order_that_stands_for_this_worker_is_heard_and_left(stage: Stage) -> None:
    until = await redis_ms(stage) + MINUTE
    await stage.lay({ORDERS: {"w1": quiet_order(until), "w2": quiet_order(until + 1)}})
    assert (await beat(stage, "w1")).order == quiet_order(until).encode()
    assert (await beat(stage, "w2")).order == quiet_order(until + 1).encode()
    assert (await beat(stage, "w3")).order is None
    assert await known(stage) == {
        "beats": [b"w1", b"w2", b"w3"],
        "workers": [b"w1", b"w2", b"w3"],
        "orders": [b"w1", b"w2"],
    }


async def test_an_order_is_void_after_its_time_and_removed(stage: Stage) -> None:
    now = await redis_ms(stage)
    others = {f"o{number}": quiet_order(now + MINUTE) for number in range(50)}
    await stage.lay({ORDERS: {"w1": quiet_order(now), **others}})
    assert (await beat(stage)).order is None
    assert await stage.client.hkeys(stage.keys.orders) == [name.encode() for name in others]


async def test_an_order_for_hours_comes_of_a_wrong_clock_and_is_void(stage: Stage) -> None:
    await stage.lay({ORDERS: {"w1": quiet_order(await redis_ms(stage) + 60 * MINUTE)}})
    assert (await beat(stage)).order is None
    assert await stage.client.exists(stage.keys.orders) == 0


async def test_a_void_order_that_outlived_its_worker_is_removed_by_the_beats_of_others(stage: Stage) -> None:
    now = await redis_ms(stage)
    await stage.lay({ORDERS: {"gone": quiet_order(now - 1), "here": quiet_order(now + MINUTE)}})
    assert (await beat(stage)).order is None
    assert await stage.client.hkeys(stage.keys.orders) == [b"here"]


@pytest.mark.parametrize("order", ["sing", "quiet:soon", "quiet:-5", "quiet:1e3", "Quiet:1"])
async def test_an_order_of_a_later_version_is_given_as_it_is(stage: Stage, order: str) -> None:
    await stage.lay({ORDERS: {"w1": order}})
    assert (await beat(stage)).order == order.encode()
    assert await stage.client.hget(stage.keys.orders, "w1") == order.encode()


async def test_an_empty_order_is_none(stage: Stage) -> None:
    await stage.lay({ORDERS: {"w1": ""}})
    assert (await beat(stage)).order is None


async def test_when_nobody_beats_any_more_the_records_run_out_by_themselves(stage: Stage) -> None:
    await stage.lay({ORDERS: {"killed": quiet_order(round(time.time() * 1000) + MINUTE)}})
    await beat(stage)
    for name in (BEATS, WORKERS, ORDERS):
        assert FORGET_S * 1000 - MINUTE < await stage.left_ms(name) <= FORGET_S * 1000


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("deed", ["beat", "forget"])
async def test_a_key_of_another_type_is_refused_by_name_before_anything_is_written(
    stage: Stage, name: str, deed: str
) -> None:
    await stage.lay({name: "text"})
    with pytest.raises(RedisRefused, match=r"\(WRONGTYPE\): .*is the prefix shared") as caught:
        await (beat(stage) if deed == "beat" else beat_scripts.forget_worker(stage.caller, stage.keys, "w1"))
    assert caught.value.code == "WRONGTYPE"
    assert await stage.changed() == {}


async def test_a_clean_end_removes_the_records_of_that_worker_alone(stage: Stage) -> None:
    until = round(time.time() * 1000) + MINUTE
    await beat(stage, "w1")
    await beat(stage, "w2")
    await stage.lay({ORDERS: {"w1": quiet_order(until), "w2": quiet_order(until)}})
    assert await beat_scripts.forget_worker(stage.caller, stage.keys, "w1") is True
    assert await known(stage) == {"beats": [b"w2"], "workers": [b"w2"], "orders": [b"w2"]}
    assert await beat_scripts.forget_worker(stage.caller, stage.keys, "w1") is False


async def test_an_end_that_was_never_told_of_changes_nothing(stage: Stage) -> None:
    await stage.lay({"wait": ["1"]})
    assert await beat_scripts.forget_worker(stage.caller, stage.keys, "w1") is False
    assert await stage.changed() == {}
