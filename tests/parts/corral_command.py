"""A `corral` command that comes to an end by itself, as a process: what it printed, and its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

_WITHIN = 20.0

# What a test's own environment must not lend to the command.
_FOREIGN = ("REDIS_", "CORRAL_", "KUBECONFIG", "KUBERNETES_")


@dataclass(frozen=True)
class Ended:
    """How it ended."""

    code: int
    out: str
    err: str


async def corral(kubeconfig: Path | None, *args: str, home: Path | None = None, temp: Path | None = None) -> Ended:
    """`corral ARGS` on the cluster of a kubeconfig; None: none is named, and there is none in `home`.

    `temp`: its folder for what is temporary.
    """
    async with running(kubeconfig, *args, home=home, temp=temp) as process:
        async with asyncio.timeout(_WITHIN):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def running(
    kubeconfig: Path | None, *args: str, home: Path | None = None, temp: Path | None = None
) -> AsyncIterator[Process]:
    """The same while it runs; killed at the end of the block if it still does."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    if kubeconfig is not None:
        env["KUBECONFIG"] = str(kubeconfig)
    if home is not None:
        env["HOME"] = str(home)
    if temp is not None:
        env["TMPDIR"] = str(temp)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "corral", *args), env=env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
