"""One process of `corral work`: its workers, its probes, its signals, its end."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from corral.errors import ConfigurationError
from corral.health import HealthServer, Vitals, turn
from corral.metrics import Metrics
from corral.settings import Settings
from corral.shift import Shift
from corral.shutdown import Shutdown
from corral.worker import Worker

logger = logging.getLogger("corral.process")


def serve(workers: Sequence[Worker], settings: Settings) -> int:
    """Run workers until a signal ends them; gives the exit code. Raises ConfigurationError."""
    check_queues(workers, settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(workers, settings))
        finally:
            stuck = any(shift.stuck for shift in _shifts(workers))
            if stuck:
                # A thread that cannot be ended would keep the interpreter alive, and run on beside the job's next run.
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)
    return 0


def check_queues(workers: Sequence[Worker], settings: Settings) -> None:
    """Every queue of the pool must have a worker. Raises ConfigurationError: a pool must not scale for a queue that
    its code never reads."""
    served = {queue for worker in workers for queue in worker.queue_names(settings)}
    unserved = [queue for queue in settings.queues if queue not in served]
    if unserved:
        raise ConfigurationError(
            f"CORRAL_QUEUES names {', '.join(unserved)}, which no worker of this process serves "
            f"(served: {', '.join(sorted(served))}); correct the name, or leave the queue out of the Worker's code"
        )


def _shifts(workers: Sequence[Worker]) -> list[Shift]:
    return [worker.shift for worker in workers if worker.shift is not None]


async def _serve(workers: Sequence[Worker], settings: Settings) -> None:
    metrics, vitals = Metrics(), Vitals()
    health = HealthServer(vitals, metrics.render, port=settings.port)
    health.start()
    shutdown = Shutdown(lambda: _shifts(workers), settings.grace, asyncio.get_running_loop())
    shutdown.install()
    side = [asyncio.create_task(turn(vitals)), asyncio.create_task(_readiness(workers, vitals))]
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.run(settings=settings, metrics=metrics))
            vitals.started()
            logger.info(
                "serving %s with probes and metrics on port %d",
                ", ".join(sorted({queue for worker in workers for queue in worker.queue_names(settings)})),
                health.port,
            )
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        for task in side:
            task.cancel()
        health.stop()


async def _readiness(workers: Sequence[Worker], vitals: Vitals) -> None:
    while True:
        shifts = _shifts(workers)
        reasons = [shift.unready for shift in shifts if shift.unready]
        vitals.ready(reasons[0] if reasons else None if shifts else "starting")
        vitals.latency(max((shift.latency or 0.0 for shift in shifts), default=0.0))
        await asyncio.sleep(0.25)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop  # noqa: PLC0415  (does not exist for Windows)
    except ImportError:
        return None
    return uvloop.Loop
