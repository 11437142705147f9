"""Redis, the operator or the API server goes away and comes back: nothing jumps."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from corral import JobSpec, Queue
from namespace import Namespace
from operating import make_secret, operating, stays, watching
from operator_process import OperatorProcess
from pools import pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from control_plane import ControlPlane
    from kubectl import Kubectl, Manifest
    from servers import RedisServer

REDIS_AWAY = 120.0
OPERATOR_AWAY = 60.0


def _sized(name: str, **spec: object) -> Manifest:
    """A pool of one pod for ten jobs, quick to go to zero: what errs by a moment is seen."""
    return pool(name, **{"queues": [{"name": name}], "target": {"jobsPerReplica": 10}, "idleAfter": "1s", **spec})


async def _add(name: str, url: str, jobs: int) -> None:
    async with Queue(name, redis=url) as queue:
        await queue.add_bulk([JobSpec("send") for _ in range(jobs)])


@contextmanager
def _another(kubectl: Kubectl, suffix: str) -> Iterator[Kubectl]:
    """A namespace beside the test's."""
    other = kubectl.within(f"{kubectl.namespace}-{suffix}")
    kubectl("create", "namespace", other.namespace)
    yield other
    kubectl("delete", "namespace", other.namespace, "--wait=false")


async def _redis_goes_away(
    server: RedisServer, kubectl: Kubectl, namespace: Namespace, causes: set[str], hang: bool
) -> None:
    """One pool has pods for its backlog, the other sleeps."""
    make_secret(kubectl, server.url)
    with server.client() as client:
        client.hset("bull:asleep:meta", "opts.maxLenEvents", "10000")
    await _add("emails", server.url, 50)
    kubectl("apply", "-f", "-", manifest=_sized("emails"))
    kubectl("apply", "-f", "-", manifest=_sized("asleep"))
    await eventually(lambda: (namespace.replicas(), namespace.replicas("asleep")) == (5, 0))
    await eventually(lambda: namespace.is_told("Active", "False", "Idle", "asleep"))
    mark = namespace.mark()
    if hang:
        os.kill(server.pid, signal.SIGSTOP)
    else:
        server.stop()
    told = partial(namespace.is_told, "RedisReachable")
    await eventually(lambda: told("False", None, "emails") and told("False", None, "asleep"), 10)
    for name in ("emails", "asleep"):
        condition = namespace.condition("RedisReachable", name)
        assert condition is not None
        assert condition[1] in causes
        assert str(server.port) in condition[2]
        assert namespace.status(name)["decision"]["reason"] == "Unknown"
        assert "counts" not in namespace.status(name), "what is not known is not a number"
        assert namespace.is_told("Ready", "True", None, name)
    await stays(lambda: (namespace.replicas(), namespace.replicas("asleep")) == (5, 0), REDIS_AWAY, 1.0)
    if hang:
        os.kill(server.pid, signal.SIGCONT)
    else:
        server.start()
    await eventually(lambda: told("True", None, "emails") and told("True", None, "asleep"))
    await _add("asleep", server.url, 1)
    await eventually(lambda: namespace.replicas("asleep") == 1)
    assert namespace.replicas() == 5
    assert namespace.scalings("emails", mark) == []
    assert len(namespace.scalings("asleep", mark)) == 1


async def _operator_goes_away(kubectl: Kubectl, namespace: Namespace, folder: Path, server: RedisServer) -> None:
    """Four pools: meanwhile the work of one is done, that of one grows, and that of two waits on."""
    args = ("--namespace", kubectl.namespace)
    make_secret(kubectl, server.url)
    names = ("same", "waiting", "grown", "done")
    for name in names:
        await _add(name, server.url, 50)
    for name in ("same", "grown"):
        kubectl("apply", "-f", "-", manifest=_sized(name))
    kubectl("apply", "-f", "-", manifest=_sized("done", idleAfter="15s"))
    kubectl("apply", "-f", "-", manifest=_sized("waiting", target={"wait": "5s"}, maxReplicas=5))
    with OperatorProcess(folder, kubectl.kubeconfig, args) as operator:
        await eventually(lambda: [namespace.replicas(name) for name in names] == [5] * 4, 30)
        await operator.kill()
    mark = namespace.mark()
    with server.client() as client:
        client.delete("bull:done:wait", "bull:done:marker")
    await _add("grown", server.url, 50)
    await stays(lambda: namespace.requests(mark) == [], OPERATOR_AWAY, 5.0)
    async with operating(kubectl, folder, *args):
        await eventually(lambda: namespace.replicas("grown") == 10, 15)
        # As long as its own idleAfter has not passed again, it stays, though nothing has been left for a minute.
        await stays(lambda: namespace.replicas("done") == 5, 8)
        await eventually(lambda: namespace.replicas("done") == 0, 20)
        scalings = {name: len(namespace.scalings(name, mark)) for name in names}
        assert scalings == {"same": 0, "waiting": 0, "grown": 1, "done": 1}


@pytest.mark.timeout(240)
async def test_what_goes_away_and_comes_back_changes_no_replicas(
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path: Path,
    redis7: RedisServer,
    redis7_url: str,
    new_server: Callable[..., RedisServer],
) -> None:
    """Two minutes without Redis, which ends or hangs; a minute without the operator. All at once, to save time."""
    with _another(kubectl, "hangs") as hangs, _another(kubectl, "operator") as alone:
        here, there, apart = (Namespace(control_plane, each.namespace) for each in (kubectl, hangs, alone))
        both = ("--namespace", kubectl.namespace, "--namespace", hangs.namespace)
        async with operating(kubectl, tmp_path / "one", *both), asyncio.TaskGroup() as stories:
            ends, hanging = new_server(appendonly=True), new_server(appendonly=True)
            causes = {"Unreachable", "ConnectionLost"}
            stories.create_task(_redis_goes_away(ends, kubectl, here, causes, hang=False))
            stories.create_task(_redis_goes_away(hanging, hangs, there, {"Timeout"}, hang=True))
            stories.create_task(_operator_goes_away(alone, apart, tmp_path / "two", redis7))


@pytest.mark.timeout(120)
async def test_the_api_server_may_go_away_under_the_operator(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path, redis7_url: str
) -> None:
    namespace = Namespace(control_plane, kubectl.namespace)
    with OperatorProcess(tmp_path, kubectl.kubeconfig, ("--namespace", kubectl.namespace)) as operator:
        await watching(operator)
        make_secret(kubectl, redis7_url)
        kubectl("apply", "-f", "-", manifest=_sized("emails"))
        await eventually(lambda: namespace.replicas() == 0)
        control_plane.stop_api_server()
        await _add("emails", redis7_url, 30)
        await eventually(lambda: operator.said("the API server refused"))
        assert (await operator.get("/livez"))[0] == 200
        control_plane.start_api_server()
        await eventually(lambda: namespace.replicas() == 3, 35)
        # The watch goes on, too.
        kubectl("apply", "-f", "-", manifest=_sized("news", minReplicas=2))
        await eventually(lambda: namespace.replicas("news") == 2, 30)
        kubectl("scale", "workerpool", "emails", "--replicas=1")
        await eventually(lambda: namespace.replicas() == 1)
        assert "Traceback" not in operator.output
        operator.signal()
        assert await operator.wait(5) == 0
