"""What the README shows is what runs."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from corral import Queue, State
from corral_operator.demo_summary import Summary
from corral_operator.demo_tally import Tally
from waiting import eventually

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", README, re.DOTALL))


def test_the_readme_shows_a_worker_and_two_producers() -> None:
    assert set(BLOCKS) == {"emails.py", "producer.py", "bulk.py", "pool.yaml"}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_example_file_is_the_block_of_the_readme(name: str) -> None:
    assert (ROOT / "manifests" / "examples" / name).read_text("utf-8") == BLOCKS[name]


def test_every_make_command_of_the_readme_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = set(re.findall(r"(?:\$ |`)make ([a-z-]+)", README))
    assert {"demo", "test", "bench"} <= shown
    assert shown <= targets


def test_every_link_of_the_readme_into_the_repository_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_shows_the_summary_of_the_demo_as_it_is() -> None:
    nothing = Tally.of([])
    pools = {"mails": nothing, "thumbnails": nothing}
    told = Summary(nothing, pools, {}, None, "", "", "", ()).lines(0.0)
    shown = README[README.index("\njobs ") + 1 :].split("\n```")[0].splitlines()
    assert [line.partition(" ")[0] for line in shown] == [line.partition(" ")[0] for line in told]


async def test_the_worker_of_the_readme_runs_the_jobs_of_its_producers(redis7_url: str) -> None:
    command = re.search(r"REDIS_URL=\S+ corral (work \S+)", README)
    assert command is not None
    environ = {
        **os.environ,
        "REDIS_URL": redis7_url,
        "CORRAL_PORT": "0",
        "PYTHONPATH": str(ROOT / "manifests/examples"),
    }
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "corral", *command[1].split(), env=environ)
    try:
        for producer in ("producer.py", "bulk.py"):
            script = str(ROOT / "manifests" / "examples" / producer)
            run = await asyncio.create_subprocess_exec(
                sys.executable, script, env=environ, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await run.communicate()
            assert run.returncode == 0
            assert (b"1 delayed" if producer == "producer.py" else b"Counts(") in output
        async with Queue("emails", redis=redis7_url) as queue:

            async def all_done() -> bool:
                counts = await queue.get_job_counts()
                return counts.completed == 501 and counts.unfinished == 0

            await eventually(all_done, within=30)
            welcome = await queue.get_job("1")
            assert welcome is not None
            assert welcome.returnvalue == {"sent_to": "ada@example.com"}
            assert await queue.get_job_state("1") is State.COMPLETED
    finally:
        worker.terminate()
        assert await worker.wait() == 0
