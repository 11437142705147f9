"""`corral up` as its users see it: a process with pools in a file, and workers that come and go."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from corral import JobSpec, Queue, State
from corral.cli import main
from up_process import UpProcess, alive, local_pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kubectl import Manifest
    from servers import RedisServer

# A job ends when its gate, a file, is there; it gives what its process is.
APP = """
import asyncio, os
from corral import Job, Worker

async def run(job: Job) -> dict:
    while not os.path.exists(job.data["gate"]):
        await asyncio.sleep(0.02)
    return {"pid": os.getpid(), "folder": os.getcwd(), "pod": os.environ["POD_NAME"]}

worker = Worker("emails", run)
"""

DIES = {"command": [sys.executable, "-c", "import sys; sys.exit('no such luck')"]}
STARTED_WITHIN = 20.0


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., UpProcess]]:
    """`up(manifests, redis_url, args..., **more)`: not started yet; killed at the end."""
    made: list[UpProcess] = []

    def make(manifests: list[Manifest], redis_url: str | None, *args: str, **more: Any) -> UpProcess:
        made.append(UpProcess(tmp_path / f"up-{len(made)}", manifests, redis_url, *args, source=APP, **more))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


class Gate:
    """Jobs end as soon as it is open. `data` is what tells them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.data = {"gate": str(path)}

    def open(self) -> None:
        self._path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


async def told(up: UpProcess, words: str, within: float = STARTED_WITHIN) -> str:
    return await eventually(lambda: up.told(words), within)


async def ended(up: UpProcess) -> None:
    """It has ended as it should, and left nothing."""
    assert await up.wait() == 0, up.output
    assert up.lines[-1] == "ended"
    assert up.stderr == ""
    assert up.leftovers() == []


async def returned(queue: Queue, job_id: str) -> dict[str, Any]:
    """What a job gave, when it has completed."""

    async def value() -> dict[str, Any] | None:
        job = await queue.get_job(job_id)
        return job.returnvalue if job is not None and job.finished_on else None

    return await eventually(value, STARTED_WITHIN) or {}


async def active(queue: Queue, job_id: str) -> None:
    async def taken() -> bool:
        return await queue.get_job_state(job_id) is State.ACTIVE

    await eventually(taken, STARTED_WITHIN)


# --- from nothing to what is needed, and back ---


async def test_a_pool_goes_from_zero_to_what_its_jobs_need_and_back(
    up: Callable[..., UpProcess], gate: Gate, tmp_path: Path
) -> None:
    with up([local_pool()], None) as process:
        url = (await told(process, "1 pool on redis://")).removeprefix("1 pool on ")
        await told(process, "emails: 0 replicas: nobody has ever created emails")
        async with Queue("emails", redis=url) as queue:
            jobs = await queue.add_bulk([JobSpec("mail", gate.data) for _ in range(3)])
            await told(process, "emails: 3 replicas: 3 jobs at 1 per replica")
            await told(process, "active 3, delayed 0, replicas 3 of 3")
            gate.open()
            rows = [await returned(queue, job.id) for job in jobs]
            await told(process, "emails: 0 replicas: nothing is ready, active or due")
            await told(process, "replicas 0 of 0")
        assert {row["pod"] for row in rows} == {"emails-1", "emails-2", "emails-3"}
        assert {row["folder"] for row in rows} == {str(tmp_path / "up-0")}
        await eventually(lambda: not any(alive(row["pid"]) for row in rows))
        process.ctrl_c()
        await ended(process)
        assert "\x1b" not in process.output
        # A decision is told once, not with every look.
        assert len([line for line in process.lines if line.startswith("emails: 3 replicas")]) == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2].partition("/")[0])), 1)


