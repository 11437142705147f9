"""What helm prints after an installation: the next three commands, ready to be pasted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from corral_operator.spec import read_spec

if TYPE_CHECKING:
    from chart import Chart


def _commands(notes: str) -> list[str]:
    return re.findall(r"^kubectl .*$", notes, re.MULTILINE)


def test_the_notes_are_three_commands_that_need_no_editing_but_the_address(chart: Chart) -> None:
    notes = chart.notes()
    assert notes.startswith("Corral 0.1.0 serves the WorkerPools of all namespaces.\n\n1. ")
    assert _commands(notes) == [
        "kubectl create secret generic redis --from-literal=url='redis://USER:PASSWORD@HOST:6379/0'",
        "kubectl apply -f - <<'POOL'",
        "kubectl get workerpools --watch",
    ]
    assert "\n\n\n" not in notes


def test_the_pool_of_the_notes_is_a_pool_of_ten_lines_over_the_secret_of_the_notes(chart: Chart) -> None:
    text = chart.notes().split("<<'POOL'\n")[1].split("POOL\n")[0]
    assert len(text.splitlines()) <= 10
    pool = yaml.safe_load(text)
    assert (pool["apiVersion"], pool["kind"]) == ("corral.dev/v1alpha1", "WorkerPool")
    assert read_spec("emails", "default", pool["spec"]).max_replicas == 20
    assert pool["spec"]["redis"]["secretRef"]["name"] == "redis"


def test_with_named_secrets_the_notes_make_and_use_one_that_the_operator_may_read(chart: Chart) -> None:
    notes = chart.notes({"secretNames": ["redis-main", "redis-logs"]})
    assert "kubectl create secret generic redis-main --from-literal" in notes
    assert "redis: {secretRef: {name: redis-main}}" in notes


def test_with_namespaces_the_commands_say_which(chart: Chart) -> None:
    notes = chart.notes({"scope": "namespaces", "namespaces": ["team-a", "team-b"]})
    assert notes.startswith("Corral 0.1.0 serves the WorkerPools of team-a, team-b.\n")
    assert all(" --namespace team-a" in command for command in _commands(notes))
    assert " --namespace mails" in chart.notes({"scope": "namespaces"}, namespace="mails")


def test_the_notes_tell_what_this_release_does_not_do(chart: Chart) -> None:
    assert "dry" not in chart.notes()
    assert "It runs dry:" in chart.notes({"dryRun": True})
    assert "not part of this release" not in chart.notes()
    assert "The WorkerPool resource is not part of this release" in chart.notes({"crds": {"enabled": False}})
