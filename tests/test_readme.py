"""What the README shows is what runs."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from corral import Queue, State
from corral_operator.demo_summary import Summary
from corral_operator.demo_tally import Tally
from corral_operator.spec import read_spec
from waiting import eventually

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "manifests" / "examples"
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", README, re.DOTALL))


def test_the_readme_shows_workers_and_producers_of_every_kind() -> None:
    scripts = {"emails.py", "producer.py", "bulk.py", "report.py", "digest.py", "shop.py"}
    assert set(BLOCKS) == scripts | {"pool.yaml"}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_example_file_is_the_block_of_the_readme(name: str) -> None:
    assert (EXAMPLES / name).read_text("utf-8") == BLOCKS[name]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_pool_of_the_examples_can_be_read(path: Path) -> None:
    objects = [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one["kind"] == "WorkerPool"]
    pools = [read_spec(one["metadata"]["name"], "default", one["spec"]) for one in objects]
    assert pools or path.stem == "redis"


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


def environ_of(redis_url: str) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": redis_url, "CORRAL_PORT": "0", "PYTHONPATH": str(EXAMPLES)}


@asynccontextmanager
async def worker_of(worker: str, redis_url: str) -> AsyncIterator[None]:
    """`corral work WORKER`, as the README says it."""
    assert re.search(rf"(REDIS_URL=\S+|\$) corral work {worker}", README)
    arguments = ("-m", "corral", "work", worker)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ_of(redis_url))
    try:
        yield
    finally:
        process.terminate()
        assert await process.wait() == 0


async def said_by(redis_url: str, *arguments: str) -> str:
    """What a program in Python printed; it must end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environ_of(redis_url), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_the_worker_of_the_readme_runs_the_jobs_of_its_producers(redis7_url: str) -> None:
    async with worker_of("emails:worker", redis7_url), Queue("emails", redis=redis7_url) as queue:
        assert "1 delayed" in await said_by(redis7_url, str(EXAMPLES / "producer.py"))
        assert "Counts(" in await said_by(redis7_url, str(EXAMPLES / "bulk.py"))

        async def all_done() -> bool:
            counts = await queue.get_job_counts()
            return counts.completed == 501 and counts.unfinished == 0

        await eventually(all_done, within=30)
        welcome = await queue.get_job("1")
        assert welcome is not None
        assert welcome.returnvalue == {"sent_to": "ada@example.com"}
        assert await queue.get_job_state("1") is State.COMPLETED


async def test_the_flow_of_the_readme_gives_what_it_shows(redis7_url: str) -> None:
    shown = re.search(r"& python report.py\n(.*)\n```", README)
    assert shown is not None
    async with worker_of("report:worker", redis7_url):
        assert (await said_by(redis7_url, str(EXAMPLES / "report.py"))).strip() == shown[1]


async def test_the_schedule_and_the_debounced_job_of_the_readme_are_what_waits(redis7_url: str) -> None:
    for _ in range(2):  # run again, it changes what is there
        said = await said_by(redis7_url, str(EXAMPLES / "digest.py"))
        assert "delayed=2" in said
        assert "Swept(moved=0" in said
    async with Queue("emails", redis=redis7_url) as queue:
        (scheduler,) = await queue.get_job_schedulers()
        assert (scheduler.id, scheduler.tz) == ("digest", "Europe/Madrid")
        jobs = await queue.get_jobs([State.DELAYED])
        assert [job.data["words"] for job in jobs if job.name == "found"] == ["redis"]


async def test_the_view_of_the_readme_adds_one_job_for_two_clicks(redis7_url: str) -> None:
    said = await said_by(redis7_url, "-c", "import shop; print(shop.sign_up('ada@x'), shop.sign_up('ada@x'))")
    assert said.split() == ["1", "1"]
