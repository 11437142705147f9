"""Pools between zero and many: woken in time, and whatever BullMQ runs in them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from corral import Queue
from kit_place import ended, found
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit import Kit
    from kit_place import Place

# A pod's start on a busy machine may take that much longer than those before.
LATE_S = 15.0
CONFINED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.timeout(120, func_only=True)
async def test_a_delayed_job_wakes_a_pool_at_zero_in_time(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    place.pool("delayed")
    async with Queue("delayed", redis=place.url) as queue:
        # The first job teaches it how long a pod takes to start.
        await queue.add("now", {})
        await eventually(lambda: ended(queue, 1), 30)
        await eventually(lambda: place.gone("delayed"), 30)
        start_s = place.status("delayed")["learned"]["podStartSeconds"]
        delay_s = start_s + 10
        due = time.time() + delay_s
        later = await queue.add("later", {}, delay=timedelta(seconds=delay_s))
        assert place.gone("delayed"), "it came up at once"
        await eventually(lambda: ended(queue, 2), delay_s + 30)
        began = (await found(queue, later.id)).processed_on
        assert began is not None
        late = began / 1000 - due
        record_property("seconds from its due time to the start of a delayed job", round(late, 2))
        assert -0.1 <= late < LATE_S
        await eventually(lambda: place.gone("delayed"), 30)


@pytest.mark.interop
@pytest.mark.timeout(90, func_only=True)
async def test_a_pool_of_node_workers_goes_from_zero_to_many_and_back(kit: Kit, place: Place) -> None:
    (manifest,) = kit.manifest("node.yaml")
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container |= {
        "args": ["worker.mjs", "$(CORRAL_QUEUES)"],
        "env": [{"name": "CONCURRENCY", "value": "$(CORRAL_CONCURRENCY)"}],
        # Such an image may need to be root; who runs it here says that this one does not.
        "securityContext": CONFINED,
    }
    manifest["spec"] |= {"idleAfter": "2s", "target": {"jobsPerReplica": 4}, "maxReplicas": 3}
    place.kubectl("apply", "-f", "-", manifest=manifest)
    async with Queue("thumbnails", redis=place.url) as queue:
        await eventually(lambda: place.replicas("thumbnails") == 0)
        jobs = [(await queue.add("thumbnail", {"sleep": 1500})).id for _ in range(12)]
        await eventually(lambda: place.replicas("thumbnails") == 3)
        await eventually(lambda: ended(queue, 12), 60)
        assert (await found(queue, jobs[-1])).returnvalue == {"echo": {"sleep": 1500}, "by": "node"}
        await eventually(lambda: place.gone("thumbnails"), 40)
