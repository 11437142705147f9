"""What runs together: probes, the watch, the loop; and their end within seconds of SIGTERM."""

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from corral.health import HealthServer, Vitals, turn
from corral_operator.api import Api
from corral_operator.cluster import Cluster
from corral_operator.handlers import Watch
from corral_operator.leader import Leader
from corral_operator.metrics import OperatorMetrics
from corral_operator.pool_state import PoolState
from corral_operator.reconcile import Reconciler
from corral_operator.refusal import ApiError
from corral_operator.settings import OperatorSettings

SYNC_AGAIN_S = 3.0
"""Seconds until the pools are listed again, when that did not work at the start."""

logger = logging.getLogger("corral.operator")


class WatchEndedError(Exception):
    """kopf ended by itself; a new process begins with a new watch."""


async def keep(settings: OperatorSettings) -> None:
    """Until SIGTERM or Ctrl-C. Raises ConfigurationError for a set-up that cannot work, WatchEndedError."""
    metrics, vitals = OperatorMetrics(), Vitals(settings.livez_stall)
    api = await Api.connect(metrics.api_call)
    leader = await _leader(settings, metrics)
    health = HealthServer(vitals, metrics.render, port=settings.port)
    health.start()
    work = asyncio.create_task(_work(api, leader, settings, metrics, vitals))
    turning = asyncio.create_task(turn(vitals))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    logger.info("serving probes and metrics on port %d", health.port)
    try:
        with suppress(asyncio.CancelledError):
            await work
    finally:
        turning.cancel()
        health.stop()
        await api.close()
    logger.info("ended")


async def look_once(settings: OperatorSettings) -> Sequence[PoolState]:
    """List the pools, attend to each one time, and give what came of it. Raises ConfigurationError, ApiError."""
    metrics = OperatorMetrics()
    api = await Api.connect(metrics.api_call)
    reconciler = Reconciler(_cluster(api, settings), metrics)
    try:
        await reconciler.sync()
        return await reconciler.once()
    finally:
        await reconciler.close()
        await api.close()


def _cluster(api: Api, settings: OperatorSettings, leader: Leader | None = None) -> Cluster:
    leads = (lambda: True) if leader is None else leader.writes
    return Cluster(api, settings.namespaces, writes=not settings.dry_run, in_cluster=settings.in_cluster, leads=leads)


async def _leader(settings: OperatorSettings, metrics: OperatorMetrics) -> Leader | None:
    """None for one that needs none: it is alone, or writes nothing anyway."""
    if settings.lease is None or settings.dry_run:
        return None
    # In a pod the host's name is the pod's; what follows tells one process there from the next.
    me = f"{socket.gethostname()}_{uuid4().hex[:12]}"
    return Leader(await Api.connect(metrics.api_call), *settings.lease, me)


async def _work(
    api: Api, leader: Leader | None, settings: OperatorSettings, metrics: OperatorMetrics, vitals: Vitals
) -> None:
    cluster = _cluster(api, settings, leader)
    metrics.leads(lambda: cluster.writes)
    reconciler = Reconciler(cluster, metrics)
    died = asyncio.Event()
    watch = Watch(
        api.access,
        settings.namespaces,
        lambda pool, deleted: reconciler.roster.pool_changed(pool, deleted=deleted),
        lambda deployment, deleted: reconciler.roster.deployment_changed(deployment, deleted=deleted),
        died.set,
        metrics.watch_silent,
    )
    try:
        # Started is who asks; a restart would not bring the API server back.
        vitals.started()
        vitals.ready("the pools were not listed yet")
        await _first_sync(reconciler, vitals)
        watch.start()
        logger.info(
            "watching %s%s",
            f"namespaces {', '.join(settings.namespaces)}" if settings.namespaces else "all namespaces",
            "; dry run: nothing is written" if settings.dry_run else "",
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(reconciler.run())
            if leader is not None:
                group.create_task(leader.run(reconciler.take_over))
            group.create_task(_until(died))
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    finally:
        await asyncio.gather(_close(reconciler, leader), watch.stop())


async def _close(reconciler: Reconciler, leader: Leader | None) -> None:
    """First our own writes end, then another operator may begin."""
    await reconciler.close()
    if leader is not None:
        await leader.close()


async def _until(died: asyncio.Event) -> None:
    await died.wait()
    raise WatchEndedError("the watch ended; the log says why")


async def _first_sync(reconciler: Reconciler, vitals: Vitals) -> None:
    while True:
        try:
            await reconciler.sync()
        except ApiError as error:
            text = error.text
            if error.code == 404:
                text = "the cluster has no WorkerPool resource; install Corral's chart, or apply its files/workerpools.corral.dev.yaml"
            logger.warning("the pools cannot be listed: %s; again in %.0f s", text, SYNC_AGAIN_S)
            vitals.ready(text)
            await asyncio.sleep(SYNC_AGAIN_S)
        else:
            vitals.ready(None)
            return
