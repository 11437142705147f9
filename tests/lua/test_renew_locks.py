"""renew: locks of running jobs are held for longer, missing ones set anew, and lost ones told."""

from __future__ import annotations

import pytest

from corral import scripts
from corral.lifecycle import HandBack
from corral.scripts import Held, Renewed
from jobs import BASE, LOCK_MS, Px, Stage, active, job


async def renew(stage: Stage, *held: Held) -> Renewed:
    return await scripts.renew_locks(stage.caller, stage.keys, LOCK_MS, held)


def ours(*ids: str, token: str = "t:1", starts: int = 1) -> list[Held]:
    return [Held(id, token, starts) for id in ids]


async def test_held_locks_are_prolonged_and_no_longer_suspected(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"1:lock": Px("t:1", 60_000), "stalled": {"1", "2"}})
    assert await renew(stage, *ours("1")) == Renewed([], [])
    assert await stage.changed() == {"stalled": {"2"}}
    assert LOCK_MS - 60_000 < await stage.left_ms("1:lock") <= LOCK_MS


async def test_a_missing_lock_is_set_anew_while_the_job_is_active_and_was_not_started_again(stage: Stage) -> None:
    await stage.lay(active("3", "2", "1"), {"stalled": {"1", "2", "3"}})
    await stage.client.delete(f"{BASE}1:lock", f"{BASE}3:lock")
    await stage.lay({})
    held = ours("1", "2", "3")
    assert await renew(stage, *held) == Renewed([], [held[0], held[2]])
    assert await stage.changed() == {"1:lock": Px("t:1"), "3:lock": Px("t:1"), "stalled": None}
    assert LOCK_MS - 60_000 < await stage.left_ms("1:lock") <= LOCK_MS


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"wait": ["1"], "1": job(ats=1)},
        {"completed": {"1": 5}, "1": job(ats=1)},
        {"active": ["1"], "1": job(ats=2)},
        {"active": ["1"], "1": job()},
        {"active": ["1"], "1": job(ats="x")},
        {"active": ["1"]},
        {"active": ["1"], "1": "text"},
        {"active": ["1"], "1": job(ats=1), "1:lock": Px("other:1")},
        {"active": ["1"], "1": job(ats=1), "1:lock": ["a", "list"]},
        {},
    ],
    ids=[
        "put back",
        "ended",
        "started again",
        "never started",
        "starts unreadable",
        "gone",
        "no job",
        "another's",
        "no lock",
        "never there",
    ],
)
async def test_a_job_that_somebody_recovered_meanwhile_is_never_taken_from_it(
    stage: Stage, elsewhere: dict[str, object]
) -> None:
    await stage.lay(elsewhere, {"stalled": {"1"}})
    assert await renew(stage, *ours("1")) == Renewed(ours("1"), [])
    assert await stage.changed() == {}


async def test_lost_locks_are_told_in_their_order_and_harm_no_other(stage: Stage) -> None:
    await stage.lay(active("4", "3", "2", "1"), {"2:lock": Px("other:1", 60_000), "stalled": {"1", "2", "3", "4"}})
    await stage.client.delete(f"{BASE}3:lock")
    await stage.lay({})
    held = ours("gone", "1", "2", "3", "4", "never")
    assert await renew(stage, *held) == Renewed([held[0], held[2], held[5]], [held[3]])
    assert await stage.changed() == {"3:lock": Px("t:1"), "stalled": {"2"}}
    assert await stage.left_ms("2:lock") <= 60_000


async def test_of_two_runs_of_one_job_only_the_last_one_holds_it(stage: Stage) -> None:
    await stage.lay(active("1", token="t:2"), {"1": {"ats": "2"}})
    first, second = Held("1", "t:1", 1), Held("1", "t:2", 2)
    assert await renew(stage, first, second) == Renewed([first], [])
    assert await renew(stage, second, first) == Renewed([first], [])
    await stage.client.delete(f"{BASE}1:lock")
    assert await renew(stage, first, second) == Renewed([first], [second])
    assert await renew(stage, first, second) == Renewed([first], [])


async def test_a_lock_that_is_missing_is_set_for_one_of_those_who_ask(stage: Stage) -> None:
    await stage.lay(active("1"))
    await stage.client.delete(f"{BASE}1:lock")
    one, other = Held("1", "t:1", 1), Held("1", "u:1", 1)
    assert await renew(stage, one, other) == Renewed([other], [one])


async def test_a_lock_that_is_held_anew_lets_the_job_end(stage: Stage) -> None:
    await stage.lay(active("1"))
    await stage.client.delete(f"{BASE}1:lock")
    assert (await stage.settle(("1", HandBack()))).codes == [scripts.NO_LOCK]
    await renew(stage, *ours("1"))
    assert (await stage.settle(("1", HandBack()))).codes == [0]


async def test_thousands_of_locks_are_set_anew_in_one_call(stage: Stage) -> None:
    ids = [f"j{n}" for n in range(2000)]
    await stage.lay({"active": ids}, {id: job(ats=1) for id in ids})
    held = ours(*ids)
    assert await renew(stage, *held) == Renewed([], held)
    assert await stage.client.exists(*[f"{BASE}{id}:lock" for id in ids]) == 2000


async def test_a_damaged_list_of_suspects_stops_no_renewal(stage: Stage) -> None:
    await stage.lay(active("2", "1"), {"stalled": "text", "1:lock": Px("t:1", 60_000)})
    await stage.client.delete(f"{BASE}2:lock")
    assert await renew(stage, *ours("1", "2")) == Renewed([], ours("2"))
    assert await stage.left_ms("1:lock") > 60_000


async def test_nothing_held_changes_nothing(stage: Stage) -> None:
    await stage.lay(active("1"))
    assert await renew(stage) == Renewed([], [])
    assert await stage.changed() == {}
