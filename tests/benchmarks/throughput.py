"""Jobs per second of one worker process, beside BullMQ's on Node, interleaved in one run.

Each run empties a real Redis, adds no-op jobs, starts one worker process with its defaults (ours with its log line
for every job, written to /dev/null) and reads from the stored finish times how long the jobs took: start-up does not
count. Peers take turns, so that a machine that slows down slows both; the ratio is taken round by round.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "parts"))

from corral import JobSpec, Queue  # noqa: E402
from servers import RedisServer, free_port  # noqa: E402  (a part of the tests, not a package)

QUEUE = "bench"
DEADLINE_S = 120.0


def command(peer: str, concurrency: int, url: str, port: int) -> tuple[list[str], dict[str, str]]:
    """What starts a worker of a peer, and its environment."""
    environ = {**os.environ, "REDIS_URL": url}
    if peer.startswith("bullmq"):
        return ["node", str(HERE / "noop_worker.mjs"), QUEUE, str(concurrency)], {**environ, "BULLMQ": peer[-1]}
    environ |= {"CORRAL_QUEUES": QUEUE, "CORRAL_CONCURRENCY": str(concurrency), "CORRAL_PORT": str(port)}
    environ |= {"PYTHONPATH": str(HERE)}
    if peer == "corral-quiet":
        environ["CORRAL_LOG_LEVEL"] = "warning"
    return [sys.executable, "-m", "corral", "work", "noop_worker:worker"], environ


async def fill(url: str, jobs: int) -> None:
    async with Queue(QUEUE, redis=url) as queue:
        for first in range(0, jobs, 1000):
            await queue.add_bulk([JobSpec("noop", {"n": n}) for n in range(first, min(first + 1000, jobs))])


def measure(server: RedisServer, peer: str, concurrency: int, jobs: int) -> tuple[float, float | None]:
    """One run: jobs per second, and outcomes written per call (ours only)."""
    client = server.client()
    client.flushall()
    asyncio.run(fill(server.url, jobs))
    port = free_port()
    argv, environ = command(peer, concurrency, server.url, port)
    worker = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + DEADLINE_S
        while client.zcard(f"bull:{QUEUE}:completed") < jobs:
            if time.monotonic() > until or worker.poll() is not None:
                raise SystemExit(f"{peer} did not finish {jobs} jobs")
            time.sleep(0.05)
        outcomes = per_call(port) if peer.startswith("corral") else None
    finally:
        worker.terminate()
        worker.wait(30)
    first = client.zrange(f"bull:{QUEUE}:completed", 0, 0, withscores=True)[0][1]
    last = client.zrange(f"bull:{QUEUE}:completed", -1, -1, withscores=True)[0][1]
    return (jobs - 1) * 1000 / max(1.0, last - first), outcomes


def per_call(port: int) -> float:
    """Outcomes written per settle call, from the worker's own metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    parts = {
        part: float(re.search(rf"corral_settle_batch_size_{part}{{.*?}} (\S+)", text)[1])  # type: ignore[index]
        for part in ("sum", "count")
    }
    return parts["sum"] / max(1.0, parts["count"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--peers", nargs="+", default=["bullmq6", "corral", "corral-quiet"])
    parser.add_argument("--jobs", type=int, default=0, help="default: 4000, 12000 or 20000, as concurrency grows")
    options = parser.parse_args()
    print(f"{'conc.':>5} {'peer':<13} {'jobs/s':>8} {'min':>8} {'max':>8}  {'ratio':>6}  outcomes/call")
    with RedisServer("redis") as server:
        for concurrency in options.concurrency:
            jobs = options.jobs or (4000 if concurrency < 5 else 12000 if concurrency < 30 else 20000)
            rates: dict[str, list[float]] = {peer: [] for peer in options.peers}
            outcomes: dict[str, float | None] = {}
            for _ in range(options.rounds):
                for peer in options.peers:
                    rate, outcomes[peer] = measure(server, peer, concurrency, jobs)
                    rates[peer].append(rate)
            show(concurrency, rates, outcomes)


def show(concurrency: int, rates: dict[str, list[float]], outcomes: dict[str, float | None]) -> None:
    """A line a peer: median rate, and the median over the rounds of the ratio to the first peer."""
    base = next(iter(rates.values()))
    for peer, own in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(own, base, strict=True))
        calls = outcomes[peer]
        print(
            f"{concurrency:>5} {peer:<13} {statistics.median(own):>8.0f} {min(own):>8.0f} {max(own):>8.0f}"
            f"  {ratio:>6.2f}  {'' if calls is None else f'{calls:.1f}'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
