"""A replica that is a process of this machine: its states, its pauses, its end, and what it leaves behind (nothing)."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from corral_operator import replica as module
from corral_operator.last_words import last_words
from corral_operator.pods import Starts
from corral_operator.replica import Replica, ReplicaState
from up_process import alive
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Says every SIGTERM, and goes on.
STUBBORN = "trap 'echo term' TERM; echo here; while :; do sleep 0.02; done"

# Answers 503 until a file is there, on the port that it is told.
SLOW = """
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" and os.path.exists(sys.argv[1]) else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["CORRAL_PORT"])), Answer).serve_forever()
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """`made(command...)`: a replica that is started; killed at the end."""
    rows: list[Replica] = []

    def make(*command: str, probed: bool = False, grace_s: float = 30.0) -> Replica:
        log = tmp_path / f"emails-{len(rows) + 1}.log"
        row = Replica(log.stem, command, dict(os.environ), log, probed, grace_s)
        rows.append(row)
        row.start()
        return row

    yield make
    for row in rows:
        row.kill()
        assert row.pid is None or not alive(row.pid)
        assert row._lifeline is None or row._lifeline._shell is None


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The replica's clock, which stands still."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return now


async def until(row: Replica, state: ReplicaState) -> None:
    async def there() -> bool:
        await row.look()
        return row.state is state

    await eventually(there)


async def said(row: Replica, text: str) -> None:
    await eventually(lambda: text in row.log.read_text())


async def test_one_that_is_not_probed_is_ready_as_soon_as_it_runs(made: Callable[..., Replica]) -> None:
    row = made("sleep", "1000")
    assert row.state is ReplicaState.STARTING
    assert await row.look()
    assert row.state is ReplicaState.READY
    assert not await row.look()


