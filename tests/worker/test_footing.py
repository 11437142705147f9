"""When a worker may look for the jobs of dead workers: not soon after an outage, nor after it was frozen itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from corral.errors import RedisUnavailable
from corral.footing import FIRM_S, Footing


class Ground:
    """A footing whose clock, and what Redis and the worker's beats say, are played."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.steady_s = 0.0
        self.takes_s = 0.0
        self.set_s = 0.0
        self.broken = False
        monkeypatch.setattr("corral.footing.time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr("corral.footing.asyncio", SimpleNamespace(sleep=self._sleep))
        self.footing = Footing(self, lambda: self.steady_s)  # type: ignore[arg-type]

    async def call(self, *command: Any, timeout: float = 10.0) -> Any:
        assert command == ("TIME",)
        self.now += self.takes_s
        if self.broken:
            raise RedisUnavailable("away")
        seconds, micros = divmod(round((1_800_000_000 - 1000 + self.now + self.set_s) * 1_000_000) + 123_456, 1_000_000)
        return [b"%d" % seconds, b"%d" % micros]

    async def _sleep(self, seconds: float) -> None:
        self.go_on(seconds + self.takes_s)

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.steady_s += seconds

    @property
    def waits(self) -> tuple[float, float]:
        return self.footing.firm_in_s, self.footing.sound_in_s


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(monkeypatch)


async def test_a_worker_that_begins_may_look_for_stalled_jobs_at_once_and_for_dead_workers_after_ten_seconds(
    ground: Ground,
) -> None:
    assert await ground.footing.redis_ms() == 1_800_000_000_123
    assert ground.waits == (FIRM_S, 0.0)
    ground.now += 1  # its first beat is not answered yet
    assert ground.waits == (FIRM_S, 0.0)
    ground.go_on(9)
    assert ground.waits == (1.0, 0.0)
    ground.go_on(1)
    assert ground.waits == (0.0, 0.0)


async def test_after_an_outage_that_its_beats_saw_a_worker_waits_for_ten_unbroken_seconds(ground: Ground) -> None:
    ground.go_on(60)
    assert ground.waits == (0.0, 0.0)
    ground.steady_s = 0.0
    assert ground.waits == (FIRM_S, FIRM_S)
    ground.go_on(9)
    assert ground.waits == (1.0, 1.0)
    ground.go_on(1)
    assert ground.waits == (0.0, 0.0)


async def test_after_an_outage_that_only_its_looks_saw_a_worker_waits_for_ten_unbroken_seconds(ground: Ground) -> None:
    ground.go_on(60)
    ground.broken = True
    with pytest.raises(RedisUnavailable):
        await ground.footing.redis_ms()
    ground.go_on(30)
    await ground.footing.rest(5)
    assert ground.waits == (FIRM_S, FIRM_S)
    ground.broken = False
    await ground.footing.redis_ms()
    ground.go_on(4)
    assert ground.waits == (6.0, 6.0)


async def test_an_answer_that_took_long_is_a_break(ground: Ground) -> None:
    ground.go_on(60)
    ground.takes_s = 2.0
    await ground.footing.redis_ms()
    assert ground.waits == (0.0, 0.0)
    ground.takes_s = 2.5
    await ground.footing.redis_ms()
    assert ground.waits == (FIRM_S, FIRM_S)


async def test_a_process_that_was_frozen_notices_it_by_itself(ground: Ground) -> None:
    ground.go_on(60)
    await ground.footing.rest(4.0)
    assert ground.waits == (0.0, 0.0)
    ground.takes_s = 15.0
    await ground.footing.rest(4.0)
    assert ground.waits == (FIRM_S, FIRM_S)


@pytest.mark.parametrize(("set_s", "breaks"), [(60, True), (3600, True), (-3600, True), (1.5, False), (0, False)])
async def test_after_redis_clock_was_set_a_worker_waits_until_all_have_beaten_by_the_new_time(
    ground: Ground, set_s: float, breaks: bool
) -> None:
    await ground.footing.redis_ms()
    ground.go_on(60)
    await ground.footing.redis_ms()
    assert ground.waits == (0.0, 0.0)
    ground.set_s = set_s
    await ground.footing.redis_ms()
    assert ground.waits == ((FIRM_S, FIRM_S) if breaks else (0.0, 0.0))
    ground.go_on(4)
    await ground.footing.redis_ms()
    assert ground.waits == ((6.0, 6.0) if breaks else (0.0, 0.0))


async def test_without_beats_its_own_looks_decide() -> None:
    class Lines:
        async def call(self, *command: Any, timeout: float = 10.0) -> Any:
            return [b"1", b"0"]

    footing = Footing(Lines(), lambda: float("inf"))  # type: ignore[arg-type]
    assert await footing.redis_ms() == 1000
    await asyncio.sleep(0)
    assert (footing.firm_in_s, footing.sound_in_s) == (0.0, 0.0)
