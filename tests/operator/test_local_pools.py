"""`corral pools --up` and `corral explain --up`: what a `corral up` of this machine runs, told by itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from corral import Queue
from corral.errors import CorralError
from corral_command import Ended, corral
from corral_operator.deployment import Key
from corral_operator.local_pools import LocalPools, find_local_pools
from corral_operator.noticeboard import FILE, Noticeboard
from decided_pools import decided_pool
from reports import quiet
from up_process import UpProcess, local_pool
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APP = """
import asyncio
from corral import Job, Worker

async def run(job: Job) -> None:
    await asyncio.sleep(3600)

worker = Worker("emails", run)
"""
SECRET = {"args": ["work", "app:worker"], "env": [{"name": "PASSWORD", "value": "s3cret-of-the-pool"}]}


async def ask(up: UpProcess, *args: str) -> Ended:
    return await corral(None, *args, home=up.temp, temp=up.temp)


async def ready(up: UpProcess) -> None:
    """Its one replica is."""
    await eventually(lambda: up.told("replicas 1 of 1"), 20)


def told_in(folder: Path, pid: int, *names: str) -> None:
    bodies = [decided_pool(quiet(), present=0) for _ in names]
    for name, body in zip(names, bodies, strict=True):
        body["metadata"]["name"] = name
    folder.mkdir()
    (folder / FILE).write_text(json.dumps({"pid": pid, "pools": bodies}))


async def names_of(pools: LocalPools, namespace: str | None = None) -> Sequence[str]:
    return [body["metadata"]["name"] for body in await pools.list(namespace)]


@pytest.mark.timeout(120)  # seven processes one after the other
@pytest.mark.parametrize("args", [(), ("--dry-run",)], ids=["runs", "dry run"])
async def test_the_pools_of_corral_up_are_listed_and_explained(
    tmp_path: Path, redis7_url: str, args: tuple[str, ...]
) -> None:
    pools = [local_pool(container=SECRET), local_pool("others", replicas=0, queues=[{"name": "others"}])]
    with UpProcess(tmp_path / "up", pools, redis7_url, *args, source=APP) as up:
        async with Queue("emails", redis=redis7_url) as queue:
            await queue.add("send")
            await eventually(lambda: up.told("emails: 1 replica"), 20)
            if not args:
                await ready(up)

            async def listed() -> bool:
                rows = [row.split() for row in (await ask(up, "pools", "--up")).out.splitlines()]
                found = [row[:4] for row in rows[1:]]
                assert found == [["local", "emails", "1", "0" if args else "1"], ["local", "others", "0", "0"]], rows
                return True

            await eventually(listed, 20)
            (folder,) = up.temp.glob("corral-up-*")
            by_folder = await ask(up, "pools", "--up", str(folder), "-o", "json")
            assert [row["name"] for row in json.loads(by_folder.out)] == ["emails", "others"]
            explained = await ask(up, "explain", "emails", "--up")
            assert explained.out.startswith("local/emails\n  decision  ")
            assert "1 replica: " in explained.out
            by_hand = await ask(up, "explain", "others", "--up")
            assert "  automatic  without spec.replicas in the file; " in by_hand.out
            absent = await ask(up, "explain", "nowhere", "--up")
            assert (absent.code, absent.err) == (
                1,
                "corral: there is no WorkerPool nowhere; `corral pools --up` shows all\n",
            )
            assert "s3cret-of-the-pool" not in (folder / FILE).read_text()
            assert folder.stat().st_mode & 0o077 == 0
        up.ctrl_c()
        if not args:
            await eventually(lambda: up.told("ending 1 worker"))
            up.ctrl_c()
        assert await up.wait() == 0
        assert up.leftovers() == []
    gone = await ask(up, "pools", "--up")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err == f"corral: no `corral up` of yours runs on this machine: there is none in {up.temp}\n"


@pytest.mark.timeout(120)  # processes one after the other
async def test_a_pool_of_corral_up_is_made_automatic_again(tmp_path: Path, redis7_url: str) -> None:
    with UpProcess(tmp_path / "up", [local_pool(replicas=0)], redis7_url, source=APP) as up:
        async with Queue("emails", redis=redis7_url) as queue:
            await queue.add("send")
            await eventually(lambda: up.told("emails: 0 replicas: set by hand to 0"), 20)
            again = await ask(up, "auto", "emails", "--up")
            assert (again.code, again.out) == (
                0,
                "local/emails is automatic again: its replicas were set by hand to 0\n",
            )
            await ready(up)
            assert up.told("emails: automatic again")
            once_more = await ask(up, "auto", "emails", "--up")
            assert once_more.out == "local/emails is automatic already: its replicas are not set by hand\n"
            assert (await ask(up, "auto", "nowhere", "--up")).code == 1
            (folder,) = up.temp.glob("corral-up-*")
            (folder / "x.letter").write_text("nonsense")
            await eventually(lambda: not (folder / "x.letter").exists())
        up.ctrl_c()
        await eventually(lambda: up.told("ending 1 worker"))
        up.ctrl_c()
        assert await up.wait() == 0


async def test_a_corral_up_that_does_not_answer_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral_operator.local_pools.ANSWER_S", 0.1)
    body = decided_pool(quiet(), present=2, replicas=2)
    (tmp_path / FILE).write_text(json.dumps({"pid": os.getpid(), "pools": [body]}))
    with pytest.raises(CorralError, match=r"did not answer within 0\.1 s"):
        await LocalPools(tmp_path).make_automatic(Key("shop", "emails"))


async def test_of_several_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = tmp_path / "corral-up-a", tmp_path / "corral-up-b"
    told_in(first, os.getpid(), "emails", "others")
    assert await names_of(find_local_pools("")) == ["emails", "others"]
    told_in(second, os.getpid(), "third")
    with pytest.raises(CorralError, match=f"name one with --up FOLDER: {first}, {second}$"):
        find_local_pools("")
    assert await names_of(find_local_pools(str(second))) == ["third"]
    assert await names_of(find_local_pools(str(second)), "elsewhere") == []


async def test_what_a_killed_one_has_left_is_not_taken_for_a_running_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await ended.wait()
    told_in(folder := tmp_path / "corral-up-a", ended.pid, "emails")
    with pytest.raises(CorralError, match="no `corral up` of yours runs"):
        find_local_pools("")
    with pytest.raises(CorralError, match=r"runs in .*corral-up-a any more"):
        await find_local_pools(str(folder)).list(None)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "pools": []}'])
async def test_a_file_of_another_form_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CorralError, match="any more"):
        await LocalPools(tmp_path).list(None)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
async def test_what_another_user_tells_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told_in(folder := tmp_path / "corral-up-a", os.getpid(), "emails")
    os.chown(folder / FILE, 12345, 12345)
    with pytest.raises(CorralError, match="no `corral up` of yours runs"):
        find_local_pools("")


def test_a_folder_that_takes_no_file_disturbs_nobody(tmp_path: Path) -> None:
    shown: list[object] = []

    class View:
        def tell(self, text: str) -> None:
            shown.append(text)

        def show(self, rows: object) -> None:
            shown.append(rows)

    board = Noticeboard(tmp_path / "nowhere", View(), 0.0)
    board.tell("news")
    board.show(())
    board.show([])
    assert shown == ["news", (), []]
    (tmp_path / "nowhere").mkdir()
    board.show(())
    assert json.loads((tmp_path / "nowhere" / FILE).read_text()) == {"pid": os.getpid(), "pools": []}