async def test_one_that_is_probed_is_ready_when_it_says_so(made: Callable[..., Replica], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    row = made(sys.executable, "-c", SLOW, str(gate), probed=True)
    await _asked(row)
    assert row.state is ReplicaState.STARTING
    assert Starts().with_pods([row.pod()]).seconds == ()
    gate.touch()
    await until(row, ReplicaState.READY)
    ((name, took),) = Starts().with_pods([row.pod()]).seconds
    assert (name, took > 0) == ("emails-1", True)


async def test_one_that_is_told_to_end_while_it_is_asked_does_not_become_ready(
    made: Callable[..., Replica], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = made(sys.executable, "-c", SLOW, str(tmp_path), probed=True)
    ask = Replica._ready

    async def asked_and_stopped(row: Replica) -> bool:
        if ready := await ask(row):
            row.stop()
        return ready

    monkeypatch.setattr(Replica, "_ready", asked_and_stopped)
    await until(row, ReplicaState.ENDING)
    await until(row, ReplicaState.GONE)
    assert row.trouble is None


async def _asked(row: Replica) -> None:
    async def answered() -> bool:
        await row.look()
        return "GET /readyz" in row.log.read_text()

    await eventually(answered)


async def test_one_that_dies_is_started_anew_after_pauses_that_double(
    made: Callable[..., Replica], now: list[float]
) -> None:
    row = made("false")
    pauses = []
    for restarts in range(7):
        assert row.restarts == restarts
        await until(row, ReplicaState.WAITING)
        assert row.trouble == "ended with exit code 1"
        pauses.append(row.again_in_s)
        now[0] += row.again_in_s - 0.01
        assert not await row.look()
        now[0] += 0.02
        assert await row.look()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_one_that_lived_long_is_started_anew_soon(made: Callable[..., Replica], now: list[float]) -> None:
    row = made("false")
    for _ in range(3):
        await until(row, ReplicaState.WAITING)
        now[0] += row.again_in_s
        await row.look()
        now[0] += 61
    await until(row, ReplicaState.WAITING)
    assert row.again_in_s == 1


async def test_a_signal_is_told_by_its_name_or_else_its_number(made: Callable[..., Replica]) -> None:
    for number, name in ((9, "SIGKILL"), (40, "signal 40")):
        row = made("sh", "-c", f"echo here; kill -{number} $$")
        await until(row, ReplicaState.WAITING)
        assert row.trouble == f"was ended by {name}"


async def test_a_replica_for_which_there_is_no_port_counts_as_one_that_died(
    made: Callable[..., Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else too many open files would end `corral up`, and with it all its workers in the middle of their jobs."""

    def none() -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(module, "free_port", none)
    row = made("sleep", "60", probed=True)
    assert (row.state, row.trouble) == (ReplicaState.WAITING, "cannot be started: sleep: Too many open files")
    monkeypatch.undo()
    await until(row, ReplicaState.STARTING)


async def test_an_exit_code_is_told_with_the_last_words(made: Callable[..., Replica]) -> None:
    row = made("sh", "-c", "echo first; echo no luck >&2; echo; exit 3")
    await until(row, ReplicaState.WAITING)
    assert row.trouble == "ended with exit code 3: no luck"


@pytest.mark.parametrize(
    ("command", "trouble"),
    [
        (("no-such-program", "a"), "cannot be started: no-such-program: No such file or directory"),
        (("/dev/null",), "cannot be started: /dev/null: Permission denied"),
        (("sleep", "\0"), "cannot be started: sleep: embedded null byte"),
    ],
)
async def test_a_program_that_cannot_be_run_counts_as_one_that_died(
    made: Callable[..., Replica], now: list[float], command: tuple[str, ...], trouble: str
) -> None:
    row = made(*command)
    assert (row.state, row.trouble, row.pid) == (ReplicaState.WAITING, trouble, None)
    now[0] += 1
    assert await row.look()
    assert (row.state, row.restarts, row.again_in_s) == (ReplicaState.WAITING, 1, 2)
    row.stop()
    await row.look()
    assert row.state is ReplicaState.GONE


async def test_stop_says_it_once_and_hurry_once_more(made: Callable[..., Replica]) -> None:
    row = made("sh", "-c", STUBBORN)
    await said(row, "here")
    row.hurry()  # nobody has told it to end yet
    row.stop()
    await said(row, "term\n")
    row.stop()
    row.hurry()
    await said(row, "term\nterm\n")
    await row.look()
    assert (row.state, row.log.read_text().count("term")) == (ReplicaState.ENDING, 2)
    assert "deletionTimestamp" in row.pod()["metadata"]


async def test_one_that_does_not_end_in_time_is_killed(made: Callable[..., Replica], now: list[float]) -> None:
    row = made("sh", "-c", STUBBORN, grace_s=30)
    await said(row, "here")
    row.stop()
    await said(row, "term")
    now[0] += 29
    row.stop()  # gives it no more time
    await row.look()
    assert row.pid is not None
    assert alive(row.pid)
    now[0] += 1
    await until(row, ReplicaState.GONE)
    assert row.trouble == "did not end in time after SIGTERM and was killed"


async def test_one_in_a_hurry_gets_less_time(made: Callable[..., Replica], now: list[float]) -> None:
    row = made("sh", "-c", STUBBORN, grace_s=300)
    await said(row, "here")
    row.stop()
    await said(row, "term")
    row.hurry()
    now[0] += module.HURRY_S
    await until(row, ReplicaState.GONE)


async def test_one_that_was_told_to_end_is_gone_and_not_dead(made: Callable[..., Replica]) -> None:
    row = made("sleep", "1000")
    row.stop()
    await until(row, ReplicaState.GONE)
    assert (row.trouble, row.restarts) == (None, 0)


@pytest.mark.parametrize("end", ["dies", "stopped", "killed"])
async def test_what_it_started_goes_with_it(made: Callable[..., Replica], end: str) -> None:
    row = made("sh", "-c", "sleep 1000 & echo $!; " + ("exit 1" if end == "dies" else "wait"))
    await said(row, "\n")
    child = int(row.log.read_text())
    if end == "stopped":
        row.stop()
    elif end == "killed":
        row.kill()
    await until(row, ReplicaState.WAITING if end == "dies" else ReplicaState.GONE)
    await eventually(lambda: not alive(child))


async def test_ctrl_c_is_not_for_the_replicas(made: Callable[..., Replica]) -> None:
    row = made("sleep", "1000")
    assert row.pid is not None
    assert os.getpgid(row.pid) == row.pid != os.getpgid(0)


def test_last_words_are_fit_for_a_line_of_somebody_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == ""
    log.write_bytes(b"")
    assert last_words(log) == ""
    log.write_bytes(b"first\n\x1b[31mredis://:s3cret@host \xff\a gone\x1b[0m\n \n")
    assert last_words(log) == "redis://:***@host \N{REPLACEMENT CHARACTER}? gone"
    log.write_bytes(b"x" * 100_000)
    assert last_words(log) == "x" * 300 + " ..."


async def test_a_killed_replica_is_started_anew(made: Callable[..., Replica], now: list[float]) -> None:
    row = made("sleep", "1000")
    await until(row, ReplicaState.READY)
    first = row.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(row, ReplicaState.WAITING)
    now[0] += 1
    await until(row, ReplicaState.READY)
    assert row.pid != first
