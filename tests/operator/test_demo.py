"""`corral demo` as a user runs it: a process of its own, its plain output, its exit code, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from corral_operator.demo_load import MAILS, THUMBNAILS, is_doomed, nodes_share, rising
from node import node_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = rising()
REMINDER = 1
JOBS = sum(len(jobs) for part in PARTS for jobs in part.values()) + len(nodes_share()) + REMINDER
DOOMED = sum(is_doomed(job.name) for part in PARTS for jobs in part.values() for job in jobs)

# A shell's background job ignores Ctrl-C and hands that down to us: begin as from a terminal.
START = """
import signal, sys
from corral.cli import main
from corral_operator import demo_load, demo_plot, demo_run
signal.signal(signal.SIGINT, signal.default_int_handler)
parts = demo_load.rising()
{change}
sys.exit(main(["demo"]))
"""

# The same acts with less to do between them.
SMALL = "demo_load.rising, demo_plot.ASLEEP_S = lambda: parts[:1], 1.0"
SMALL_JOBS = sum(map(len, PARTS[0].values())) + len(nodes_share()) + REMINDER


class Demo:
    """One `corral demo` whose output is read line by line.

    `temp` is where it may put its folder, and lies in the current one. `change`: Python that runs before it; `env`: more
    environment.
    """

    def __init__(self, temp: Path, change: str = "", **env: str) -> None:
        self.temp = temp
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(change=change)],
            cwd=temp.parent,
            env={**os.environ, "TMPDIR": str(temp), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, word: str) -> str:
        """The next line with this word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if word in line:
                return line
        pytest.fail(f"the demo ended without a line with {word!r}:\n{self.text}")

    def ended(self) -> int:
        """Read the rest; gives the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(10)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def port(self) -> int:
        found = re.search(r"redis://127\.0\.0\.1:(\d+)", self.text)
        assert found is not None, self.text
        return int(found[1])

    def summed(self, what: str) -> int:
        """A number of the summary."""
        return int(self.row(what)[0].replace(",", ""))

    def row(self, what: str) -> list[str]:
        """The words of a row of the summary, after its first."""
        found = re.search(rf"^{what} +(.+)", self.text, re.MULTILINE)
        assert found is not None, f"no {what} in\n{self.text}"
        return found[1].split()

    def assert_in_order(self, *words: str) -> None:
        """Lines with these words, one after the other."""
        rest = iter(self.lines)
        for each in words:
            assert any(each in line for line in rest), f"no {each!r} where it should be in\n{self.text}"

    def assert_nothing_left(self) -> None:
        assert self.workers() == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), 1)
        assert list(self.temp.iterdir()) == []

    def workers(self) -> list[str]:
        """Processes that were told of its server."""
        address = f"REDIS_URL=redis://127.0.0.1:{self.port}/".encode()
        return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if address in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # somebody else's, or gone meanwhile
        return b""


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    return folder


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Demos that end with the test, whatever becomes of it."""
    running: list[Demo] = []
    yield running
    for demo in running:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(10)
        assert demo.process.stdout is not None
        demo.process.stdout.close()


@pytest.mark.timeout(120)
def test_the_demo_shows_pools_from_zero_and_back_and_counts_every_job(temp: Path, demos: list[Demo]) -> None:
    # Settings and modules of the user's own must not reach the demo's workers.
    (temp.parent / "mails.py").write_text("raise SystemExit('not the mails of the demo')")
    demo = Demo(temp, REDIS_URL="redis://nobody.invalid:1", CORRAL_PREFIX="mine", CORRAL_QUEUES="other")
    demos.append(demo)
    assert demo.ended() == 0, demo.text
    assert demo.summed("jobs") == JOBS == demo.summed("completed") + demo.summed("failed")
    assert demo.summed("failed") == DOOMED
    # Every second flaky job fails once, the others twice.
    assert demo.summed("retries") == 75
    assert demo.summed("lost") == 0
    demo.assert_in_order("mails: 1 replica: ", "mails: waiting", "SIGKILL) while it held", "have been recovered")
    demo.assert_in_order("thumbnails: 1 replica: ", "thumbnails: waiting", "thumbnails: 0 replicas: nothing is")
    demo.assert_in_order(
        "every queue is empty and every pool at zero",
        "added a mail that is due in",
        "mails: waiting 0, active 0, delayed 1, replicas 0 of 0",
        "mails left zero",
        "replicas 1 of 1",
        "mails: waiting 0, active 0, delayed 0, replicas 0 of 0",
        "every pool is back at zero",
    )
    held = re.search(r"SIGKILL\) while it held (\d+) jobs", demo.text)
    assert held is not None
    assert demo.summed("recovered") >= int(held[1]) >= 3
    assert re.search(r"^woken +[\d,]+ ms .* its pool left zero .* before that$", demo.text, re.MULTILINE)
    for pool, fewest in ((MAILS, 2), (THUMBNAILS, 1)):
        jobs, p50, _, p95, _, most = (word.replace(",", "") for word in demo.row(pool))
        assert int(jobs) > 100
        assert 0 <= int(p50) <= int(p95)
        assert fewest <= int(most) <= 3
    assert all(line.isprintable() for line in demo.lines), "plain lines hold no control characters"
    if node_missing() is None:
        assert "100 of them added by Node's BullMQ 6" in demo.text
    demo.assert_nothing_left()


@pytest.mark.timeout(120)
def test_a_job_that_vanishes_is_told_and_makes_the_exit_code_1(temp: Path, demos: list[Demo]) -> None:
    demo = Demo(temp, SMALL, PATH=str(temp))
    demos.append(demo)
    demo.read_until("Node's BullMQ: not found, all jobs added from Python (node is not on PATH)")
    with redis.Redis(port=demo.port) as client:
        assert client.delete("bull:mails:node-later-9") == 1
    assert demo.ended() == 1, demo.text
    assert demo.summed("lost") == 1
    assert demo.summed("jobs") == SMALL_JOBS == demo.summed("completed") + demo.summed("failed") + 1
    assert demo.lines[-1] == "node-later-9 is gone: no list holds it"
    assert "nobody was killed" in demo.text
    demo.assert_nothing_left()


def test_jobs_that_are_unfinished_when_time_is_up_count_as_lost(temp: Path, demos: list[Demo]) -> None:
    # Nobody waits for the workers: the pool of the mails would have to keep one for the delayed ones.
    demo = Demo(temp, f"{SMALL}; demo_run.ACTS_S = 0.7", PATH=str(temp))
    demos.append(demo)
    assert demo.ended() == 1, demo.text
    assert "not over after 0.7 s" in demo.lines
    assert "node-later-9 is still delayed" in demo.lines or demo.lines[-1].startswith("and ")
    assert "no pool was woken" in demo.text
    demo.assert_nothing_left()


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "killed mails-"),
        (signal.SIGTERM, "replicas 1 of 1"),
        (signal.SIGHUP, "mails: 1 replica: "),
    ],
)
def test_a_signal_in_the_middle_ends_it_cleanly(
    number: signal.Signals, when: str, temp: Path, demos: list[Demo]
) -> None:
    demo = Demo(temp)
    demos.append(demo)
    demo.read_until(when)
    assert demo.workers() != []
    demo.process.send_signal(number)
    assert demo.ended() == 130, demo.text
    assert "interrupted; workers and server have been ended" in demo.lines[-1]
    demo.assert_nothing_left()
