"""The image that the tests' images are made from: a small Debian with Python, for machines that reach no image registry."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from buildah import Buildah, run

if TYPE_CHECKING:
    from collections.abc import Iterable

SUITE = "bookworm"

_PACKAGES = "ca-certificates,python3,python3-venv"
_APT = Path("/etc/apt")

# Of this machine, or of no use in a container.
_NOT_SHIPPED = (
    *("etc/apt/sources.list", "etc/hostname", "etc/resolv.conf"),
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
)

# As images have it that are made to build on.
_DOCKERFILE = """\
FROM scratch
COPY . /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["python3"]
"""

_RECIPE = repr((SUITE, _PACKAGES, _NOT_SHIPPED, _DOCKERFILE))
NAME = f"localhost/python:{SUITE}-{hashlib.sha256(_RECIPE.encode()).hexdigest()[:12]}"


def make_base(buildah: Buildah, folder: Path) -> None:
    """Make the image NAME, in about 90 s; `folder` is where its files may lie meanwhile."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="base-") as scratch:
        root, dockerfile = Path(scratch) / "root", Path(scratch) / "Dockerfile"
        mirror = debian_mirror(path.read_text() for path in _sources())
        # A mount namespace of its own: what debootstrap mounts can never meet the removal of this folder.
        run(
            *("unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={_PACKAGES}", SUITE, root),
            *([mirror] if mirror else []),
        )
        for name in _NOT_SHIPPED:
            path = root / name
            if path.is_dir():
                shutil.rmtree(path)
                path.mkdir()
            else:
                path.unlink(missing_ok=True)
        dockerfile.write_text(_DOCKERFILE)
        buildah.build(NAME, root, dockerfile)


def debian_mirror(sources: Iterable[str]) -> str | None:
    """The first Debian mirror in apt's sources, of either format; None leaves the choice to debootstrap."""
    for text in sources:
        for line in text.splitlines():
            if found := re.match(r"(?:URIs:|deb\s+(?:\[[^\]]*\]\s+)?)\s*(\S+)", line):
                address = urlsplit(found[1])
                if address.scheme in ("http", "https") and address.path.rstrip("/").endswith("/debian"):
                    return found[1]
    return None


def _sources() -> list[Path]:
    folder = _APT / "sources.list.d"
    files = [_APT / "sources.list", *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    return [path for path in files if path.is_file()]
