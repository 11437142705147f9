"""One run of `corral up`: read the file, find or start a Redis, keep the pools until Ctrl-C, drain."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvloop

from corral import logs
from corral.address import Tls, make_pool, read_address
from corral.errors import ConfigurationError
from corral_operator.embedded import EmbeddedServer
from corral_operator.local_run import LocalRun, local_run
from corral_operator.noticeboard import Noticeboard
from corral_operator.pool_file import read_pools
from corral_operator.sentences import count
from corral_operator.table import Pool
from corral_operator.up_view import open_view

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_ADDRESS = ("REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS", "REDIS_MASTER")


def perform(source: str, *, redis: str | None, dry_run: bool) -> int:
    """Until Ctrl-C or SIGTERM; gives the exit code. Raises ConfigurationError, CorralError."""
    pools = read_pools(_text(source), source)
    address = _address(redis)
    # The table says what the log would; what breaks is told there too.
    logs.configure("text", "error")
    with (
        _signals_kept(),
        _redis(address) as (url, server),
        tempfile.TemporaryDirectory(prefix="corral-up-") as folder,
    ):
        facts = [
            f"{count(len(pools), 'pool')} on {logs.redact(url)}",
            *([f"which is a {server.version} of this run alone; its jobs are gone at the end"] if server else []),
            "dry run: no worker is started" if dry_run else f"logs of the workers, until the end: {folder}",
        ]
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_keep(pools, url, Path(folder), facts, dry_run=dry_run))
        finally:
            # What is left to do is short, and leaves something behind when it is cut short.
            _answer_signals(signal.SIG_IGN)
    return 0


async def _keep(pools: Sequence[Pool], url: str, folder: Path, facts: Sequence[str], *, dry_run: bool) -> None:
    view = open_view(sys.stdout)
    board = Noticeboard(folder, view, time.time() * 1000)
    async with local_run(pools, url, folder, os.environ, board, writes=not dry_run) as run:
        with view:
            for fact in facts:
                view.pin(fact)
            keeping = asyncio.create_task(run.keep())
            _answer_signals(_stopper(keeping, run))
            with suppress(asyncio.CancelledError):
                await keeping
            if left := sum(len(replicas) for _, replicas in run.rows()):
                view.tell(f"ending {count(left, 'worker')}: running jobs finish; Ctrl-C again hands them back")
            await run.drain()
            view.tell("ended")


def _stopper(keeping: "asyncio.Task[None]", run: LocalRun) -> Callable[[int, FrameType | None], None]:
    """The first signal ends the keeping, each later one hurries the processes up.

    SIGHUP never hurries: that the terminal is gone says nothing of the jobs.
    """
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if not keeping.cancelling() and not keeping.done():
            keeping.cancel()
        elif number != signal.SIGHUP:
            run.processes.hurry()

    def answer(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is over, and everything with it
            loop.call_soon_threadsafe(stop, number)

    return answer


def _answer_signals(answer: "Callable[[int, FrameType | None], None] | signal.Handlers") -> None:
    for number in SIGNALS:
        # nohup, and a shell without job control, have them ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, answer)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Until the loop answers signals, all of them end the block as Ctrl-C does: what it started is cleaned up."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _answer_signals(signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _address(option: str | None) -> str | None:
    """The Redis that the user named; None for none. Raises ConfigurationError for one that cannot be used."""
    url = (option or "").strip()
    if not url:
        if not any(os.environ.get(word) for word in _ADDRESS):
            return None
        address = read_address()
        if address.tls != Tls():
            raise ConfigurationError(
                "REDIS_TLS_CA, REDIS_TLS_CERT and REDIS_TLS_KEY: corral up takes such files in the URL, like "
                "rediss://host:6379?ssl_ca_certs=ca.crt&ssl_certfile=tls.crt&ssl_keyfile=tls.key"
            )
        url = address.url
    make_pool(url)  # only to hear now what is wrong with it
    return url


@contextmanager
def _redis(address: str | None) -> Iterator[tuple[str, EmbeddedServer | None]]:
    """Its address; and the server, if it is one of our own."""
    if address is not None:
        yield address, None
    else:
        with EmbeddedServer() as server:
            yield server.url, server


def _text(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from None