async def test_a_dry_run_decides_and_starts_nothing(up: Callable[..., UpProcess], redis7_url: str, gate: Gate) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        await queue.add_bulk([JobSpec("mail", gate.data) for _ in range(2)])
        with up([local_pool(container=DIES)], redis7_url, "--dry-run") as process:
            await told(process, "dry run: no worker is started")
            await told(process, "emails: 2 replicas: 2 jobs at 1 per replica")
            await told(process, "emails: waiting 2, active 0, delayed 0")
            process.ctrl_c()
            await ended(process)
    assert "died" not in process.output
    assert "no such luck" not in process.output


async def test_the_manifests_may_come_on_standard_input(up: Callable[..., UpProcess], redis7_url: str) -> None:
    with up([local_pool("first"), local_pool("second", container=DIES)], None, "--redis", redis7_url, stdin=True) as it:
        await told(it, f"2 pools on {redis7_url}")
        await told(it, "second: 0 replicas: nobody has ever created emails")
        await told(it, "first: Queue emails is served by pool second too")
        it.signal(signal.SIGTERM)
        await ended(it)


async def test_a_runtime_of_another_kind_runs_its_command_and_has_no_probes(
    up: Callable[..., UpProcess], redis7_url: str
) -> None:
    container = {"command": ["sh", "-c", "echo $CORRAL_QUEUES >$CORRAL_POOL; exec sleep 1000"]}
    with up([local_pool(container=container, runtime="Any", minReplicas=1)], redis7_url) as process:
        await told(process, "replicas 1 of 1")
        assert (process._folder / "emails").read_text() == "emails\n"
        process.ctrl_c()
        await ended(process)


# --- the end ---


async def test_ctrl_c_lets_running_jobs_finish(up: Callable[..., UpProcess], redis7_url: str, gate: Gate) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        job = await queue.add("mail", gate.data)
        with up([local_pool()], redis7_url) as process:
            await active(queue, job.id)
            process.ctrl_c()
            await told(process, "ending 1 worker: running jobs finish; Ctrl-C again hands them back")
            await eventually(lambda: "shutting down" in process.log_of("emails-1"))
            process.signal(signal.SIGHUP)  # the terminal goes: no reason to hurry
            late = await queue.add("mail", gate.data)
            # The figures go on, and nothing is started for what comes now.
            await told(process, "emails: waiting 1, active 1, delayed 0")
            assert await queue.get_job_state(job.id) is State.ACTIVE
            gate.open()
            await ended(process)
        assert re.fullmatch("emails: waiting 1, active 0, delayed 0, oldest .* s, replicas 0 of 0", process.lines[-2])
        assert await queue.get_job_state(late.id) is State.WAITING
        assert not alive((await returned(queue, job.id))["pid"])


async def test_a_second_ctrl_c_hands_running_jobs_back_and_costs_them_nothing(
    up: Callable[..., UpProcess], redis7_url: str, gate: Gate
) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        job = await queue.add("mail", gate.data)
        with up([local_pool()], redis7_url) as process:
            await active(queue, job.id)
            process.ctrl_c()
            await told(process, "1 ending")
            await eventually(lambda: "shutting down" in process.log_of("emails-1"))
            process.ctrl_c()
            await ended(process)
        back = await queue.get_job(job.id)
        assert back is not None
        assert await queue.get_job_state(job.id) is State.WAITING
        assert (back.attempts_made, back.stalled_counter) == (0, 0)


async def test_an_output_that_is_gone_ends_it_like_ctrl_c(
    up: Callable[..., UpProcess], redis7_url: str, gate: Gate
) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        process = up([local_pool()], redis7_url)
        reads, writes = os.pipe()
        process.start_on(writes)
        os.close(writes)
        job = await queue.add("mail", gate.data)
        await active(queue, job.id)
        os.close(reads)
        await queue.add("mail", gate.data)  # something to tell of
        await eventually(lambda: "shutting down" in process.log_of("emails-1"))
        assert await queue.get_job_state(job.id) is State.ACTIVE
        gate.open()
        assert await process.wait() == 0
        assert (process.stderr, process.leftovers()) == ("", [])
        await returned(queue, job.id)


