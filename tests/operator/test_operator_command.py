"""`corral operator` on the command line: what it says of itself, and exit code 2 with the cure when it cannot run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from operator_process import OperatorProcess

if TYPE_CHECKING:
    from pathlib import Path


async def _ends(folder: Path, *args: str, code: int = 2, kubeconfig: Path | None = None, **env: str) -> str:
    with OperatorProcess(folder, kubeconfig, args, env) as operator:
        assert await operator.wait(20) == code, operator.output
        return operator.output


async def test_help_tells_the_options_and_the_environment(tmp_path: Path) -> None:
    told = await _ends(tmp_path, "--help", code=0)
    for word in ("--namespace", "--once", "--dry-run", "KUBECONFIG", "CORRAL_NAMESPACES", "CORRAL_PORT"):
        assert word in told


def test_the_package_can_be_run_as_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "corral_operator", "--help"], capture_output=True, text=True, check=True, timeout=30
    )
    assert "usage: corral operator" in told.stdout


@pytest.mark.parametrize("more", [(), ("--once",)])
async def test_without_a_cluster_it_says_how_to_name_one(tmp_path: Path, more: tuple[str, ...]) -> None:
    told = await _ends(tmp_path, *more)
    assert "corral: no Kubernetes cluster is configured" in told
    assert "set KUBECONFIG to the path of a kubeconfig" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "content",
    ["", "[]", "clusters: {", "just text", "current-context: nowhere\ncontexts: []\n", "\0"],
    ids=["empty", "list", "broken", "text", "no context", "binary"],
)
async def test_a_kubeconfig_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(content)
    told = await _ends(tmp_path / "operator", "--once", kubeconfig=kubeconfig)
    assert "corral: no Kubernetes cluster is configured" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [("CORRAL_PORT", "http"), ("CORRAL_LIVEZ_STALL", "x"), ("CORRAL_LOG_FORMAT", "xml"), ("CORRAL_LOG_LEVEL", "loud")],
)
async def test_a_wrong_environment_is_told_by_the_variable(tmp_path: Path, name: str, value: str) -> None:
    told = await _ends(tmp_path, **{name: value})
    assert name in told
    assert value in told
    assert "Traceback" not in told


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        '{"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [], "current-context": "c",'
        ' "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}]}'
    )
    with OperatorProcess(tmp_path / "first", kubeconfig) as first:
        await first.serving()
        told = await _ends(tmp_path / "second", kubeconfig=kubeconfig, CORRAL_PORT=str(first.port))
    assert f"port {first.port}" in told
    assert "CORRAL_PORT" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("package", ["kopf", "kubernetes", "yaml", "aiohttp"])
def test_a_package_that_is_missing_is_told_with_what_to_install(package: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; from corral.cli import main; sys.exit(main(['operator']))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert re.fullmatch(
        rf"corral: the operator needs '{package}[.a-z]*': pip install 'corral\[operator\]'\n", ended.stderr
    )
