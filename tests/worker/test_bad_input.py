"""Bad input: each a clear error that names cause and cure; nothing lost, and the worker goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral import InvalidQueueName, PayloadNotJSON, PayloadTooLarge, Queue, State
from corral_process import CorralProcess
from servers import free_port
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis.asyncio

    from servers import RedisServer

PASSWORD = "hunter2-very-secret"

WORKER = """
from corral import Worker

async def run(job):
    return {"saw": job.data}

worker = Worker("q", run, concurrency=2)
"""

NOWHERE = f"redis://127.0.0.1:{free_port()}/0"


async def refused(process: CorralProcess, *wanted: str) -> str:
    """It ends with exit code 2 and one line for a person, that has these words; no traceback."""
    with process:
        assert await process.wait(20) == 2
        output = process.output
    assert "Traceback" not in output
    told = [line for line in output.splitlines() if line.startswith("corral: ")]
    assert len(told) == 1, output
    for word in wanted:
        assert word in told[0], told[0]
    return told[0]


# --- usage: exit code 2 ---


@pytest.mark.parametrize(
    ("args", "env", "wanted"),
    [
        (("nowhere:worker",), {}, ("no module 'nowhere'", "PYTHONPATH", "emails:worker")),
        (("deep.nowhere:worker",), {}, ("no module 'deep.nowhere'",)),
        (("app:nothing",), {}, ("'nothing' does not exist", "it has app:worker")),
        (("app:run",), {}, ("is function, not a Worker", "it has app:worker")),
        (("json:worker",), {}, ("'worker' does not exist", "it has no Worker at all")),
        (("",), {}, ()),
        ((":worker",), {}, ()),
        ((".app:worker",), {}, ()),
        ((), {}, ("CORRAL_WORKER", "corral work emails:worker")),
        (("app:worker",), {"CORRAL_QUEUES": "q,orders"}, ("CORRAL_QUEUES names orders", "served: q")),
        (("app:worker",), {"CORRAL_CONCURRENCY": "0"}, ("CORRAL_CONCURRENCY", "from 1 up", "'0'")),
        (("app:worker",), {"CORRAL_CONCURRENCY": "many"}, ("CORRAL_CONCURRENCY", "'many'")),
        (("app:worker",), {"CORRAL_GRACE": "soon"}, ("CORRAL_GRACE", "seconds", "'soon'")),
        (("app:worker",), {"CORRAL_GRACE": "-1"}, ("CORRAL_GRACE", "'-1'")),
        (("app:worker",), {"CORRAL_GRACE": "nan"}, ("CORRAL_GRACE", "'nan'")),
        (("app:worker",), {"CORRAL_PORT": "http"}, ("CORRAL_PORT", "'http'")),
        (("app:worker",), {"CORRAL_PORT": "70000"}, ("CORRAL_PORT",)),
        (("app:worker",), {"CORRAL_LOG_FORMAT": "xml"}, ("CORRAL_LOG_FORMAT", "'xml'", "json")),
        (("app:worker",), {"CORRAL_LOG_LEVEL": "loud"}, ("CORRAL_LOG_LEVEL", "'loud'", "info")),
        (("app:worker",), {"REDIS_URL": "localhost:6379"}, ("not a Redis URL", "redis://")),
        (("app:worker",), {"REDIS_URL": ""}, ("REDIS_URL is not set", "redis://127.0.0.1:6379")),
        (("app:worker",), {"REDIS_URL": f"http://:{PASSWORD}@host/0"}, ("not a Redis URL", "'http'")),
    ],
    ids=lambda part: " ".join(map(str, part.items() if isinstance(part, dict) else part)) or "nothing",
)
async def test_wrong_usage_ends_with_code_2_and_a_sentence(
    tmp_path: Path, args: tuple[str, ...], env: dict[str, str], wanted: tuple[str, ...]
) -> None:
    told = await refused(CorralProcess(tmp_path, WORKER, NOWHERE, env, args=args), *wanted)
    assert PASSWORD not in told


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("import not_installed_anywhere", ("needs 'not_installed_anywhere'", "not installed")),
        ("from corral import Nonsense", ("cannot be imported", "Nonsense", "app.py, line 1")),
        ("x = 1\n\nraise RuntimeError('no settings')", ("cannot be imported", "no settings", "app.py, line 3")),
        ("def broken(:\n", ("cannot be imported", "SyntaxError")),
        ("raise SystemExit(7)", ("cannot be imported", "SystemExit", "app.py, line 1")),
        ("from corral import Worker\nworker = Worker('a:b', print)", ("queue name 'a:b' holds a colon", "prefix")),
        ("from corral import Worker\nworker = Worker('', print)", ("a queue needs a name",)),
        ("from corral import Worker\nworker = Worker([], print)", ("the list of queues is empty",)),
        ("from corral import Worker\nworker = Worker('q', print, concurrency=0)", ("concurrency", "from 1 up")),
        ("from corral import Worker\nworker = Worker('q', None)", ("the worker has no processor to run",)),
        ("from corral import Worker\nworker = Worker(print)", ("names no queue", "CORRAL_QUEUES=emails")),
    ],
    ids=lambda part: part.splitlines()[-1] if isinstance(part, str) else "",
)
async def test_a_module_that_cannot_be_used_is_named_with_its_cause(
    tmp_path: Path, source: str, wanted: tuple[str, ...]
) -> None:
    await refused(CorralProcess(tmp_path, source, NOWHERE), *wanted)


async def test_a_queue_of_the_environment_with_a_colon_is_refused(tmp_path: Path) -> None:
    source = WORKER.replace('"q", run', "run")
    process = CorralProcess(tmp_path, source, NOWHERE, {"CORRAL_QUEUES": "fine,not:fine"})
    await refused(process, "'not:fine' holds a colon")


async def test_a_port_in_use_is_refused(tmp_path: Path, redis7: RedisServer) -> None:
    process = CorralProcess(tmp_path, WORKER, redis7.url, {"CORRAL_PORT": str(redis7.port)})
    await refused(process, "CORRAL_PORT", str(redis7.port))


@pytest.mark.parametrize("login", ["", f":{PASSWORD}x@", f"someone:{PASSWORD}x@"])
async def test_a_wrong_password_at_the_start_ends_with_code_2_and_is_not_printed(
    tmp_path: Path, new_server: Callable[..., RedisServer], login: str
) -> None:
    server = new_server("redis", password=PASSWORD)
    process = CorralProcess(tmp_path, WORKER, f"redis://{login}127.0.0.1:{server.port}/0")
    told = await refused(process, "password", "REDIS_URL")
    assert ("WRONGPASS" in told) is bool(login)
    assert PASSWORD not in process.output


async def test_a_password_that_changes_while_it_runs_does_not_end_it(
    tmp_path: Path, new_server: Callable[..., RedisServer]
) -> None:
    server = new_server("redis")
    with CorralProcess(tmp_path, WORKER, server.url) as process:
        await process.serving()
        with server.client() as client:
            await eventually(lambda: any(each["cmd"] == "bzpopmin" for each in client.client_list()), 20)
            client.config_set("requirepass", PASSWORD)
            client.client_kill_filter(_type="normal", skipme=True)

            async def told() -> bool:
                status, text = await process.get("/readyz")
                return status == 503 and "a password is needed" in text

            await eventually(told, 20)
            client.config_set("requirepass", "")
        async with Queue("q", redis=server.url) as queue:
            await queue.add("n")
            await eventually(lambda: _counted(queue, completed=1), 25)
        assert process.running


async def test_an_unreachable_redis_at_the_start_is_told_and_tried_again(tmp_path: Path) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"
    with CorralProcess(tmp_path, WORKER, url) as process:
        (told,) = await eventually(lambda: process.said("cannot be reached", "ERROR"), 20)
        for word in ("127.0.0.1", "is it running", "REDIS_URL", "trying again"):
            assert word in told["message"]
        await process.serving()
        assert process.running
        assert PASSWORD not in process.output


# --- producers: refused before anything is written ---


@pytest.mark.parametrize("name", ["a:b", "", ":"])
def test_a_queue_name_that_would_break_the_keys_is_refused(name: str) -> None:
    with pytest.raises(InvalidQueueName):
        Queue(name, redis=NOWHERE)


@pytest.mark.parametrize(
    "data",
    [float("nan"), {"deep": [float("inf")]}, {"set": {1}}, b"bytes", object(), "\ud800", {("tuple",): 1}],
    ids=["nan", "inf", "set", "bytes", "object", "surrogate", "key"],
)
async def test_data_that_is_not_json_is_refused_and_nothing_is_written(
    redis7_url: str, redis7_client: redis.asyncio.Redis, data: Any
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        with pytest.raises(PayloadNotJSON, match="data of job 'welcome' is not JSON"):
            await queue.add("welcome", data)
    assert await redis7_client.dbsize() == 0


async def test_data_over_its_size_limit_is_refused_and_nothing_is_written(
    redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        with pytest.raises(PayloadTooLarge, match="12 bytes of JSON, over its size_limit of 11"):
            await queue.add("n", "ééééé", size_limit=11)
        assert await redis7_client.dbsize() == 0
        await queue.add("n", "ééééé", size_limit=12)


# --- what other programs may have left in Redis ---


async def _counted(queue: Queue, **wanted: int) -> bool:
    counts = await queue.get_job_counts()
    assert {name: getattr(counts, name) for name in wanted} == wanted, counts
    return True


def _hash(**fields: str) -> dict[str, str]:
    """A job's hash as Node writes it, but for some fields; None leaves one out."""
    fine = {
        "name": "n",
        "data": "{}",
        "opts": '{"attempts":3}',
        "timestamp": "1795295085084",
        "delay": "0",
        "priority": "0",
    }
    return {name: value for name, value in (fine | fields).items() if value is not None}


