"""The operator as a process: until a signal, or for one look."""

import asyncio
import gc
import logging
import sys

import uvloop

from corral import logs
from corral_operator.pool_state import PoolState
from corral_operator.refusal import ApiError
from corral_operator.service import WatchEndedError, keep, look_once
from corral_operator.settings import OperatorSettings

NEW_OBJECTS = 50_000
"""Before Python looks for cycles among the new ones: more than a round over a thousand pools holds at once. By its own
700 it went through all that is remembered of all pools with nearly every round, and found nothing."""

logger = logging.getLogger("corral.operator")


def serve(settings: OperatorSettings) -> int:
    """Until SIGTERM or Ctrl-C; gives the exit code. Raises ConfigurationError."""
    _log(settings)
    gc.freeze()  # the modules stay anyway
    gc.set_threshold(NEW_OBJECTS, 20, 20)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(keep(settings))
    except WatchEndedError as error:
        logger.critical("%s", error)
        return 1
    return 0


def once(settings: OperatorSettings) -> int:
    """One look at every pool, one line for each; exit code 1 when one of them could not be served."""
    _log(settings)
    try:
        states = asyncio.run(look_once(settings))
    except ApiError as error:
        print(f"corral: the pools cannot be listed: {error.text}", file=sys.stderr)
        return 1
    for state in sorted(states, key=lambda state: state.key):
        print(line(state))
    if not states:
        print("there are no WorkerPools")
    return int(any(not served(state) for state in states))


def line(state: PoolState) -> str:
    """One pool: what there is, what there shall be, and why."""
    report = state.report
    if report is None:
        return f"{state.key}: the API server refused; the log says why"
    if report.problem is not None:
        return f"{state.key}: {report.problem.cause}: {report.problem.text}"
    assert report.decision is not None
    assert report.observed is not None
    return f"{state.key}: {report.observed.pods.present} -> {report.decision.text}"


def served(state: PoolState) -> bool:
    """Everything that a decision needs was there."""
    return state.report is not None and state.report.problem is None and not state.report.unknown


def _log(settings: OperatorSettings) -> None:
    logs.configure(settings.log_format, settings.log_level, also=("kopf",))
