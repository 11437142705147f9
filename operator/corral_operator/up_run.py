"""One run of `corral up`: read the file, find or start a Redis, keep the pools until Ctrl-C, drain."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import uvloop

from corral import logs
from corral.errors import ConfigurationError
from corral_operator.embedded import EmbeddedServer
from corral_operator.local_run import local_run
from corral_operator.pool_file import read_pools
from corral_operator.sentences import count
from corral_operator.table import Pool
from corral_operator.up_view import UpView, open_view


def perform(source: str, *, redis: str | None, dry_run: bool) -> int:
    """Until Ctrl-C or SIGTERM; gives the exit code. Raises ConfigurationError, CorralError."""
    pools = read_pools(_text(source), source)
    # The table says what the log would; what breaks is told there too.
    logs.configure("text", "error")
    with (
        _redis(redis or os.environ.get("REDIS_URL")) as url,
        tempfile.TemporaryDirectory(prefix="corral-up-") as folder,
        open_view(sys.stdout) as view,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        view.tell(f"{count(len(pools), 'pool')} on {logs.redact(url)}; logs of the workers in {folder}")
        runner.run(_keep(pools, url, Path(folder), view, dry_run=dry_run))
    return 0


async def _keep(pools: Sequence[Pool], url: str, folder: Path, view: UpView, *, dry_run: bool) -> None:
    async with local_run(pools, url, folder, os.environ, view, writes=not dry_run) as run:
        keeping = asyncio.create_task(run.keep())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, keeping.cancel)
        with suppress(asyncio.CancelledError):
            await keeping
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, run.processes.hurry)
        view.tell("draining: running jobs finish; once more Ctrl-C hands them back")
        await run.drain()
        view.tell("ended")


@contextmanager
def _redis(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
    else:
        with EmbeddedServer() as server:
            yield server.url


def _text(source: str) -> str:
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from None
