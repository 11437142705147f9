"""The worker's image: what is in it and what is not, and that it works as a node runs it."""

from __future__ import annotations

import signal
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from corral import Queue
from unpacked_image import Contained
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from unpacked_image import UnpackedImage

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "manifests" / "examples"

# Says who it runs as, and what it could write.
CURIOUS = """
import os
from corral import Worker

def writable(folder):
    try:
        open(f"{folder}/probe", "w").close()
    except OSError as error:
        return error.strerror
    return "written"

async def run(job):
    return {
        "user": [os.getuid(), os.getgid(), os.getgroups()],
        "process": os.getpid(),
        "writable": {folder: writable(folder) for folder in ("/app", "/tmp", "/opt/corral")},
    }

worker = Worker("curious", run)
"""

SLOW = """
import asyncio
from corral import Worker

async def run(job):
    await job.update_progress(1)
    await asyncio.sleep(1)
    return "finished"

worker = Worker("slow", run)
"""


def test_it_says_what_it_is_and_runs_as_nobody(worker_image: UnpackedImage) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    config = worker_image.config
    assert "localhost/corral-worker:test" in worker_image.names
    assert (config["Entrypoint"], config["Cmd"]) == (["corral"], ["work"])
    assert (config["User"], config["WorkingDir"]) == ("65532:65532", "/app")
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels.keys() == {"title", "description", "licenses", "source", "version"}
    assert (labels["title"], labels["licenses"], labels["version"]) == ("corral-worker", "Apache-2.0", version)
    assert list(config["ExposedPorts"]) == ["8080/tcp"]


def test_the_runtime_is_in_it_and_nothing_of_the_operator(worker_image: UnpackedImage) -> None:
    (packages,) = (worker_image.root / "opt/corral/lib").glob("python3.*/site-packages")
    there = {path.name for path in packages.iterdir()}
    assert {"corral", "redis", "hiredis", "uvloop", "prometheus_client", "cronsim", "tzdata"} <= there
    assert not {"corral_operator", "kopf", "kubernetes", "yaml", "rich", "pip", "setuptools"} & there
    assert list((packages / "corral" / "__pycache__").glob("worker.*.pyc"))


def test_the_command_answers_without_the_operator(worker_image: UnpackedImage) -> None:
    told = worker_image.run("--version")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("corral ")
    told = worker_image.run("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "work " in told.stdout
    assert "demo" not in told.stdout
    told = worker_image.run("demo")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("corral: `corral demo` needs 'corral_operator'")


async def test_a_mounted_module_runs_as_nobody_on_a_root_that_nobody_writes(
    worker_image: UnpackedImage, tmp_path: Path, redis7_url: str
) -> None:
    async with Queue("curious", redis=redis7_url) as queue:
        job = await queue.add("look", {})
        with Contained(worker_image, tmp_path, redis7_url, CURIOUS) as corral:
            await corral.serving()
            await eventually(lambda: _completed(queue, job.id))
            told = await queue.get_job(job.id)
            assert told is not None
            assert told.returnvalue == {
                "user": [65532, 65532, []],
                "process": 1,
                "writable": dict.fromkeys(("/app", "/tmp", "/opt/corral"), "Read-only file system"),
            }
            await eventually(lambda: _ready(corral))
            assert "_created" not in (await corral.get("/metrics"))[1]
            corral.signal(signal.SIGTERM)
            assert await corral.wait() == 0


async def test_sigterm_to_process_1_lets_the_running_job_finish(
    worker_image: UnpackedImage, tmp_path: Path, redis7_url: str
) -> None:
    async with Queue("slow", redis=redis7_url) as queue:
        job = await queue.add("wait", {})
        with Contained(worker_image, tmp_path, redis7_url, SLOW) as corral:
            await corral.serving()
            await eventually(lambda: _begun(queue, job.id))
            corral.signal(signal.SIGTERM)
            assert await corral.wait() == 0
        assert await queue.get_job_state(job.id) == "completed"


async def test_the_example_is_an_image_with_the_code_of_a_user(
    new_image: Callable[[Path, Path], UnpackedImage], tmp_path: Path, redis7_url: str
) -> None:
    image = new_image(EXAMPLES, EXAMPLES / "Dockerfile")
    assert (image.config["Entrypoint"], image.config["Cmd"]) == (["corral"], ["work", "emails:worker"])
    async with Queue("emails", redis=redis7_url) as queue:
        job = await queue.add("welcome", {"to": "ada@example.com"})
        with Contained(image, tmp_path, redis7_url) as corral:
            await corral.serving()
            await eventually(lambda: _completed(queue, job.id))
            corral.signal(signal.SIGTERM)
            assert await corral.wait() == 0


async def _ready(corral: Contained) -> bool:
    return (await corral.get("/readyz"))[0] == 200


async def _completed(queue: Queue, job_id: str) -> bool:
    return await queue.get_job_state(job_id) == "completed"


async def _begun(queue: Queue, job_id: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and job.progress == 1
