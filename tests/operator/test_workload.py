"""Making a Deployment while the world changes: the API server's answers come late, and the watch's news in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from corral_operator.pool_state import PoolState
from corral_operator.refusal import ApiError
from corral_operator.table import Table, read_pool
from corral_operator.workload import Workload
from pools import pool
from redis_secret import secret_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from corral_operator.deployment import Deployment, Key
    from corral_operator.door import Door
    from corral_operator.table import Pool


class SlowDoor:
    """Finds no Deployment, and lets `meanwhile` happen before it says so."""

    writes = True

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.made: list[Any] = []
        self._meanwhile = meanwhile

    async def deployment(self, key: Key) -> Deployment | None:
        self._meanwhile()
        return None

    async def create(self, manifest: Any) -> Deployment:
        self.made.append(manifest)
        raise ApiError(500, "Enough", "the test has seen enough")


def _pool(uid: str, version: int) -> Pool:
    metadata = {"namespace": "shop", "name": "emails", "uid": uid, "resourceVersion": str(version)}
    return read_pool({**pool(), "metadata": metadata})


@pytest.mark.parametrize("successor", [False, True], ids=["deleted", "made anew"])
async def test_a_pool_that_goes_while_somebody_looks_gets_no_deployment(successor: bool) -> None:
    table, first = Table(), _pool("first", 1)
    table.pools.put(first)

    def goes() -> None:
        table.pools.drop(first.key, first.uid, 2)
        if successor:
            table.pools.put(_pool("second", 3))

    door, state = SlowDoor(goes), PoolState.begin(first, 0.0)
    state.use(secret_of("redis://a"))
    with pytest.raises(ApiError, match="deleted meanwhile"):
        await Workload(cast("Door", door), table).of(state)
    assert door.made == []


async def test_a_pool_that_stays_gets_one() -> None:
    table, first = Table(), _pool("first", 1)
    table.pools.put(first)
    door, state = SlowDoor(lambda: None), PoolState.begin(first, 0.0)
    state.use(secret_of("redis://a"))
    with pytest.raises(ApiError, match="seen enough"):
        await Workload(cast("Door", door), table).of(state)
    assert len(door.made) == 1
