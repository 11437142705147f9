"""What a benchmark of the operator plays on: a real control plane, a real Redis, operators in processes, many pools."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from control_plane import ControlPlane
from kubernetes_binaries import compiled
from namespace import Namespace
from operating import make_secret
from operator_process import OperatorProcess
from pools import pool
from servers import RedisServer
from waiting import eventually

if TYPE_CHECKING:
    from typing import Self

    from kubectl import Manifest

CRD = Path(__file__).parents[2] / "charts" / "corral" / "files" / "workerpools.corral.dev.yaml"
MOST = 30
# What a pool takes a pod to need before it has seen one, and the idleAfter of these pools.
POD_START_S, IDLE_AFTER_S = 15.0, 5.0


class Stage:
    """A context manager; what was started in it ends with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._operators = 0

    def __enter__(self) -> Self:
        self.control_plane = self._stack.enter_context(ControlPlane(compiled()))
        self.server = self._stack.enter_context(RedisServer())
        self._folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self.kubectl = self.control_plane.kubectl
        self.kubectl("apply", "-f", str(CRD))
        self.kubectl("wait", "--for=condition=Established", "crd/workerpools.corral.dev")
        make_secret(self.kubectl, self.server.url)
        self.namespace = Namespace(self.control_plane, "default")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def operator(self, *, lease: bool = False) -> OperatorProcess:
        """One that runs until the stage is left; `watching` waits for it."""
        self._operators += 1
        env = {"CORRAL_LEASE": "default/corral-operator"} if lease else None
        folder = self._folder / f"operator-{self._operators}"
        return self._stack.enter_context(OperatorProcess(folder, self.kubectl.kubeconfig, (), env))

    async def asleep(self, names: list[str], within: float = 600.0) -> float:
        """Make pools on queues that are there and empty; gives the seconds until all have gone to sleep."""
        with self.server.client() as client, client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hset(f"bull:{name}:meta", "opts.maxLenEvents", "10000")
            pipe.execute()
        rows = [_pool(name) for name in names]
        began = time.monotonic()
        for first in range(0, len(rows), 100):
            items: Manifest = {"apiVersion": "v1", "kind": "List", "items": rows[first : first + 100]}
            self.kubectl("create", "-f", "-", manifest=items, within=120)
        while (told := self._idle(set(names))) < len(names):
            if time.monotonic() - began > within:
                raise SystemExit(f"only {told} of {len(names)} pools were served within {within:g} s")
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
        # The listener learns the new queues within a second.
        await asyncio.sleep(3)
        return took

    def _idle(self, names: set[str]) -> int:
        rows = [row for row in self.namespace.every("workerpools") if row["metadata"]["name"] in names]
        return sum((row.get("status") or {}).get("decision", {}).get("reason") == "Idle" for row in rows)

    async def patched(self, name: str, within: float = 30.0) -> float:
        """The epoch time at which the first patch of the replicas of a pool came in."""
        await eventually(lambda: self.namespace.replicas(name), within)
        return received(await eventually(lambda: self.namespace.scalings(name), 5.0))

    def connections(self) -> list[str]:
        """The names of the operator's connections to Redis."""
        with self.server.client() as client:
            return sorted(row["name"] for row in client.client_list() if row["name"].startswith("corral-operator"))

    def commands(self) -> int:
        """How many commands Redis has processed."""
        with self.server.client() as client:
            return int(client.info("stats")["total_commands_processed"])


def received(rows: list[Manifest]) -> float:
    """When the first of these requests came in, in epoch seconds."""
    return datetime.fromisoformat(rows[0]["requestReceivedTimestamp"]).timestamp()


def _pool(name: str) -> Manifest:
    spec = {"target": {"wait": "30s"}, "maxReplicas": MOST, "jobSeconds": 2, "idleAfter": f"{IDLE_AFTER_S:g}s"}
    return pool(name, queues=[{"name": name}], **spec)


def cost(pid: int) -> tuple[float, float]:
    """Resident MiB, and processor seconds so far."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


async def _page(operator: OperatorProcess) -> tuple[int, str] | None:
    try:
        return await operator.get("/metrics")
    except OSError:
        return None


class Gauge:
    """What an operator's process and its metrics say of it at one moment."""

    def __init__(self, memory_mib: float, cpu_s: float, samples: dict[tuple[str, tuple[tuple[str, str], ...]], float]):
        self.memory_mib, self.cpu_s, self._samples = memory_mib, cpu_s, samples
        self.at_s = time.monotonic()

    @classmethod
    async def of(cls, operator: OperatorProcess) -> Gauge:
        # On a machine that is busy with the cluster the page of a thousand pools may take longer than a probe may.
        _, body = await eventually(lambda: _page(operator), 60)
        samples = {
            (row.name, tuple(sorted(row.labels.items()))): row.value
            for family in text_string_to_metric_families(body)
            for row in family.samples
        }
        return cls(*cost(operator.pid), samples)

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series that have these labels."""
        return sum(
            value for (row, its), value in self._samples.items() if row == name and labels.items() <= dict(its).items()
        )

    def writes(self) -> float:
        """Calls to the API server that were no GET."""
        calls = "corral_api_calls_total"
        return self.total(calls) - self.total(calls, verb="GET")

    def buckets(self, name: str) -> dict[float, float]:
        """Of a histogram: observations up to each bound."""
        rows = self._samples.items()
        return {float(dict(its)["le"]): value for (row, its), value in rows if row == f"{name}_bucket"}
