"""One replica as a process of this machine: started, watched, started anew when it dies, told to end.

starting --ready--> ready --dies--> waiting --pause over--> starting
    any --SIGTERM--> ending --> gone

What it started goes with it, as a container's processes go with the first of them.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from corral_operator.last_words import last_words
from corral_operator.lifeline import Lifeline
from corral_operator.loopback import HOST, free_port
from corral_operator.pods import DELETION_COST

PROBE_S = 1.0
"""Seconds that a probe may take."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Between two starts of a process that dies: doubled each time."""

STEADY_S = 60.0
"""A process that lived so long is started anew as if it had never died."""

HURRY_S = 10.0
"""How long one may take that is told to hand its jobs back at once."""


class ReplicaState(StrEnum):
    """What it is doing."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """It died, and is started anew after a pause."""
    ENDING = "ending"
    GONE = "gone"


@dataclass(slots=True)
class Replica:
    """`probed`: it answers /readyz on its port (runtime Corral); else it is ready as soon as it runs.

    `grace_s`: how long it may take from SIGTERM to its end.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    probed: bool
    grace_s: float
    state: ReplicaState = ReplicaState.STARTING
    created_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    restarts: int = 0
    trouble: str | None = None
    """How it died last."""
    cost: str | None = None
    """Which replica goes first: the lowest, as the deletion cost of a pod."""
    _process: subprocess.Popen[bytes] | None = None
    _lifeline: Lifeline | None = None
    _port: int = 0
    _began: float = 0.0
    _again_at: float = 0.0
    _kill_at: float = float("inf")
    _deaths: int = 0

    def start(self) -> None:
        """Run it. A program that is not there counts as one that died."""
        self.state, self._began = ReplicaState.STARTING, time.monotonic()
        environment = dict(self.environment)
        try:
            if self.probed:
                # Many pods may have the same port, many processes may not.
                self._port = free_port()
                environment["CORRAL_PORT"] = str(self._port)
            with self.log.open("ab") as sink:
                self._process = subprocess.Popen(  # noqa: S603 - no shell; the words are the user's own manifest
                    self.command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    # Ctrl-C is for `corral up`, which then ends its replicas itself.
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            self._process = None
            what = getattr(error, "filename", None) or self.command[0]
            self._died(f"cannot be started: {what}: {getattr(error, 'strerror', None) or error}")
        else:
            self._lifeline = Lifeline(self._process.pid)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def look(self) -> bool:
        """See what became of it, and do what is due; True when its state changed."""
        before = (self.state, self.restarts)
        code = self._code()
        if self.state is ReplicaState.GONE:
            return False
        if self.state is ReplicaState.ENDING:
            self._end(code)
        elif self.state is ReplicaState.WAITING:
            if time.monotonic() >= self._again_at:
                self.restarts += 1
                self.start()
        elif code is not None:
            self._died(self._ended_how(code))
        elif self.state is ReplicaState.STARTING and await self._ready():
            self._begun()
        return before != (self.state, self.restarts)

    def stop(self) -> None:
        """SIGTERM: finish what runs, take nothing more. One that ends already is left to it."""
        if self.state not in (ReplicaState.ENDING, ReplicaState.GONE):
            self.state = ReplicaState.ENDING
            self._kill_at = time.monotonic() + self.grace_s
            self._terminate()

    def hurry(self) -> None:
        """SIGTERM once more to one that ends: hand back what runs now."""
        if self.state is ReplicaState.ENDING:
            self._kill_at = min(self._kill_at, time.monotonic() + HURRY_S)
            self._terminate()

    def kill(self) -> None:
        """SIGKILL, and back when it is dead: nothing outlives `corral up`."""
        if self._process is not None and self._code() is None:
            self._process.kill()
            self._process.wait()
            self._buried(self._process.pid)
        self.state = ReplicaState.GONE

    @property
    def again_in_s(self) -> float:
        """Seconds until it is started anew, while it waits for that."""
        return max(0.0, self._again_at - time.monotonic())

    @property
    def uid(self) -> str:
        """What tells it from all others of this `corral up`, where no name is given twice."""
        return self.name

    def pod(self) -> Mapping[str, Any]:
        """As the API server would tell of it."""
        metadata: dict[str, Any] = {
            "uid": self.uid,
            "name": self.name,
            "creationTimestamp": _stamp(self.created_at),
            "annotations": {} if self.cost is None else {DELETION_COST: self.cost},
        }
        if self.state is ReplicaState.ENDING:
            metadata["deletionTimestamp"] = _stamp(time.time())
        ready = self.state is ReplicaState.READY
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        if ready and self.ready_at is not None:
            condition["lastTransitionTime"] = _stamp(self.ready_at)
        return {
            "metadata": metadata,
            "status": {
                "phase": "Running",
                "conditions": [condition],
                "containerStatuses": [{"restartCount": self.restarts}],
            },
        }

    def _code(self) -> int | None:
        """How its process ended; None while it runs, or when there never was one."""
        if self._process is None:
            return None
        known, code = self._process.returncode, self._process.poll()
        if known is None and code is not None:
            self._buried(self._process.pid)
        return code

    def _buried(self, pid: int) -> None:
        """The process has ended."""
        with suppress(ProcessLookupError, PermissionError):  # it started none, or none that is left
            os.killpg(pid, signal.SIGKILL)
        if self._lifeline is not None:
            self._lifeline.release()

    def _terminate(self) -> None:
        if self._process is not None and self._code() is None:
            self._process.terminate()

    def _begun(self) -> None:
        if self.state is ReplicaState.STARTING:  # and was not told to end while it was asked
            self.state, self.ready_at = ReplicaState.READY, time.time()

    def _end(self, code: int | None) -> None:
        if self._process is None or code is not None:
            self.state = ReplicaState.GONE
        elif time.monotonic() >= self._kill_at:
            self.trouble = "did not end in time after SIGTERM and was killed"
            self._process.kill()

    def _ended_how(self, code: int) -> str:
        if code < 0:
            return f"was ended by {_named(-code)}"
        words = last_words(self.log)
        return f"ended with exit code {code}" + (f": {words}" if words else "")

    def _died(self, how: str) -> None:
        now = time.monotonic()
        self._deaths = 1 if now - self._began > STEADY_S else self._deaths + 1
        self._again_at = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._deaths - 1, 6))
        self.state, self.trouble = ReplicaState.WAITING, how

    async def _ready(self) -> bool:
        if not self.probed:
            return True
        try:
            async with asyncio.timeout(PROBE_S):
                reader, writer = await asyncio.open_connection(HOST, self._port)
                try:
                    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stamp(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()
