"""One run of `corral pools`, `corral explain` or `corral auto`: ask the API server, and show."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from corral.errors import CorralError
from corral_operator.deployment import Key
from corral_operator.explanation import explanation_of
from corral_operator.kept import inner
from corral_operator.local_pools import LocalPools, find_local_pools
from corral_operator.pool_access import Body, PoolAccess, explained, open_pools, why_refused
from corral_operator.pools_table import json_of, row_of
from corral_operator.pools_view import open_pools_view, show_sections
from corral_operator.refusal import ApiError

WATCH_EVERY_S = 2.0

_PASSING = (0, 429, 500, 502, 503, 504)
"""A watch outlives these answers, and none at all."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which pools: of a namespace, of all, or of the one that is meant when none is named.

    `up`: of a `corral up` of this machine by its folder, or of the only one when it is empty; None: of a cluster.
    """

    namespace: str | None = None
    everywhere: bool = False
    up: str | None = None


def pools(where: Where, *, watch: bool, form: str | None) -> int:
    """`corral pools`; exit code 0 also when there are none. `form` is wide, json or None. Raises CorralError."""
    asyncio.run(_pools(where, watch=watch, form=form))
    return 0


def explain(pool: str, where: Where) -> int:
    """`corral explain`. Raises CorralError."""
    asyncio.run(_explain(pool, where))
    return 0


def auto(pool: str, where: Where) -> int:
    """`corral auto`; exit code 0 also when the pool is automatic already. Raises CorralError."""
    asyncio.run(_auto(pool, where))
    return 0


@asynccontextmanager
async def _source(where: Where) -> AsyncIterator[PoolAccess | LocalPools]:
    if where.up is not None:
        yield find_local_pools(where.up)
        return
    async with open_pools() as access:
        yield access


async def _pools(where: Where, *, watch: bool, form: str | None) -> None:
    async with _source(where) as source:
        place = None if where.everywhere else where.namespace or source.namespace
        with explained("read", namespace=place):
            bodies: Sequence[Body] = await source.list(place)
        if form == "json":
            _write(json.dumps([json_of(row_of(body)) for body in bodies], indent=2))
            return
        if not bodies and not watch:
            there = "this cluster" if place is None else f"the namespace {place}; -A looks in all"
            sys.stderr.write(f"there are no WorkerPools in {there}\n")
            return
        with open_pools_view(sys.stdout, wide=form == "wide", live=watch) as view:
            view.show(bodies, _now_ms())
            while watch:
                await asyncio.sleep(WATCH_EVERY_S)
                bodies, trouble = await _again(source, place, bodies)
                view.show(bodies, _now_ms(), trouble)


async def _again(
    source: PoolAccess | LocalPools, place: str | None, before: Sequence[Body]
) -> tuple[Sequence[Body], str | None]:
    """The pools; or those of before, and why there are no newer ones. Raises CorralError for what does not pass."""
    try:
        return await source.list(place), None
    except ApiError as error:
        why = why_refused(error, "read", namespace=place)
        if error.code not in _PASSING:
            raise CorralError(why) from error
        return before, f"not up to date: {why}"


async def _explain(pool: str, where: Where) -> None:
    async with _source(where) as source:
        body = await source.get(Key(where.namespace or source.namespace or "", pool))
    show_sections(explanation_of(body, _now_ms(), from_file=where.up is not None), sys.stdout)


async def _auto(pool: str, where: Where) -> None:
    async with _source(where) as source:
        body = await source.get(Key(where.namespace or source.namespace or "", pool))
        key = Key(body["metadata"]["namespace"], pool)
        spec = inner(body, "spec")
        replicas = spec.get("replicas")
        if replicas is None:
            _write(f"{key} is automatic already: its replicas are not set by hand")
        else:
            await source.make_automatic(key)
            _write(f"{key} is automatic again: its replicas were set by hand to {replicas}")
        if (mode := spec.get("mode", "Auto")) != "Auto":
            _write(f"its mode is {mode}: the operator decides, and writes nothing until spec.mode is Auto")


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _now_ms() -> int:
    return int(time.time() * 1000)
