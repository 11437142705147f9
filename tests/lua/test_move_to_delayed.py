"""move_to_delayed: a running job goes to the delayed ones by its own wish."""

from __future__ import annotations

import pytest

from corral import RedisRefused, hold_scripts
from jobs import BASE, NOW, Px, Stage, active, job, released

DUE = NOW + 5000
SAID = [f"delayed jobId=1 delay={DUE}"]


async def move(stage: Stage, due_ms: int = DUE, *, job_id: str = "1", token: str = "t:1") -> int:
    return await hold_scripts.move_to_delayed(stage.caller, stage.keys, "", NOW, job_id, token, due_ms)


async def test_a_job_is_delayed_and_no_attempt_is_counted(stage: Stage) -> None:
    await stage.lay(active("2", "1", atm=1), {"stalled": {"1", "2"}, "wait": ["3"]})
    assert await move(stage) == 0
    assert await stage.changed() == {
        **released("1", left=["2"]),
        "1": {"delay": "5000"},
        "delayed": {"1": DUE * 4096},
        "stalled": {"2"},
        "marker": {"1": DUE},
        "events": SAID,
    }


async def test_it_keeps_its_place_among_those_due_in_the_same_ms(stage: Stage) -> None:
    await stage.lay(active("1", delay=9), {"delayed": {"a": DUE * 4096 + 3, "z": NOW * 4096}})
    assert await move(stage) == 0
    changed = await stage.changed()
    assert changed["delayed"] == {"z": NOW * 4096, "a": DUE * 4096 + 3, "1": DUE * 4096 + 4}
    # Who is due first is what a worker waits for.
    assert changed["marker"] == {"1": NOW}


async def test_a_time_that_is_past_means_now(stage: Stage) -> None:
    await stage.lay(active("1"))
    assert await move(stage, NOW - 1) == 0
    changed = await stage.changed()
    # Its hash says a delay of 0 already.
    assert "1" not in changed
    assert (changed["delayed"], changed["events"]) == ({"1": NOW * 4096}, [f"delayed jobId=1 delay={NOW}"])


@pytest.mark.parametrize(
    ("code", "before"),
    [(-1, {"1": None}), (-1, {"1": "text"}), (-2, {"1:lock": None}), (-6, {"1:lock": Px("other:1")})],
)
async def test_a_refused_move_changes_nothing(stage: Stage, code: int, before: dict) -> None:
    await stage.lay(active("1"))
    for name in before:
        await stage.client.delete(BASE + name)
    await stage.lay({name: value for name, value in before.items() if value is not None})
    assert await move(stage) == code
    assert await stage.changed() == {}


async def test_a_job_that_is_not_active_is_refused_and_its_lock_dropped(stage: Stage) -> None:
    await stage.lay({"1": job(), "1:lock": Px("t:1"), "wait": ["1"]})
    assert await move(stage) == -3
    assert await stage.changed() == {"1:lock": None}


async def test_a_foreign_value_under_a_key_is_refused_before_anything_is_written(stage: Stage) -> None:
    await stage.lay(active("1"), {"delayed": "text"})
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await move(stage)
    assert await stage.changed() == {}
