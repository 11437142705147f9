"""What `pip install corral` brings: the wheel is built as pip does it, and looked into."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    "corral": ROOT / "worker" / "corral",
    "corral_operator": ROOT / "operator" / "corral_operator",
    "corral_operator/examples": ROOT / "manifests" / "examples" / "demo",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "-w", str(folder), str(ROOT)]
    built = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if built.returncode and "hatchling" in built.stderr and not os.environ.get("CI"):
        pytest.skip(f"pip cannot get the build backend: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.iterdir()
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_the_packages_and_the_files_of_the_demo_and_nothing_else(names: set[str]) -> None:
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {f"corral_operator/examples/{name}" for name in ("pools.yaml", "mails.py", "thumbnails.py")} <= names
