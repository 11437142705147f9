"""From nothing: what the README says to type, word by word, and what its reader sees."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from corral import Queue
from kit import CRD
from kit_place import Place, ended, found
from kit_source import columns, commands
from node_driver import NodeDriver
from operating import patch
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from kit import Kit

JOBS = 40


@pytest.mark.interop
@pytest.mark.timeout(240, func_only=True)
async def test_the_readmes_commands_lead_from_nothing_to_jobs_of_node_that_are_done_and_back_to_zero(
    bare_kit: Kit, with_node: None, record_property: Callable[[str, object], None]
) -> None:
    install, redis, pool, watch, describe = commands()
    assert install.startswith("helm install")
    assert "not found" in bare_kit.kubectl.refusal("get", CRD)
    with Place(bare_kit, f"corral-readme-{os.getpid()}") as place:
        bare_kit.install()
        bare_kit.run(redis, namespace=place.name)
        place.await_redis()
        bare_kit.run(pool, namespace=place.name)
        async with Queue("emails", redis=place.url) as queue:
            with bare_kit.running(watch, namespace=place.name) as watching:
                async with NodeDriver({"REDIS_URL": place.url}) as node:
                    jobs = [{"name": "welcome", "data": {"to": f"reader{n}@example.com"}} for n in range(JOBS)]
                    await node.queue("emails", "addBulk", jobs)
                    await eventually(lambda: ended(queue, JOBS), 60)
                    first = await node.read("emails", "1")
                assert first is not None
                assert first["returnvalue"] == {"sent_to": "reader0@example.com"}
                done_at = [(await found(queue, str(number + 1))).finished_on or 0 for number in range(JOBS)]
                assert bare_kit.installed_at is not None
                took = min(done_at) / 1000 - bare_kit.installed_at
                record_property("seconds from helm install to the first job done", round(took, 1))

                # Its pods come and go with the jobs; how long the last one stays is the pool's own word.
                patch(place.kubectl, "workerpool", "emails", {"spec": {"idleAfter": "2s"}})
                await eventually(lambda: place.gone("emails"), 60)
                watching.terminate()
                head, *rows = watching.communicate()[0].splitlines()
        assert head.split() == columns()
        # A row that is older than the first decision has no number there yet.
        desired = [int(cells[1]) for cells in map(str.split, rows) if cells[1].isdigit()]
        assert max(desired) > 1, rows
        assert desired[-1] == 0, rows
        told = bare_kit.run(describe, namespace=place.name)
        assert re.search(r"Normal +ScaledUp .*from 0 to \d+: ", told), told


@pytest.mark.timeout(60, func_only=True)
async def test_a_pool_that_says_nothing_of_security_runs_where_only_the_strictest_pods_may(place: Place) -> None:
    said = place.kubectl.refusal("run", "lax", "--image=localhost/corral-jobs:test")
    assert 'violates PodSecurity "restricted' in said
    place.pool("strict")
    async with Queue("strict", redis=place.url) as queue:
        await queue.add("job", {"sleep": 1500})
        (pod,) = await eventually(lambda: place.pods("strict"), 30)
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        await eventually(lambda: ended(queue, 1), 30)
        await eventually(lambda: place.gone("strict"), 30)
