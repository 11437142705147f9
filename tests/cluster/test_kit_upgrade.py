"""The operator goes: killed, upgraded, uninstalled. The pools stay as they are, and follow again when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from corral import Queue
from kit import CRD, SYSTEM
from kit_place import ended
from operating import stays
from waiting import eventually

if TYPE_CHECKING:
    from kit import Kit
    from kit_place import Place


@pytest.mark.timeout(120, func_only=True)
async def test_a_killed_operator_makes_nothing_jump_and_its_successor_follows(kit: Kit, place: Place) -> None:
    if kit.node is None:
        pytest.skip("the processes of a cluster of the user's are not ours to kill")
    place.pool("left")
    async with Queue("left", redis=place.url) as queue:
        jobs = [(await queue.add("long", {"sleep": 20000})).id for _ in range(3)]
        await eventually(lambda: all(place.starts("left", *jobs)), 40)
        assert place.replicas("left") == 3
        written = place.deployment("left")["metadata"]["generation"]
        killed = kit.operator_pod()["metadata"]["name"]
        kit.kill(killed, SYSTEM)

        def unchanged() -> bool:
            return bool(place.deployment("left")["metadata"]["generation"] == written)

        def back() -> bool:
            assert unchanged()
            pod = kit.get(f"api/v1/namespaces/{SYSTEM}/pods/{killed}")
            assert pod is not None
            (status,) = pod["status"]["containerStatuses"]
            return bool(status["restartCount"] and status["ready"])

        await eventually(back, 40)
        await stays(unchanged, 4)
        # One more than runs.
        await queue.add("short", {})
        await eventually(lambda: place.replicas("left") == 4, 20)
        await eventually(lambda: ended(queue, 4), 40)
        await eventually(lambda: place.gone("left"), 30)
        assert [len(pods) for pods in place.starts("left", *jobs)] == [1, 1, 1]


@pytest.mark.timeout(240, func_only=True)
async def test_upgrade_and_uninstall_leave_running_jobs_the_resource_and_the_pools(kit: Kit, place: Place) -> None:
    place.pool("kept", maxReplicas=2)
    async with Queue("kept", redis=place.url) as queue:
        jobs = [(await queue.add("long", {"sleep": 60000})).id for _ in range(2)]
        await eventually(lambda: all(place.starts("kept", *jobs)), 40)
        written = place.deployment("kept")["metadata"]["generation"]

        _add_a_column(kit)
        operator = kit.operator_pod()["metadata"]["name"]
        kit.run(f"helm upgrade corral charts/corral --namespace {SYSTEM} --set log.level=debug")
        kit.await_operator()
        await eventually(lambda: kit.operator_pod()["metadata"]["name"] != operator, 20)
        assert "QUEUES" in kit.run("kubectl get workerpools", namespace=place.name)
        await stays(lambda: place.deployment("kept")["metadata"]["generation"] == written, 3)

        kit.run(f"helm uninstall corral --namespace {SYSTEM} --wait")
        await eventually(lambda: kit.listed(f"api/v1/namespaces/{SYSTEM}/pods") == [], 20)
        assert (await queue.get_job_counts()).active == 2, "the jobs were too short to see it"
        assert kit.kubectl("get", CRD, "-o", "name")
        assert place.deployment("kept")["metadata"]["generation"] == written
        await eventually(lambda: ended(queue, 2), 90)
        assert [len(pods) for pods in place.starts("kept", *jobs)] == [1, 1]
        assert place.replicas("kept") == 2, "nobody is there who would take them away"

        # What was left is taken over again.
        kit.install()
        await eventually(lambda: place.gone("kept"), 60)


def _add_a_column(kit: Kit) -> None:
    """Change the resource in the copy of the chart, as a later version would."""
    file = kit.source / "charts" / "corral" / "files" / "workerpools.corral.dev.yaml"
    resource = yaml.safe_load(file.read_text("utf-8"))
    (version,) = resource["spec"]["versions"]
    version["additionalPrinterColumns"].append(
        {"name": "Queues", "type": "string", "jsonPath": ".spec.queues[*].name", "description": "Its queues."}
    )
    file.write_text(yaml.safe_dump(resource))
