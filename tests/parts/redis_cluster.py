"""A Redis Cluster of three primaries on free ports, with a replica of the first where a test wants a failover."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from corral.cluster_map import slot_of
from servers import RedisServer, free_port
from waiting import eventually_sync

if TYPE_CHECKING:
    from typing import Self

    from servers import Kind

SLOTS = 16384


class RedisCluster:
    """The nodes; also a context manager. `replicas`: of the node that has the slots from 0 on."""

    def __init__(self, kind: Kind = "redis", *, replicas: int = 0, password: str | None = None) -> None:
        self.nodes = [
            RedisServer(
                kind,
                appendonly=True,
                password=password,
                extra=[
                    *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                    *("--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
                    *("--masterauth", password or "", "--cluster-replica-validity-factor", "0"),
                    *("--cluster-require-full-coverage", "no"),
                ],
            )
            for _ in range(3 + replicas)
        ]
        self._parts = ExitStack()

    @property
    def primaries(self) -> list[RedisServer]:
        return self.nodes[:3]

    def node_of(self, key: str) -> RedisServer:
        """The primary that had a key when the Cluster was made."""
        return self.primaries[slot_of(key.encode()) * 3 // SLOTS]

    def tag_at(self, index: int) -> str:
        """A hash tag whose slot the primary of this index has."""
        return next(f"t{n}" for n in range(1000) if slot_of(f"t{n}".encode()) * 3 // SLOTS == index)

    def command(self, node: RedisServer, *command: Any) -> Any:
        with node.client() as client:
            return client.execute_command(*command)

    def clear(self) -> None:
        """Empty it, and end whoever is still connected."""
        for node in self.primaries:
            with node.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
                client.flushall()

    def is_whole(self) -> bool:
        """Every node sees all slots served, and all nodes."""
        for node in self.nodes:
            if node.running:
                facts = self.command(node, "CLUSTER", "INFO")
                if b"cluster_state:ok" not in facts or b"cluster_known_nodes:%d\r" % len(self.nodes) not in facts:
                    return False
        return True

    def is_serving(self) -> bool:
        """Every node that runs sees all slots served."""
        running = [node for node in self.nodes if node.running]
        return all(b"cluster_state:ok" in self.command(node, "CLUSTER", "INFO") for node in running)

    def __enter__(self) -> Self:
        for node in self.nodes:
            self._parts.enter_context(node)
        first = self.nodes[0]
        for index, node in enumerate(self.primaries):
            edges = [slot for slot in range(SLOTS) if slot * 3 // SLOTS == index]
            self.command(node, "CLUSTER", "ADDSLOTSRANGE", edges[0], edges[-1])
        for node in self.nodes[1:]:
            bus = node._command[node._command.index("--cluster-port") + 1]
            self.command(first, "CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        eventually_sync(self.is_whole, 20)
        owner = str(self.command(first, "CLUSTER", "MYID").decode())
        for node in self.nodes[3:]:
            self.command(node, "CLUSTER", "REPLICATE", owner)
            eventually_sync(lambda node=node: self._follows(node), 20)  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def _follows(self, node: RedisServer) -> bool:
        facts = self.command(node, "INFO", "replication")
        return bool(facts["role"] == "slave" and facts["master_link_status"] == "up")
