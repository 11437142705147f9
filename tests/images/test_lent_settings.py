"""What this machine lends to a build, so that pip finds packages, stays out of the images."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from base_image import debian_mirror
from buildah import pip_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from unpacked_image import UnpackedImage

PRIVATE = "packages.private.example"

# Fails unless the setting is there, and installs as an image of a user would.
USER_IMAGE = """\
FROM corral-worker
USER root
RUN grep -q trusted-host /etc/pip.conf
RUN python3 -m venv /tmp/tools && /tmp/tools/bin/pip install --no-cache-dir iniconfig && rm -r /tmp/tools
USER 65532:65532
"""

# Known to everybody, and named in the documentation of many a package.
PUBLIC = {"deb.debian.org", "files.pythonhosted.org", "pypi.org"}


def test_a_build_installs_with_the_settings_of_this_machine_and_keeps_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, new_image: Callable[[Path, Path], UnpackedImage]
) -> None:
    monkeypatch.setenv("PIP_TRUSTED_HOST", PRIVATE)
    (tmp_path / "Dockerfile").write_text(USER_IMAGE)
    image = new_image(tmp_path, tmp_path / "Dockerfile")
    imported = image.run("-c", "import iniconfig, corral", entrypoint=("python3",))
    assert (imported.returncode, imported.stderr) == (0, "")
    assert _naming(image, {PRIVATE}) == []


@pytest.mark.parametrize("made", ["worker_image", "operator_image", "node_image"])
def test_no_image_names_the_hosts_of_this_machine(made: str, request: pytest.FixtureRequest) -> None:
    image: UnpackedImage = request.getfixturevalue(made)
    assert _naming(image, _hosts()) == []
    for name in ("etc/apt/sources.list", "etc/hostname", "etc/pip.conf", "etc/resolv.conf", "root/.cache"):
        left = image.root / name
        # The place of a mount stays, in images that are made with a RUN.
        assert not left.exists() or (left.is_file() and left.stat().st_size == 0), name


def _hosts() -> set[str]:
    """Where pip and apt of this machine get their packages."""
    pip = subprocess.run(["python3", "-m", "pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    sources = [path.read_text() for path in Path("/etc/apt").rglob("sources.list*") if path.is_file()]
    sources += [path.read_text() for path in Path("/etc/apt/sources.list.d").glob("*.sources")]
    addresses = re.findall(r"https?://[^\s'\"]+", "\n".join([pip, *sources]))
    return {host for address in addresses if (host := urlsplit(address).hostname)} - PUBLIC


def _naming(image: UnpackedImage, words: set[str]) -> list[Path]:
    assert not [word for word in words if word in json.dumps(image.description)]
    wanted = [word.encode() for word in words]
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 1000
    return [path for path in files if wanted and any(word in path.read_bytes() for word in wanted)]


def test_of_pip_the_way_to_packages_is_lent_and_the_environment_wins() -> None:
    listed = [
        ":env:.index-url='https://a.example/simple'",
        "global.index-url='https://b.example/simple'",
        "global.trusted-host='\\none\\ntwo'",
        "install.no-binary=':all:'",
        "global.cert='/certificates/ours.pem'",
    ]
    assert pip_settings(listed) == {
        "index-url": "https://a.example/simple",
        "trusted-host": "one two",
        "cert": "/certificates/ours.pem",
    }


def test_the_mirror_is_the_first_that_serves_debian() -> None:
    security = "Types: deb\n# http://old.example/debian\nURIs: http://b.example/debian-security\n"
    deb822 = "Types: deb\nURIs: http://b.example/debian/\n"
    assert debian_mirror([security, deb822]) == "http://b.example/debian/"
    assert debian_mirror(["# deb http://a.example/debian x\ndeb [arch=amd64] https://c.example/debian sid main"]) == (
        "https://c.example/debian"
    )
    assert debian_mirror(["deb http://archive.example/ubuntu noble main"]) is None