async def test_when_it_is_killed_itself_its_workers_finish_and_end(
    up: Callable[..., UpProcess], redis7_url: str, gate: Gate
) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        job = await queue.add("mail", gate.data)
        with up([local_pool()], redis7_url) as process:
            await active(queue, job.id)
            await process.kill()
            await eventually(lambda: "shutting down" in process.log_of("emails-1"))
            gate.open()
            pid = (await returned(queue, job.id))["pid"]
            await eventually(lambda: not alive(pid))


async def test_when_it_is_killed_itself_its_server_ends(up: Callable[..., UpProcess]) -> None:
    with up([local_pool()], None) as process:
        port = int((await told(process, "1 pool on redis://")).rpartition(":")[2].removesuffix("/0"))
        await process.kill()

        def refused() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        await eventually(refused)


# --- workers that die ---


async def test_a_worker_that_dies_is_started_anew_ever_more_slowly(
    up: Callable[..., UpProcess], redis7_url: str
) -> None:
    with up([local_pool(container=DIES, minReplicas=1)], redis7_url) as process:
        await told(process, "emails-1 ended with exit code 1: no such luck; started anew in 1 s")
        await told(process, "emails-1 ended with exit code 1: no such luck; started anew in 2 s")
        assert process.output.count("no such luck") == 2
        await told(process, "replicas 0 of 1, 1 died, starts anew")
        process.ctrl_c()
        await ended(process)


async def test_a_worker_that_was_killed_is_replaced(up: Callable[..., UpProcess], redis7_url: str, gate: Gate) -> None:
    gate.open()
    async with Queue("emails", redis=redis7_url) as queue:
        with up([local_pool(minReplicas=1)], redis7_url) as process:
            job = await queue.add("mail", gate.data)
            first = (await returned(queue, job.id))["pid"]
            os.kill(first, signal.SIGKILL)
            await told(process, "emails-1 was ended by SIGKILL; started anew in 1 s")
            job = await queue.add("mail", gate.data)
            assert (await returned(queue, job.id))["pid"] != first
            process.ctrl_c()
            await ended(process)


async def test_a_program_that_does_not_exist_is_told(up: Callable[..., UpProcess], redis7_url: str) -> None:
    with up([local_pool(container={"command": ["no-such-program"]}, minReplicas=2)], redis7_url) as process:
        await told(process, "cannot be started: no-such-program: No such file or directory; started anew in 1 s")
        assert "emails-1 and 1 other cannot be started" in process.output
        process.ctrl_c()
        await ended(process)


# --- Redis ---


async def test_a_redis_that_is_away_is_told_within_ten_seconds_and_comes_back(
    up: Callable[..., UpProcess], new_server: Callable[..., RedisServer], gate: Gate
) -> None:
    gate.open()
    server = new_server()
    server.stop()
    with up([local_pool()], server.url) as process:
        await told(process, "1 pool on")
        line = await told(process, "emails: 0 replicas: queue emails cannot be read (Unreachable: ", 10.0)
        assert "is it running, and is the address in the URL of Redis right?" in line
        assert process.output.count("Unreachable") == 1
        server.start()
        async with Queue("emails", redis=server.url) as queue:
            job = await queue.add("mail", gate.data)
            await returned(queue, job.id)
        process.ctrl_c()
        await ended(process)


async def test_a_wrong_password_is_told_with_its_cure_and_no_password_is_ever_shown(
    up: Callable[..., UpProcess], new_server: Callable[..., RedisServer]
) -> None:
    server = new_server(password="the-right-one")
    url = server.url.replace("the-right-one", "s3cret-word")
    with up([local_pool(minReplicas=1)], url) as process:
        await told(process, "1 pool on redis://:***@127.0.0.1:")
        line = await told(process, "AuthFailed")
        assert "Redis refused the login (WRONGPASS): correct the user name or the password in the URL of Redis" in line
        with server.client() as client:
            client.config_set("requirepass", "s3cret-word")
        await told(process, "replicas 1 of 1")
        process.ctrl_c()
        await ended(process)
    assert "s3cret-word" not in process.output


