"""Whatever is done to queues, in whatever order: after each step the whole keyspace is sound, and in the end all that can
run has run.

`CORRAL_RANDOM_GAMES=5000` plays more, `CORRAL_RANDOM_SEED` begins elsewhere; a game that fails is shortened to the moves
that it takes, and these are told.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from corral.address import make_pool
from corral.connection import Lines
from random_play import MOVES, Move, Player

if TYPE_CHECKING:
    import redis.asyncio

GAMES = int(os.environ.get("CORRAL_RANDOM_GAMES", "120"))
SEED = int(os.environ.get("CORRAL_RANDOM_SEED", "1"))
LENGTH = 80


def drawn(seed: int) -> list[Move]:
    """A game: each kind of move is frequent in some games and rare in others."""
    dice = random.Random(seed)
    weights = {name: MOVES[name] * dice.choice((0, 1, 1, 3)) for name in MOVES}
    names = dice.choices(list(weights), list(weights.values()), k=LENGTH)
    return [(name, dice.randrange(60), dice.randrange(60), dice.randrange(60), dice.randrange(60)) for name in names]


async def trouble_of(client: redis.asyncio.Redis, caller: Lines, moves: list[Move], done: Counter[str]) -> str | None:
    """Play a game on an empty server; gives what was wrong. `done` counts the moves that found something to do."""
    await client.flushall()
    player = Player(client, caller)
    try:
        await player.play(moves)
        if left := await player.run_out():
            return "\n".join(["-- left when all had run:", *left])
    except AssertionError as troubled:
        return str(troubled)
    done.update(player.done)
    return None


@pytest.mark.timeout(60 + GAMES * 2)
async def test_after_every_operation_the_keyspace_is_sound_and_in_the_end_all_has_run(
    redis_url: str, async_client: redis.asyncio.Redis
) -> None:
    found_something: Counter[str] = Counter()
    async with Lines(make_pool(redis_url)) as caller:
        for seed in range(SEED, SEED + GAMES):
            moves = drawn(seed)
            troubled = await trouble_of(async_client, caller, moves, found_something)
            if troubled is None:
                continue
            at, tries = len(moves), 800
            while at > 0 and tries > 0:
                at, tries = at - 1, tries - 1
                shorter = moves[:at] + moves[at + 1 :]
                if still := await trouble_of(async_client, caller, shorter, Counter()):
                    moves, troubled, at = shorter, still, len(shorter)
            pytest.fail(f"the game of seed {seed}: {moves}\n{troubled}")
    # No kind of move is drawn in vain.
    assert {name for name in MOVES if found_something[name] < GAMES / 40} == set()


number = st.integers(0, 59)
games = st.lists(st.tuples(st.sampled_from(sorted(MOVES)), number, number, number, number), max_size=40)


@pytest.mark.timeout(180)
@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # 40 moves can be read; shortening them takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(moves=games)
async def test_the_same_holds_for_games_that_hypothesis_draws(
    redis_url: str, async_client: redis.asyncio.Redis, moves: list[Move]
) -> None:
    async with Lines(make_pool(redis_url)) as caller:
        assert await trouble_of(async_client, caller, moves, Counter()) is None