# What is wrong -> the hash, and words of the reason that the job fails with.
CORRUPT: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "data-cut": (_hash(data='{"a":'), ("'data'", "not JSON")),
    "data-empty": (_hash(data=""), ("'data'", "not JSON")),
    "data-binary": (_hash(data=b"\xff\xfe"), ("'data'", "not JSON")),
    "data-missing": (_hash(data=None), ("'data'",)),
    "data-deep": (_hash(data="[" * 100_000), ("'data'", "not JSON")),
    "opts-cut": (_hash(opts="{"), ("'opts'",)),
    "opts-list": (_hash(opts="[1]"), ("'opts'",)),
    "name-missing": (_hash(name=None), ("'name'",)),
    "timestamp": (_hash(timestamp="yesterday"), ("'timestamp'", "not a number")),
    "attempts": (_hash(atm="x"), ("'atm'", "not a number")),
    "stacktrace": (_hash(stacktrace="{"), ("'stacktrace'", "not JSON")),
}


async def test_a_corrupt_job_fails_with_its_cause_and_the_others_are_worked(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await queue.add("first")
        for job_id, (fields, _) in CORRUPT.items():
            await redis7_client.hset(f"bull:q:{job_id}", mapping=fields)
            await redis7_client.lpush("bull:q:wait", job_id)
        await queue.add("last")
        with CorralProcess(tmp_path, WORKER, redis7_url) as process:
            await eventually(lambda: _counted(queue, completed=2, failed=len(CORRUPT), unfinished=0), 25)
            await eventually(lambda: len(process.job_ends) == len(CORRUPT) + 2)
            assert process.running
        for job_id, (_, wanted) in CORRUPT.items():
            reason = (await redis7_client.hget(f"bull:q:{job_id}", "failedReason")).decode()
            assert job_id in reason
            for word in wanted:
                assert word in reason
            assert await queue.get_job_state(job_id) is State.FAILED


async def test_odd_but_readable_fields_do_not_stop_a_job(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    odd: dict[str, dict[str, Any]] = {
        "no-opts": _hash(opts=None),
        "no-delay": _hash(delay=None),
        "no-priority": _hash(priority=None),
        "no-timestamp": _hash(timestamp=None),
        "fraction": _hash(timestamp="1795295085084.5", delay="0.0"),
        "exponent": _hash(timestamp="1.795295085084e+12"),
        "odd-opts": _hash(opts='{"attempts":"many","backoff":true,"removeOnComplete":"x","delay":[]}'),
        "binary-name": _hash(name=b"\xff"),
        "more": _hash(unknown="\x00", nrjid="x"),
    }
    async with Queue("q", redis=redis7_url) as queue:
        for job_id, fields in odd.items():
            await redis7_client.hset(f"bull:q:{job_id}", mapping=fields)
            await redis7_client.lpush("bull:q:wait", job_id)
        with CorralProcess(tmp_path, WORKER, redis7_url) as process:
            await eventually(lambda: _counted(queue, completed=len(odd), failed=0, unfinished=0), 25)
            assert not process.said(".", "ERROR")


async def test_many_ids_without_a_job_do_not_hold_up_those_that_have_one(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        # Removed by a program that knew the hashes only; more than a worker takes at once.
        await redis7_client.lpush("bull:q:wait", *(f"gone-{n}" for n in range(100)))
        await queue.add("fine")
        with CorralProcess(tmp_path, WORKER, redis7_url) as process:
            await eventually(lambda: _counted(queue, completed=1, failed=0, unfinished=0), 15)
            assert len(process.said("no job hash", "ERROR")) == 100


async def test_an_id_without_a_job_and_one_of_another_type_are_dropped_with_an_error(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    async with Queue("q", redis=redis7_url) as queue:
        await redis7_client.set("bull:q:text", "no hash")
        await redis7_client.rpush("bull:q:list", "no hash")
        await redis7_client.lpush("bull:q:wait", "missing", "text", "list", b"\xff\xfe", "0:123")
        await redis7_client.zadd("bull:q:prioritized", {"missing-too": 2**32})
        # Due already, so that the take promotes it.
        await redis7_client.zadd("bull:q:delayed", {"missing-later": 4096, "list": 4097})
        await queue.add("fine")
        await queue.add("fine", priority=3)
        with CorralProcess(tmp_path, WORKER, redis7_url) as process:
            await eventually(lambda: _counted(queue, completed=2, failed=0, unfinished=0), 25)
            await eventually(lambda: len(process.said("no job hash", "ERROR")) >= 7, 20)
            assert process.running
            told = "\n".join(line["message"] for line in process.said("no job hash"))
        for job_id in ("missing", "text", "list", "missing-too", "missing-later"):
            assert f"'{job_id}'" in told
        # What another program put there is left as it was.
        assert await redis7_client.get("bull:q:text") == b"no hash"
        assert await redis7_client.lrange("bull:q:list", 0, -1) == [b"no hash"]
        assert not await redis7_client.exists("bull:q:missing", "bull:q:missing-too", "bull:q:missing-later")


async def test_a_key_of_the_queue_with_another_type_is_told_and_the_other_queues_are_worked(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    source = WORKER.replace('"q", run', '["q", "broken"], run')
    await redis7_client.set("bull:broken:wait", "no list")
    async with Queue("q", redis=redis7_url) as queue, Queue("broken", redis=redis7_url) as broken:
        await queue.add("fine")
        with CorralProcess(tmp_path, source, redis7_url) as process:
            await eventually(lambda: _counted(queue, completed=1), 25)
            told = await eventually(lambda: process.said("value of another type", "ERROR"), 20)
            assert "is the prefix shared" in told[0]["message"]
            await redis7_client.delete("bull:broken:wait")
            await broken.add("mended")
            await eventually(lambda: _counted(broken, completed=1), 25)
            await queue.add("fine still")
            await eventually(lambda: _counted(queue, completed=2), 25)
            assert process.running


async def test_a_hash_that_vanishes_while_its_job_runs_is_told_and_the_worker_goes_on(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    source = WORKER.replace("return", "await asyncio.sleep(job.data.get('seconds', 0))\n    return")
    async with Queue("q", redis=redis7_url) as queue:
        job = await queue.add("vanishes", {"seconds": 1})
        with CorralProcess(tmp_path, "import asyncio\n" + source, redis7_url) as process:
            await eventually(lambda: _counted(queue, active=1), 25)
            await redis7_client.delete(f"bull:q:{job.id}")
            await eventually(lambda: process.said("was not written: its hash is gone", "ERROR"), 20)
            await queue.add("fine")
            await eventually(lambda: _counted(queue, completed=1), 25)
            (lost,) = [line for line in process.job_ends if line["job_id"] == job.id]
            assert lost["outcome"] == "lost"
        # No half of a job is left behind: a hash that holds only the end of it.
        assert not await redis7_client.exists(f"bull:q:{job.id}")


async def test_data_that_is_not_an_object_reaches_the_processor_as_it_is(
    tmp_path: Path, redis7_url: str, redis7_client: redis.asyncio.Redis
) -> None:
    values = {"null": None, "list": [1, None], "text": "text", "number": 1.5, "true": True}
    async with Queue("q", redis=redis7_url) as queue:
        for job_id, value in values.items():
            await redis7_client.hset(f"bull:q:{job_id}", mapping=_hash(data=json.dumps(value)))
            await redis7_client.lpush("bull:q:wait", job_id)
        with CorralProcess(tmp_path, WORKER, redis7_url):
            await eventually(lambda: _counted(queue, completed=len(values), failed=0), 25)
        for job_id, value in values.items():
            job = await queue.get_job(job_id)
            assert job is not None
            assert job.returnvalue == {"saw": value}


MISCHIEF = """
import asyncio, sys
from corral import Worker

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")

async def run(job):
    match job.name:
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancel":
            raise asyncio.CancelledError
        case "odd":
            raise Odd
        case "group":
            raise BaseExceptionGroup("several", [ValueError("one"), SystemExit(2)])
        case "recursion":
            return await run(job)
        case "surrogate":
            raise ValueError("bad \\ud800 text")
        case "stop":
            raise StopAsyncIteration
    return job.name

worker = Worker("q", run, concurrency=1)
"""


@pytest.mark.parametrize("mischief", ["exit", "interrupt", "cancel", "odd", "group", "recursion", "surrogate", "stop"])
@pytest.mark.parametrize("how", ["async", "thread"])
async def test_whatever_a_processor_raises_fails_its_own_job_only(
    tmp_path: Path, redis7_url: str, mischief: str, how: str
) -> None:
    source = MISCHIEF if how == "async" else MISCHIEF.replace("async def", "def").replace("await run", "run")
    async with Queue("q", redis=redis7_url) as queue:
        job = await queue.add(mischief)
        await queue.add("fine")
        with CorralProcess(tmp_path, source, redis7_url) as process:

            async def over() -> bool:
                return not process.running or await _counted(queue, completed=1, failed=1, unfinished=0)

            await eventually(over, 20)
            assert process.running, process.output[-3000:]
        failed = await queue.get_job(job.id)
        assert failed is not None
        assert failed.failed_reason