# --- a terminal ---


async def test_a_terminal_shows_a_table_that_is_redrawn(up: Callable[..., UpProcess], redis7_url: str) -> None:
    control, terminal = pty.openpty()
    process = up([local_pool(container=DIES, minReplicas=2)], redis7_url, env={"TERM": "xterm", "COLUMNS": "80"})
    process.start_on(terminal)
    os.close(terminal)
    seen = bytearray()
    reading = threading.Thread(target=_read, args=(control, seen))
    reading.start()

    def shown(*words: str) -> bool:
        text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", seen.decode(errors="replace"))
        assert process.running, process.output
        return all(word in text for word in words)

    await eventually(lambda: shown("pool    waiting  active  delayed  oldest  replicas", "emails"), STARTED_WITHIN)
    await eventually(lambda: shown(f"1 pool on {redis7_url}", "0 of 2 ✗✗ 2 died, starts anew"), STARTED_WITHIN)
    await eventually(lambda: shown("2 replicas: nobody has ever created emails", "no such luck"))
    process.ctrl_c()
    assert await process.wait() == 0
    await asyncio.to_thread(reading.join)
    os.close(control)
    assert b"\x1b[?25h" in seen, "the cursor is shown again"
    assert process.leftovers() == []


def _read(control: int, seen: bytearray) -> None:
    while True:
        try:
            seen += os.read(control, 65536)
        except OSError:  # the other end is closed
            return


# --- what is wrong with the set-up ---


def refusal(
    capsys: pytest.CaptureFixture[str], folder: Path, manifest: Manifest | str, *args: str, file: str = "pools.yaml"
) -> str:
    """What `corral up` says when it ends with 2 and has started nothing."""
    text = manifest if isinstance(manifest, str) else yaml.safe_dump(manifest)
    (folder / "pools.yaml").write_text(text)
    before = os.listdir(folder)
    assert main(["up", str(folder / file) if file != "-" else file, *args]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("corral: ")
    assert "s3cret" not in shown.err
    assert os.listdir(folder) == before
    return shown.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For what is temporary too; and no Redis in the environment."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("REDIS_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_a_file_that_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "missing.yaml cannot be read: No such file or directory" in refusal(capsys, folder, "", file="missing.yaml")
    assert "pools.yaml holds no WorkerPool" in refusal(capsys, folder, "kind: Secret")
    assert "spec.maxReplicas must be a whole number" in refusal(capsys, folder, local_pool(maxReplicas="x"))
    assert "neither command nor args" in refusal(capsys, folder, local_pool(container={}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("kind: Secret"))
    assert "corral: - holds no WorkerPool" in refusal(capsys, folder, "", file="-")


def test_a_value_that_only_a_cluster_has_is_refused_with_the_cure(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mailer", "key": "token"}}}
    said = refusal(capsys, folder, local_pool(container={**DIES, "env": [token]}))
    assert "TOKEN comes from the cluster (valueFrom)" in said
    assert "set TOKEN in the environment of corral up" in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://:s3cret@host", "it begins with 'http'"),
        ("s3cret", "it has no scheme"),
        ("redis://:s3c#ret@host", "written %23"),
        ("redis://:s3cret@host?no_such_option=1", "the options of the Redis URL are not understood"),
    ],
)
def test_an_address_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], folder: Path, url: str, words: str
) -> None:
    assert words in refusal(capsys, folder, local_pool(), "--redis", url)


def test_the_redis_of_the_environment_is_taken_in_parts_too(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", "http://host")
    assert "REDIS_HOST must be a host name" in refusal(capsys, folder, local_pool())
    monkeypatch.setenv("REDIS_HOST", "host")
    monkeypatch.setenv("REDIS_TLS_CA", "ca.crt")
    assert "in the URL, like rediss://host:6379?ssl_ca_certs=ca.crt" in refusal(capsys, folder, local_pool())
