"""Who is connected to a queue, by the names of their connections: what Redis' CLIENT LIST tells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One connection that waits for jobs of a queue (or listens to its events).

    name: what the worker was called; None = it has no name. address: `host:port` that it connects from.
    connected_s, idle_s: seconds since it connected, and since its last command.
    """

    name: str | None
    address: str
    connected_s: int
    idle_s: int


def workers_of(clients: str, client_name: str) -> list[WorkerInfo]:
    """The workers of the queue whose connections are called `client_name`, or `client_name:w:<name>`."""
    named = client_name + ":w:"
    return list(_matching(clients, lambda name: name == client_name or name.startswith(named), named))


def listeners_of(clients: str, client_name: str) -> list[WorkerInfo]:
    """Who listens to the events of that queue."""
    return list(_matching(clients, lambda name: name == client_name + ":qe", ""))


def _matching(clients: str, wanted: Callable[[str], bool], named: str) -> Iterator[WorkerInfo]:
    for line in clients.splitlines():
        fields = dict(part.partition("=")[::2] for part in line.split(" "))
        name = fields.get("name", "")
        if wanted(name):
            own = name.removeprefix(named) if named and name.startswith(named) else None
            yield WorkerInfo(own, fields.get("addr", ""), int(fields.get("age", 0)), int(fields.get("idle", 0)))
