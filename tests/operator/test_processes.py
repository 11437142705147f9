"""The door onto this machine: what the loop asks of a cluster, answered with processes."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from corral import ConfigurationError
from corral_operator.deployment import Deployment, Key
from corral_operator.obituary import obituaries
from corral_operator.pods import LOWEST_COST, live_pods, pods_of
from corral_operator.pool_file import read_pools
from corral_operator.processes import Processes
from corral_operator.refusal import ApiError
from corral_operator.render import deployment
from corral_operator.replica import Replica, ReplicaState
from corral_operator.secret import read_secret
from corral_operator.spec import read_spec
from up_process import alive, local_pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kubectl import Manifest

URL = "redis://:s3cret@127.0.0.1:1"
EMAILS = Key("local", "emails")
SLEEP = {"command": ["sleep", "1000"]}
STUBBORN = {"command": ["sh", "-c", "trap 'echo term' TERM; echo here; while :; do sleep 0.02; done"]}


class Machine:
    """The processes of these pools, each with its Deployment of no replicas."""

    def __init__(self, folder: Path, manifests: list[Manifest], environ: Mapping[str, str]) -> None:
        self.pools = read_pools(yaml.safe_dump_all(manifests), "pools.yaml")
        self.folder = folder
        self.told: list[str] = []
        self.door = Processes(
            self.pools, URL, folder, environ, told=lambda pool, reason, text, warning: self.told.append(text)
        )

    def manifest(self, index: int = 0) -> Mapping[str, Any]:
        pool = self.pools[index]
        spec = read_spec(*reversed(pool.key), pool.spec)
        return deployment(spec, read_secret(spec.redis_secret, self.door._content()), pool_uid=pool.uid)

    def row(self, name: str) -> Replica:
        return next(row for row in self.door.replicas(EMAILS) if row.name == name)

    async def deployed(self) -> Deployment:
        await self.door._look()
        found = await self.door.deployment(EMAILS)
        assert found is not None
        return found

    async def ready(self, number: int) -> Deployment:
        async def so_many() -> Deployment | None:
            found = await self.deployed()
            return found if found.ready == number == found.total else None

        found = await eventually(so_many)
        assert found is not None
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """`machine(manifest...)`; whatever runs is killed at the end."""
    made: list[Machine] = []

    def make(*manifests: Manifest, environ: Mapping[str, str] = os.environ) -> Machine:
        made.append(Machine(tmp_path, list(manifests), environ))
        return made[-1]

    yield make
    for each in made:
        each.door.kill()


async def running(machine: Machine, replicas: int) -> Machine:
    await machine.door.create(machine.manifest())
    await machine.door.scale(EMAILS, replicas, "")
    return machine


async def test_a_replica_has_the_environment_of_the_handshake(machine: Callable[..., Machine], tmp_path: Path) -> None:
    container = {
        "command": ["sh", "-c", f"env >{tmp_path}/$(POD_NAME).env; exec sleep 1000"],
        "env": [{"name": "LEVEL", "value": "$(CORRAL_POOL)-debug"}, {"name": "CORRAL_LOG_FORMAT", "value": "json"}],
    }
    environ = {**os.environ, "SHELL_WORD": "kept", "REDIS_PASSWORD": "other", "CORRAL_QUEUES": "other"}
    spec = {"concurrency": 7, "prefix": "shop", "gracePeriod": "90s"}
    here = await running(machine(local_pool(container=container, **spec), environ=environ), 2)
    rows = []
    for name in ("emails-1", "emails-2"):
        file = tmp_path / f"{name}.env"
        await eventually(lambda file=file: file.exists() and file.read_text().endswith("\n"))
        rows.append(dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE)))
    assert (
        rows[0].items()
        >= {
            "REDIS_URL": URL,
            "CORRAL_POOL": "emails",
            "CORRAL_QUEUES": "emails",
            "CORRAL_CONCURRENCY": "7",
            "CORRAL_PREFIX": "shop",
            "CORRAL_GRACE": "90",
            "CORRAL_LOG_FORMAT": "json",
            "POD_NAME": "emails-1",
            "POD_NAMESPACE": "local",
            "LEVEL": "emails-debug",
            "SHELL_WORD": "kept",
            "PATH": os.environ["PATH"],
        }.items()
    )
    assert "REDIS_PASSWORD" not in rows[0]
    assert rows[0]["CORRAL_PORT"] != rows[1]["CORRAL_PORT"]
    assert {row.grace_s for row in here.door.replicas(EMAILS)} == {90.0}


async def test_a_deployment_is_told_as_an_api_server_would(machine: Callable[..., Machine]) -> None:
    here = machine(local_pool(container=SLEEP, runtime="Any"))
    assert (await here.door.deployment(EMAILS), await here.door.deployments()) == (None, ([], 0))
    made = await here.door.create(here.manifest())
    assert (made.replicas, made.total, made.settled, made.owner_uid) == (0, 0, True, here.pools[0].uid)
    with pytest.raises(ApiError, match="is there already"):
        await here.door.create(here.manifest())
    version = await here.door.scale(EMAILS, 3, "")
    assert version > made.version
    asked = (await here.door.deployments())[0][0]
    assert (asked.replicas, asked.total, asked.ready, asked.settled) == (3, 3, 0, False)
    found = await here.ready(3)
    assert found.settled
    assert found.version > version
    pods = await here.door.pods(EMAILS.namespace, found.selector)
    assert pods_of(found, pods, 0).ready == 3
    assert await here.door.pods("elsewhere", found.selector) == []


async def test_unready_replicas_go_first_and_then_the_youngest(machine: Callable[..., Machine]) -> None:
    here = await running(machine(local_pool(container=STUBBORN, runtime="Any")), 4)
    await here.ready(4)
    here.row("emails-1").state = ReplicaState.STARTING
    await here.door.scale(EMAILS, 2, "")
    ending = [row.name for row in here.door.replicas(EMAILS) if row.state is ReplicaState.ENDING]
    assert ending == ["emails-1", "emails-4"]
    found = await here.door.deployment(EMAILS)
    assert found is not None
    assert (found.total, found.terminating, found.settled) == (2, 2, True)
    # Those that end are nobody's replicas any more: new ones take their place.
    await here.door.scale(EMAILS, 3, "")
    assert [row.name for row in here.door.replicas(EMAILS)][-1] == "emails-5"


async def test_of_those_that_are_ready_the_lowest_deletion_cost_goes_first(machine: Callable[..., Machine]) -> None:
    here = await running(machine(local_pool(container=STUBBORN, runtime="Any")), 3)
    await here.ready(3)
    await here.door.mark(EMAILS.namespace, "emails-2", here.row("emails-2").uid, LOWEST_COST)
    await here.door.mark(EMAILS.namespace, "emails-1", "another", LOWEST_COST)
    rows = live_pods(await here.door.pods(EMAILS.namespace, "corral.dev/pool=emails"))
    assert [(row.name, row.marked) for row in rows] == [("emails-1", False), ("emails-2", True), ("emails-3", False)]
    await here.door.scale(EMAILS, 2, "")
    assert [row.name for row in here.door.replicas(EMAILS) if row.state is ReplicaState.ENDING] == ["emails-2"]
    assert await here.door.autoscalers(EMAILS.namespace) == []


async def test_the_loop_hears_of_every_deployment_that_changed(machine: Callable[..., Machine]) -> None:
    here = await running(machine(local_pool(container=SLEEP, runtime="Any")), 2)
    heard: list[Deployment] = []
    watching = asyncio.create_task(here.door.run(heard.append))
    await eventually(lambda: heard and heard[-1].ready == 2)
    number = len(heard)
    pid = here.row("emails-1").pid
    assert pid is not None
    os.kill(pid, 9)
    await eventually(lambda: heard[-1].ready == 1)
    assert (len(heard), [row.version for row in heard]) == (number + 1, sorted({row.version for row in heard}))
    assert here.told == ["emails-1 was ended by SIGKILL; started anew in 1 s"]
    watching.cancel()


async def test_a_deployment_may_be_made_while_the_processes_are_looked_at(machine: Callable[..., Machine]) -> None:
    here = await running(machine(local_pool(container=SLEEP), local_pool("other", container=SLEEP)), 1)
    looking = asyncio.create_task(here.door._look())
    await asyncio.sleep(0)
    assert not looking.done()
    await here.door.create(here.manifest(1))
    await looking


async def test_a_drain_lets_those_finish_that_end_already_and_starts_none(machine: Callable[..., Machine]) -> None:
    here = await running(machine(local_pool(container=STUBBORN, runtime="Any")), 2)
    for name in ("emails-1", "emails-2"):
        await eventually(lambda name=name: "here" in here.row(name).log.read_text())
    await here.door.scale(EMAILS, 1, "")
    draining = asyncio.create_task(here.door.drain())
    logs = [here.folder / f"emails-{number}.log" for number in (1, 2)]
    await eventually(lambda: all("term" in log.read_text() for log in logs))
    await here.door.scale(EMAILS, 3, "")
    assert len(here.door.replicas(EMAILS)) == 2
    assert [log.read_text().count("term") for log in logs] == [1, 1]
    here.door.hurry()
    await eventually(lambda: all(log.read_text().count("term") == 2 for log in logs))
    assert not draining.done()
    pids = [row.pid for row in here.door.replicas(EMAILS)]
    here.door.kill()
    await draining
    assert here.door.replicas(EMAILS) == ()
    assert not any(alive(pid) for pid in pids if pid is not None)


async def test_replicas_that_died_alike_share_a_line(tmp_path: Path) -> None:
    def died(name: str, trouble: str, state: ReplicaState = ReplicaState.WAITING) -> Replica:
        row = Replica(name, ["x"], {}, tmp_path / name, False, 1.0, state)
        row.trouble = trouble
        return row

    rows = [died(f"emails-{number}", "ended with exit code 2: no") for number in (1, 2, 3)]
    rows += [died("emails-4", "was ended by SIGKILL"), died("emails-5", "was killed", ReplicaState.GONE)]
    rows += [died("emails-6", "not over yet", ReplicaState.ENDING)]
    assert obituaries(rows) == [
        "emails-1 and 2 others ended with exit code 2: no; started anew in 0 s",
        "emails-4 was ended by SIGKILL; started anew in 0 s",
        "emails-5 was killed",
    ]
    assert obituaries(rows) == []


def test_what_a_replica_will_miss_is_told_and_what_it_cannot_do_without_is_refused(
    machine: Callable[..., Machine],
) -> None:
    misses = machine(local_pool(container={**SLEEP, "envFrom": [{"secretRef": {"name": "mailer"}}]}))
    assert misses.door.check(misses.pools[0]) == [
        "Secret mailer (envFrom) is not here; set what the worker needs of it in the environment of corral up"
    ]
    source = {"secretKeyRef": {"name": "mailer", "key": "token"}}
    needs = machine(local_pool(container={**SLEEP, "env": [{"name": "TOKEN", "valueFrom": source}]}))
    with pytest.raises(ConfigurationError, match="set TOKEN in the environment of corral up"):
        needs.door.check(needs.pools[0])


def test_an_address_that_is_none_is_refused_without_being_quoted(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine(local_pool(container=SLEEP))
    monkeypatch.setattr(here.door, "_url", "http://:s3cret@host")
    with pytest.raises(ConfigurationError, match=r"the address of Redis: .*it begins with 'http'") as caught:
        here.door.check(here.pools[0])
    assert "s3cret" not in str(caught.value)
