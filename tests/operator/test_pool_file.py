"""Pools from a YAML file: what is taken, what is left aside, and that a mistake is told by its field."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import yaml

from corral import ConfigurationError
from corral_operator.pool_file import command_of, read_pools, worker_of
from pools import adopting
from up_process import local_pool, template

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis"}}


def read(*manifests: Any) -> list[str]:
    """The names of the pools."""
    return [pool.key.name for pool in read_pools(yaml.safe_dump_all(manifests), "pools.yaml")]


def refusal(*manifests: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(*manifests)
    return str(caught.value)


def command(**container: Any) -> list[str]:
    (pool,) = read_pools(yaml.safe_dump(local_pool(container=container)), "pools.yaml")
    return command_of(pool)


def test_every_document_and_every_item_of_a_list_is_a_pool_and_other_kinds_are_left_aside() -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [local_pool("second"), SECRET, "text"]}
    assert read(SECRET, local_pool("first"), None, "text", items, local_pool("third")) == ["first", "second", "third"]


def test_a_pool_without_a_namespace_gets_the_one_of_this_machine() -> None:
    (pool,) = read_pools(yaml.safe_dump(local_pool()), "pools.yaml")
    assert (str(pool.key), pool.generation, pool.status) == ("local/emails", 1, {})


@pytest.mark.parametrize("text", ["", "---\n---\n", "text", "[1, 2]", "kind: List"])
def test_a_file_without_a_pool_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^pools.yaml holds no WorkerPool; write one: kind: WorkerPool$"):
        read_pools(text, "pools.yaml")


def test_what_is_no_yaml_is_told_by_line_and_column_and_never_quoted() -> None:
    text = "kind: Secret\nstringData: {url: redis://:s3cret@redis, password: 's3cret' 's3cret'}\n"
    with pytest.raises(
        ConfigurationError, match=r"^pools.yaml is not YAML: line 2, column 61: expected ',' or '}'"
    ) as it:
        read_pools(text, "pools.yaml")
    assert "s3cret" not in str(it.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maxReplicas": "many"}, "spec.maxReplicas must be a whole number"),
        ({"maxReplica": 3}, "spec.maxReplica"),
        ({"queues": []}, "spec.queues must be a list of 1 to 32 entries"),
        ({"target": {"wait": "soon"}}, "spec.target.wait"),
        ({"template": None}, "spec needs exactly one of template and deploymentRef"),
        ({"template": "text"}, "spec.template"),
    ],
)
def test_a_mistake_is_told_with_the_file_the_pool_and_the_field(change: dict[str, Any], words: str) -> None:
    told = refusal(local_pool("fine"), local_pool("emails", **change))
    assert told.startswith("pools.yaml: WorkerPool emails: ")
    assert words in told


@pytest.mark.parametrize("name", [None, "", 7, "Emails", "../emails", "e" * 64])
def test_a_name_that_kubernetes_would_not_take_is_refused(name: Any) -> None:
    manifest = local_pool()
    manifest["metadata"]["name"] = name
    assert f"whose metadata.name is {name!r}; give it one" in refusal(manifest)


@pytest.mark.parametrize("version", [None, "corral.dev/v2", "apps/v1"])
def test_another_api_version_is_refused(version: str | None) -> None:
    told = refusal({**local_pool(), "apiVersion": version})
    assert told == f"pools.yaml: WorkerPool emails: apiVersion must be corral.dev/v1alpha1, got {version!r}"


def test_two_pools_of_one_name_are_refused_in_two_namespaces_too() -> None:
    other = local_pool()
    other["metadata"]["namespace"] = "other"
    assert refusal(local_pool(), other) == ("pools.yaml holds WorkerPool emails twice; give one of them another name")


def test_a_pool_that_adopts_a_deployment_is_refused_with_the_cure() -> None:
    assert "give it spec.template instead of spec.deploymentRef" in refusal(adopting())


def test_the_command_goes_before_args_and_args_alone_run_corral() -> None:
    assert command(command=["node", "worker.js"], args=["--quick"]) == ["node", "worker.js", "--quick"]
    assert command(command=["node"]) == ["node"]
    assert command(args=["work", "app:worker"]) == [sys.executable, "-m", "corral", "work", "app:worker"]


def test_a_container_that_leaves_everything_to_its_image_is_refused_with_the_cure() -> None:
    assert "neither command nor args" in refusal(local_pool(container={}))
    assert "say what runs, like args: [work, emails:worker]" in refusal(local_pool(container={}))
    assert "neither command nor args" in refusal(local_pool(template=template()))
    assert "neither command nor args" in refusal(local_pool(template={"spec": []}))


def test_args_alone_are_not_enough_for_a_runtime_that_is_not_corrals() -> None:
    told = refusal(local_pool(container={"args": ["--quick"]}, runtime="Any"))
    assert "its container has args and no command" in told
    assert "say the program, like command: [node, worker.js]" in told
    assert read(local_pool(container={"command": ["node"], "args": ["--quick"]}, runtime="Any")) == ["emails"]


@pytest.mark.parametrize("words", ["work app:worker", ["work", 1], ["work", True], {"work": "app:worker"}])
@pytest.mark.parametrize("field", ["command", "args"])
def test_words_that_are_no_list_of_texts_are_refused_by_their_field(field: str, words: Any) -> None:
    assert f"{field} of its container must be a list of texts" in refusal(local_pool(container={field: words}))


def test_the_container_called_worker_runs_or_else_the_first() -> None:
    proxy, worker = {"name": "proxy"}, {"name": "worker"}
    assert worker_of(template(proxy, worker)) == worker
    assert worker_of(template(proxy, {"name": "other"})) == proxy
    for shape in (None, "text", {"spec": {"containers": "text"}}, {"spec": {"containers": ["text"]}}):
        assert worker_of(shape) == {}
