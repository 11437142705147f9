"""Jobs that come and go on many queues, and workers that beat: what busy pools look like, without their pods.

    python traffic.py URL POOLS JOBS_PER_SECOND

Every queue `pool-N` gets its share of the jobs; each job waits, runs and ends within three seconds. Every pool has one
worker, which beats as Corral's do. A line `commands N` tells each second how many commands this was so far.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque
from typing import Any

import redis

from corral.beat_record import Beat
from corral.keys import Keys

BEAT_S = 3.0


class Line:
    """Commands that go out together, and how many there were."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._pipe = self._client.pipeline(transaction=False)
        self.sent = 0

    def call(self, *command: Any) -> None:
        self._pipe.execute_command(*command)

    def flush(self) -> None:
        self.sent += len(self._pipe)
        self._pipe.execute()


class QueueOfJobs:
    """One queue and its worker."""

    def __init__(self, number: int) -> None:
        self.name = f"pool-{number}"
        self._worker, self._pod = f"{self.name}-worker", f"{self.name}-0"
        self._keys = Keys(self.name)
        self._numbers = 0
        self._waiting: deque[str] = deque()
        self._running: deque[tuple[str, float]] = deque()
        self._ended = 0
        self._seconds = 0.0
        self._beat_at = random.uniform(0, BEAT_S)

    def add(self, line: Line, now_s: float) -> None:
        self._numbers += 1
        job_id, keys = str(self._numbers), self._keys
        line.call("INCR", keys.base + "id")
        line.call("HSET", keys.job(job_id), "name", "job", "data", "{}", "timestamp", int(now_s * 1000))
        line.call("LPUSH", keys.wait, job_id)
        line.call("XADD", keys.events, "MAXLEN", "~", 100, "*", "event", "waiting", "jobId", job_id)
        self._waiting.append(job_id)

    def step(self, line: Line, now_s: float) -> None:
        """What runs for a second ends; what waits is taken; the worker beats."""
        keys = self._keys
        while self._running and now_s - self._running[0][1] >= 1.0:
            job_id, since_s = self._running.popleft()
            line.call("DEL", f"{keys.job(job_id)}:lock")
            line.call("LREM", keys.active, 0, job_id)
            line.call("ZADD", keys.completed, int(now_s * 1000), job_id)
            line.call("HSET", keys.job(job_id), "finishedOn", int(now_s * 1000))
            self._ended += 1
            self._seconds += now_s - since_s
        while self._waiting:
            job_id = self._waiting.popleft()
            line.call("LMOVE", keys.wait, keys.active, "RIGHT", "LEFT")
            # Without a lock each would be an orphan, and be told of as one.
            line.call("SET", f"{keys.job(job_id)}:lock", f"{self._worker}:1")
            line.call("HSET", keys.job(job_id), "processedOn", int(now_s * 1000), "pb", self._pod)
            self._running.append((job_id, now_s))
        if now_s >= self._beat_at:
            self._beat_at = now_s + BEAT_S
            self._beat(line, now_s)

    def _beat(self, line: Line, now_s: float) -> None:
        taken = self._ended + len(self._running)
        beat = Beat(
            self._worker,
            busy=len(self._running),
            taken=taken,
            ended=self._ended,
            seconds=self._seconds,
            every=BEAT_S,
            pod=self._pod,
        )
        line.call("HSET", self._keys.workers, self._worker, beat.to_wire())
        line.call("ZADD", self._keys.beats, int(now_s * 1000), self._worker)


def main() -> None:
    url, pools, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    line, queues = Line(url), [QueueOfJobs(number) for number in range(pools)]
    owed, before = 0.0, time.time()
    while True:
        now_s = time.time()
        owed, before = owed + rate * (now_s - before), now_s
        for queue in queues:
            queue.step(line, now_s)
        while owed >= 1:
            owed -= 1
            random.choice(queues).add(line, now_s)
        line.flush()
        print(json.dumps({"commands": line.sent}), flush=True)
        time.sleep(max(0.0, 0.5 - (time.time() - now_s)))


if __name__ == "__main__":
    main()
