"""A real BullMQ producer in Node, where there is one: a Node child that finds a bullmq and adds jobs with it.

Looked for in the checkout's tests/interop, in the folder that the demo was started in and above it, and in NODE_PATH.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from corral import JobSpec

WITHIN_S = 15.0
"""Seconds that Node may take, start included."""

SCRIPT = """
import { createRequire } from "node:module";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { folders, queue: name, connection, jobs } = JSON.parse(text);
const say = (answer) => console.log(JSON.stringify(answer));

const found = folders
  .map((folder) => createRequire(folder + "/_.js"))
  .flatMap((require) => ["bullmq6", "bullmq", "bullmq5"].map((name) => ({ require, name })))
  .find(({ require, name }) => { try { return require.resolve(name); } catch { return false; } });
if (found) {
  const { Queue } = found.require(found.name);
  const queue = new Queue(name, { connection });
  await queue.addBulk(jobs);
  await queue.close();
  say({ version: found.require(found.name + "/package.json").version });
} else {
  say({ missing: "no bullmq in " + folders.join(" or ") });
}
"""


class NodeMissing(Exception):
    """There is no BullMQ of Node here; the text says what is missing."""


def node_folders() -> list[Path]:
    """Where to look for a bullmq, if the demo is started here."""
    checkout = Path(__file__).resolve().parents[2] / "tests" / "interop"
    return [folder for folder in (checkout, Path.cwd()) if folder.is_dir()]


async def add_from_node(jobs: Sequence[JobSpec], queue: str, url: str, folders: Sequence[Path]) -> str:
    """Add jobs through the BullMQ that one of the folders has; gives its version. Raises NodeMissing.

    A Node that fails may have added some of them: jobs with ids of their own can safely be added again.
    """
    node = shutil.which("node")
    if node is None:
        raise NodeMissing("node is not on PATH")
    address = urlsplit(url)
    order = {
        "folders": [str(folder) for folder in folders],
        "queue": queue,
        "connection": {"host": address.hostname, "port": address.port, "maxRetriesPerRequest": None},
        "jobs": [{"name": job.name, "data": job.data, "opts": job.opts.to_wire()} for job in jobs],
    }
    answer = await _run(node, json.dumps(order))
    if "version" not in answer:
        raise NodeMissing(answer.get("missing", "node did not say what it did"))
    return answer["version"]


async def _run(node: str, order: str) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        node,
        "--input-type=module",
        "-e",
        SCRIPT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate(order.encode())
    except TimeoutError:
        raise NodeMissing(f"node did not end within {WITHIN_S:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise NodeMissing(f"node ended with {process.returncode}: {_error_in(err.decode(errors='replace'))}")
    answer: dict[str, str] = json.loads(out.decode().splitlines()[-1])
    return answer


def _error_in(stderr: str) -> str:
    """The line of Node's stack trace that says what happened."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), lines[-1] if lines else "it said nothing")
