"""The slots of a worker and how its queues share them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.slots import Share, Slots


def hungry(slots: Slots, woken: list[int] | None = None, number: int = 0) -> Share:
    share = slots.share(lambda: woken.append(number) if woken is not None else None)
    share.hungry = True
    return share


@pytest.mark.parametrize(("total", "granted"), [(1, 1), (2, 1), (3, 2), (10, 5), (11, 6)])
def test_one_claim_gets_half_of_all_at_most(total: int, granted: int) -> None:
    slots = Slots(total)
    assert hungry(slots).claim(1000) == granted
    assert slots.busy == granted


def test_a_queue_alone_gets_everything_in_two_claims() -> None:
    slots = Slots(10)
    share = hungry(slots)
    assert [share.claim(100) for _ in range(3)] == [5, 5, 0]
    assert (slots.free, share.held) == (0, 10)


def test_no_claim_gets_more_than_it_asked_for() -> None:
    assert hungry(Slots(1000)).claim(250) == 250


def test_hungry_queues_get_even_parts() -> None:
    slots = Slots(10)
    one, two = hungry(slots), hungry(slots)
    assert [one.claim(100), one.claim(100), two.claim(100), two.claim(100)] == [5, 0, 5, 0]


def test_a_queue_that_wants_nothing_leaves_its_part_to_the_others() -> None:
    slots = Slots(10)
    one, two = hungry(slots), hungry(slots)
    two.hungry = False
    assert [one.claim(100), one.claim(100)] == [5, 5]


def test_a_queue_over_its_part_gets_nothing_while_another_waits() -> None:
    slots = Slots(10)
    one, two = hungry(slots), hungry(slots)
    two.hungry = False
    assert one.claim(100) + one.claim(100) == 10
    two.hungry = True
    one.release(4)
    assert one.claim(100) == 0
    assert two.claim(100) == 4


def test_more_queues_than_slots_all_get_their_turn() -> None:
    slots = Slots(1)
    woken: list[int] = []
    shares = [hungry(slots, woken, number) for number in range(3)]
    assert shares[0].claim(5) == 1
    assert shares[1].claim(5) == 0
    shares[0].release()
    assert woken == [1, 2]
    assert shares[1].claim(5) == 1


def test_a_release_wakes_the_other_hungry_queues_only() -> None:
    slots, woken = Slots(4), []
    shares = [hungry(slots, woken, number) for number in range(3)]
    shares[2].hungry = False
    shares[0].claim(4)
    shares[0].release(0)
    assert woken == []
    shares[0].release(2)
    assert woken == [1]


def test_a_job_that_is_ended_twice_goes_over_the_total_and_the_next_claim_gets_nothing() -> None:
    slots = Slots(1)
    share = hungry(slots)
    assert share.claim(1) == 1
    share.reclaim()
    assert slots.busy == 2
    assert share.claim(1) == 0
    assert slots.busy == 2
    share.release(2)
    assert (slots.busy, share.held) == (0, 0)


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["claim", "release", "eat", "rest"]), st.integers(1, 300))
)


@given(st.integers(1, 600), steps)
def test_never_more_than_the_total_is_given_out(total: int, steps: list[tuple[int, str, int]]) -> None:
    slots = Slots(total)
    shares = [slots.share(lambda: None) for _ in range(3)]
    for who, what, number in steps:
        share = shares[who]
        if what == "claim":
            assert 0 <= share.claim(number) <= min(number, -(-total // 2))
        elif what == "release":
            share.release(min(number, share.held))
        else:
            share.hungry = what == "eat"
        assert 0 <= slots.busy <= total
        assert slots.busy == sum(each.held for each in shares)
        assert all(each.held >= 0 for each in shares)


@given(st.integers(1, 600), st.integers(1, 5))
def test_queues_that_all_want_everything_end_within_one_slot_of_each_other(total: int, queues: int) -> None:
    slots = Slots(total)
    shares = [hungry(slots) for _ in range(queues)]
    for _ in range(3):
        for share in shares:
            share.claim(250)
    # The last one may get less: parts are rounded up.
    assert max(share.held for share in shares) <= -(-total // queues) or queues == 1
    assert slots.free == 0 or total > 500


def test_more_slots_wake_those_that_wait() -> None:
    woken: list[int] = []
    told: list[int] = []
    slots = Slots(1)
    slots.watch(told.append)
    one, two = hungry(slots, woken, 1), hungry(slots, woken, 2)
    two.hungry = False
    assert one.claim(9) == 1
    slots.resize(4)
    assert (slots.free, woken, told) == (3, [1], [4])


def test_of_fewer_slots_none_is_free_until_enough_came_back() -> None:
    slots = Slots(4)
    share = hungry(slots)
    assert [share.claim(9), share.claim(9)] == [2, 2]
    slots.resize(2)
    assert (slots.free, share.claim(9)) == (0, 0)
    share.release(2)
    assert (slots.free, share.claim(9)) == (0, 0)
    share.release()
    assert (slots.free, share.claim(9)) == (1, 1)
