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
from corral.slots import Slots
from corral.worker import Worker

logger = logging.getLogger("corral.process")


def serve(workers: Sequence[Worker], settings: Settings) -> int:
    """Run workers until a signal ends them; gives the exit code. Raises ConfigurationError."""
    check_queues(workers, settings)
    code = 1
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(workers, settings))
            code = 0
        except ConfigurationError:
            raise
        except Exception:
            logger.critical("the workers broke", exc_info=True)
        finally:
            if any(shift.stuck or shift.drain.handed_back for shift in _shifts(workers)):
                # What was cut short may run on in a thread, beside its job's next run, and hold the interpreter up.
                logging.shutdown()
                sys.stdout.flush()
                os._exit(code)
    return code


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
    Shutdown(workers, settings.grace, asyncio.get_running_loop()).install()
    metrics, vitals = Metrics(), Vitals(settings.livez_stall)
    health = HealthServer(vitals, metrics.render, port=settings.port)
    health.start()
    budget = Slots(settings.concurrency)
    side = [asyncio.create_task(turn(vitals)), asyncio.create_task(_readiness(workers, vitals))]
    try:
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                # Workers that leave it to the environment share the one budget that it names.
                slots = None if worker.concurrency else budget
                group.create_task(worker.run(settings=settings, metrics=metrics, slots=slots))
            vitals.started()
            logger.info(
                "%sserving %s with probes and metrics on port %d",
                f"pool {settings.pool}: " if settings.pool else "",
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
