"""Which namespace is meant when a user names none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from corral_operator import api

if TYPE_CHECKING:
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [
        {"name": "first", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
        {"name": "second", "context": {"cluster": "c", "user": "u"}},
    ],
}


@pytest.mark.parametrize(("current", "namespace"), [("first", "shop"), ("second", "default")])
def test_it_is_that_of_the_current_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: str, namespace: str
) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps({**CONFIG, "current-context": current}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert api.current_namespace() == namespace


@pytest.mark.parametrize(("text", "namespace"), [("shop\n", "shop"), ("", "default"), (None, "default")])
def test_in_a_pod_it_is_the_pods_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, namespace: str
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(api, "NAMESPACE_FILE", tmp_path / "namespace")
    if text is not None:
        (tmp_path / "namespace").write_text(text)
    assert api.current_namespace() == namespace
