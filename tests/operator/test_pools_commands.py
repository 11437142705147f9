"""`corral pools`, `corral explain` and `corral auto` as processes, on a pretended API server."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from corral_command import corral, running
from kube_mock import TOKEN
from pools import pool

if TYPE_CHECKING:
    from pathlib import Path

    from kube_mock import KubeMock

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "replicas": 2,
    "desired": 2,
    "pods": {"ready": 2, "starting": 0, "terminating": 0, "unschedulable": 0},
    "counts": {"ready": 0, "waiting": 0, "prioritized": 0, "delayed": 0, "due": 0, "active": 1},
    "decision": {"text": "2 replicas: because the test says so", "reason": "Flow", "candidates": {"flow": 2}},
}
COMMANDS = (("pools",), ("explain", "emails"), ("auto", "emails"))


def add(kube: KubeMock, name: str = "emails", namespace: str = "default", **spec: Any) -> None:
    kube.add("workerpools", {**pool(name, **spec), "status": STATUS}, namespace)


def columns(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# --- pools ---


async def test_pools_tells_a_row_for_each_pool_of_the_namespace(empty_kube: KubeMock) -> None:
    add(empty_kube)
    add(empty_kube, "thumbnails")
    add(empty_kube, "others", "shop")
    ended = await corral(empty_kube.kubeconfig, "pools")
    assert (ended.code, ended.err) == (0, "")
    header, *rows = columns(ended.out)
    assert header == ["NAMESPACE", "NAME", "DESIRED", "READY", "BUSY", "WAITING", "OLDEST", "WHY", "AGE"]
    assert [row[:8] for row in rows] == [
        ["default", name, "2", "2", "1", "0", "-", "Flow"] for name in ("emails", "thumbnails")
    ]


async def test_pools_takes_another_namespace_and_all_of_them(empty_kube: KubeMock) -> None:
    for namespace, name in (("default", "emails"), ("shop", "others")):
        add(empty_kube, name, namespace)
    named = await corral(empty_kube.kubeconfig, "pools", "-n", "shop")
    assert [row[:2] for row in columns(named.out)[1:]] == [["shop", "others"]]
    every = await corral(empty_kube.kubeconfig, "pools", "-A")
    assert [row[:2] for row in columns(every.out)[1:]] == [["default", "emails"], ["shop", "others"]]


async def test_the_namespace_is_that_of_the_kubeconfigs_context(empty_kube: KubeMock) -> None:
    config = yaml.safe_load(empty_kube.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = "shop"
    empty_kube.kubeconfig.write_text(yaml.safe_dump(config))
    add(empty_kube, "others", "shop", replicas=3)
    assert [row[:2] for row in columns((await corral(empty_kube.kubeconfig, "pools")).out)[1:]] == [["shop", "others"]]
    assert (await corral(empty_kube.kubeconfig, "explain", "others")).out.startswith("shop/others\n")
    assert (await corral(empty_kube.kubeconfig, "auto", "others")).out.startswith("shop/others is automatic again")


async def test_pools_has_more_columns_and_a_list_for_programs(empty_kube: KubeMock) -> None:
    add(empty_kube, mode="DryRun")
    wide = columns((await corral(empty_kube.kubeconfig, "pools", "-o", "wide")).out)
    assert wide[0][-4:] == ["MIN", "MAX", "MODE", "DECISION"]
    assert " ".join(wide[1][9:]) == "0 20 DryRun 2 replicas: because the test says so"
    (row,) = json.loads((await corral(empty_kube.kubeconfig, "pools", "-o", "json")).out)
    assert (row["name"], row["desired"], row["oldestSince"], row["why"]) == ("emails", 2, None, "Flow")


async def test_pools_lists_more_than_one_page(empty_kube: KubeMock) -> None:
    for number in range(501):
        add(empty_kube, f"pool-{number}")
    ended = await corral(empty_kube.kubeconfig, "pools")
    assert len(ended.out.splitlines()) == 502
    assert empty_kube.count("GET", "workerpools") == 2


async def test_no_pools_at_all_are_no_error(empty_kube: KubeMock) -> None:
    ended = await corral(empty_kube.kubeconfig, "pools")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "there are no WorkerPools in the namespace default; -A looks in all\n"
    assert (await corral(empty_kube.kubeconfig, "pools", "-A")).err == "there are no WorkerPools in this cluster\n"
    assert (await corral(empty_kube.kubeconfig, "pools", "-o", "json")).out == "[]\n"


async def test_pools_watches_until_ctrl_c_and_outlives_an_api_server_that_is_away(empty_kube: KubeMock) -> None:
    add(empty_kube)
    async with running(empty_kube.kubeconfig, "pools", "--watch") as process, asyncio.timeout(30):
        out, err = process.stdout, process.stderr
        assert out is not None
        assert err is not None

        async def told() -> list[str]:
            return (await out.readline()).decode().split()

        assert (await told())[0] == "NAMESPACE"
        assert (await told())[2] == "2"
        await empty_kube.shut()
        assert (await told())[:4] == ["not", "up", "to", "date:"]
        await empty_kube.open()
        empty_kube.change("workerpools", lambda body: body["status"].update(desired=7))
        assert (await told())[2] == "7"
        empty_kube.delete("workerpools")
        assert await told() == ["default/emails", "is", "gone"]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await err.read() == b""


async def test_a_watch_ends_when_it_may_not_look_any_more(empty_kube: KubeMock) -> None:
    add(empty_kube)
    async with running(empty_kube.kubeconfig, "pools", "-w") as process, asyncio.timeout(30):
        assert process.stdout is not None
        assert process.stderr is not None
        assert (await process.stdout.readline()).startswith(b"NAMESPACE")
        with empty_kube.fault(status=403, message="pools are secret"):
            assert await process.wait() == 1
        assert b"corral: not allowed: pools are secret" in await process.stderr.read()


# --- explain ---


async def test_explain_tells_the_decision_and_only_reads(empty_kube: KubeMock) -> None:
    add(empty_kube)
    ended = await corral(empty_kube.kubeconfig, "explain", "emails")
    assert (ended.code, ended.err) == (0, "")
    first, second, *_ = ended.out.splitlines()
    assert (first, second) == ("default/emails", "  decision  2 replicas: because the test says so")
    assert empty_kube.writes() == []


# --- auto ---


async def test_auto_takes_the_number_away_and_says_what_it_was(empty_kube: KubeMock) -> None:
    add(empty_kube, replicas=5)
    ended = await corral(empty_kube.kubeconfig, "auto", "emails")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "default/emails is automatic again: its replicas were set by hand to 5\n"
    body = empty_kube.get("workerpools")
    assert body["spec"] == pool()["spec"]
    assert body["status"] == STATUS
    (call,) = empty_kube.writes()
    assert (call.verb, call.resource, call.body) == ("PATCH", "workerpools", {"spec": {"replicas": None}})


async def test_auto_takes_away_a_zero_as_well(empty_kube: KubeMock) -> None:
    add(empty_kube, replicas=0)
    ended = await corral(empty_kube.kubeconfig, "auto", "emails")
    assert ended.out == "default/emails is automatic again: its replicas were set by hand to 0\n"
    assert "replicas" not in empty_kube.get("workerpools")["spec"]


async def test_auto_leaves_alone_what_is_automatic_already(empty_kube: KubeMock) -> None:
    add(empty_kube, mode="Paused")
    ended = await corral(empty_kube.kubeconfig, "auto", "emails")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "default/emails is automatic already: its replicas are not set by hand",
        "its mode is Paused: the operator decides, and writes nothing until spec.mode is Auto",
    ]
    assert empty_kube.writes() == []


# --- what is in the way ---


@pytest.mark.parametrize("command", ["explain", "auto"])
async def test_a_pool_that_is_not_there_is_told_with_its_namespace(empty_kube: KubeMock, command: str) -> None:
    add(empty_kube, namespace="shop")
    ended = await corral(empty_kube.kubeconfig, command, "emails")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "corral: there is no WorkerPool emails in the namespace default; `corral pools -A` shows all\n"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda row: row[0])
async def test_what_the_api_server_refuses_is_told_with_its_cure(
    empty_kube: KubeMock, command: tuple[str, ...]
) -> None:
    add(empty_kube, replicas=5)
    with empty_kube.fault("GET", status=403, message="you cannot"):
        ended = await corral(empty_kube.kubeconfig, *command)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "corral: not allowed: you cannot; the role view in default allows it\n"
    assert empty_kube.writes() == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401, "message": "Unauthorized"}, "log in anew, or name another KUBECONFIG"),
        ({"body": b"404 page not found", "status": 404}, "this cluster knows no WorkerPools: install Corral's chart"),
        ({"status": 500, "message": "etcd is away"}, "the API server refused (Test500): etcd is away"),
        ({"body": b"<html>", "status": 200}, "is a proxy in between?"),
        ({"drop": True}, "the API server did not answer"),
    ],
    ids=["unknown user", "no resource", "error", "proxy", "silence"],
)
async def test_an_api_server_that_does_not_answer_as_it_should_is_told(
    empty_kube: KubeMock, fault: dict[str, Any], said: str
) -> None:
    with empty_kube.fault("GET", **fault):
        ended = await corral(empty_kube.kubeconfig, "explain", "emails")
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert TOKEN not in ended.err


async def test_auto_tells_that_the_number_may_be_read_but_not_taken_away(empty_kube: KubeMock) -> None:
    add(empty_kube, replicas=5)
    with empty_kube.fault("PATCH", status=403, message="you cannot"):
        ended = await corral(empty_kube.kubeconfig, "auto", "emails")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "corral: not allowed: you cannot; the role edit in default allows it\n"
    assert empty_kube.get("workerpools")["spec"]["replicas"] == 5


@pytest.mark.parametrize("command", COMMANDS, ids=lambda row: row[0])
async def test_without_a_cluster_they_end_with_2_and_say_how_to_name_one(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    ended = await corral(None, *command, home=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "no Kubernetes cluster is configured" in ended.err
    assert "set KUBECONFIG" in ended.err


@pytest.mark.parametrize(
    "args",
    [("pools", "-n", "shop", "-A"), ("pools", "-o", "yaml"), ("pools", "-w", "-o", "json"), ("explain",), ("auto",)],
    ids=" ".join,
)
async def test_what_does_not_go_together_ends_with_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    ended = await corral(None, *args, home=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
