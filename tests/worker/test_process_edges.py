"""`corral work` ended before it has begun, and broken from within."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from corral_process import CorralProcess
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

SLOW_IMPORT = """
import pathlib, time

pathlib.Path("importing").touch()
time.sleep(60)
"""

# A loop of ours that breaks stands for any bug of ours.
BROKEN_LOOP = """
import corral.shift
from corral import Worker

async def broken(*args, **kwargs):
    raise ZeroDivisionError("of the test")

corral.shift.recover = broken

async def run(job):
    pass

worker = Worker("q", run)
"""


async def test_sigterm_during_the_import_of_the_users_module_ends_at_once(tmp_path: Path, redis7_url: str) -> None:
    with CorralProcess(tmp_path, SLOW_IMPORT, redis7_url) as process:
        await eventually((tmp_path / "importing").exists)
        process.signal(signal.SIGTERM)
        assert await process.wait(20) == 0


async def test_a_loop_that_breaks_ends_the_process_with_1_and_says_which(tmp_path: Path, redis7_url: str) -> None:
    with CorralProcess(tmp_path, BROKEN_LOOP, redis7_url) as process:
        assert await process.wait(20) == 1
        assert process.said("look for stalled jobs of q of the worker broke: ZeroDivisionError", "CRITICAL")
