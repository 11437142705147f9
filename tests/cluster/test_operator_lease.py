"""Two operators on a real control plane: one writes, the other takes over, and never do both."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue
from namespace import Namespace
from operating import make_secret, number, stays, watching
from operator_process import OperatorProcess
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from control_plane import AuditEvent, ControlPlane
    from kubectl import Kubectl

LEASE = "operators"
CRASH_S, HAND_OVER_S = 15.0, 2.0
SLACK_S = 5.0
"""For a machine with other work; what it took is told at the end."""

NAMES = ("a", "b", "c", "d")
GROWING = {"target": {"jobsPerReplica": 2}, "maxReplicas": 1000}


def _account(control_plane: ControlPlane, kubectl: Kubectl, name: str, folder: Path) -> Path:
    """A kubeconfig of an account of its own, so that the audit log tells the two apart."""
    kubectl("create", "serviceaccount", name)
    who = f"--serviceaccount={kubectl.namespace}:{name}"
    kubectl("create", "rolebinding", name, "--clusterrole=cluster-admin", who)
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": kubectl("create", "token", name).strip()}}]
    path = folder / f"kubeconfig-{name}"
    path.write_text(json.dumps(config))
    return path


async def _load(url: str) -> None:
    """Until cancelled: for every pool a job more, twice a second."""
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Queue(name, redis=url)) for name in NAMES]
        while True:
            for queue in queues:
                await queue.add_bulk([JobSpec("send")])
            await asyncio.sleep(0.5)


class _Log:
    """Who wrote what when, as the audit log has it; `one` and `two` are accounts."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def writes(self, who: str | None = None, since_s: float = 0.0) -> list[float]:
        """When anything but the Lease was written, or tried to."""
        return [_at(event) for event in self._events(who) if not _of_lease(event) and _at(event) > since_s]

    def terms(self) -> list[tuple[float, str]]:
        """When the Lease was written by another account than before, and by which."""
        terms: list[tuple[float, str]] = []
        for event in self._events(None):
            if (
                _of_lease(event)
                and event["responseStatus"]["code"] < 300
                and (not terms or terms[-1][1] != _who(event))
            ):
                terms.append((_at(event), _who(event)))
        return terms

    def astray(self) -> list[tuple[float, str]]:
        """Writes of somebody else than the one whose term it was."""
        terms = self.terms()
        rows = [(_at(event), _who(event)) for event in self._events(None) if not _of_lease(event)]
        return [
            (at, who) for at, who in rows if next((of for since, of in reversed(terms) if since <= at), None) != who
        ]

    def _events(self, who: str | None) -> list[AuditEvent]:
        return [event for event in self._namespace.writes() if who in (None, _who(event))]


def _of_lease(event: AuditEvent) -> bool:
    return bool(event["objectRef"]["resource"] == "leases")


def _who(event: AuditEvent) -> str:
    return str(event["user"]["username"].rpartition(":")[2])


def _at(event: AuditEvent) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


@pytest.mark.timeout(180)
async def test_another_operator_takes_over_and_one_that_was_deposed_writes_nothing(
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path: Path,
    redis7_url: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Ended, stopped and woken up again, killed: each time the other one is there, and nothing is written by both."""
    namespace = Namespace(control_plane, kubectl.namespace)
    log = _Log(namespace)
    env = {"CORRAL_LEASE": f"{kubectl.namespace}/{LEASE}"}
    one, two = (
        OperatorProcess(
            tmp_path / name,
            _account(control_plane, kubectl, name, tmp_path),
            ("--namespace", kubectl.namespace),
            env,
        )
        for name in ("one", "two")
    )

    async def taken_over(who: str, since_s: float, within: float) -> float:
        """Seconds until that one wrote something."""
        return (
            await eventually(lambda: log.writes(who, since_s), within + SLACK_S)
            and log.writes(who, since_s)[0] - since_s
        )

    make_secret(kubectl, redis7_url)
    for name in NAMES:
        kubectl("apply", "-f", "-", manifest=pool(name, queues=[{"name": name}], **GROWING))
    with one, two:
        await watching(one)
        await watching(two)
        await eventually(lambda: (one.said("^leads: ") or two.said("^leads: ")) and log.writes())
        leader, other = (one, two) if one.said("^leads: ") else (two, one)
        names = {one: "one", two: "two"}
        assert [await number(each, "corral_operator_leader") for each in (leader, other)] == [1.0, 0.0]
        assert [(await each.get("/readyz"))[0] for each in (leader, other)] == [200, 200]
        async with asyncio.TaskGroup() as group:
            load = group.create_task(_load(redis7_url))
            await eventually(lambda: all(namespace.replicas(name) for name in NAMES))

            at_s = time.time()
            leader.signal()
            took = await taken_over(names[other], at_s, HAND_OVER_S)
            record_property("seconds from SIGTERM to the other's first write", round(took, 2))
            assert await leader.wait(5) == 0
            leader.start()
            await watching(leader)
            leader, other = other, leader
            await eventually(lambda: other.said("^stands by: "))

            os.kill(leader.pid, signal.SIGSTOP)
            at_s = time.time()
            took = await taken_over(names[other], at_s, CRASH_S)
            record_property("seconds from SIGSTOP to the other's first write", round(took, 2))
            os.kill(leader.pid, signal.SIGCONT)
            at_s = time.time()
            await eventually(lambda: leader.said("^stands by: "))
            await stays(lambda: log.writes(names[leader], at_s) == [], 3)
            leader, other = other, leader

            at_s = time.time()
            await leader.kill()
            took = await taken_over(names[other], at_s, CRASH_S)
            record_property("seconds from SIGKILL to the other's first write", round(took, 2))
            load.cancel()
        assert len(log.terms()) == 4
        assert log.astray() == []
        other.signal()
        assert await other.wait(5) == 0
    record_property("writes of all operators", len(log.writes()))
