"""The images of the project, built where no Docker is: the worker's, the operator's, and those that tests put on top.

`python tests/parts/images.py` builds what is missing: about 3 minutes the first time, no time while nothing changes.
Everything lies in ~/.cache/corral-tests/images, under a name that comes from what it is made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import base_image
from buildah import Buildah, ImageError
from node import INTEROP, node_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
NODE_DOCKERFILE = ROOT / "tests" / "images" / "node.Dockerfile"

_INSTALL = ROOT / "tests" / "parts" / "install.sh"
_PROGRAMS = ("buildah", "debootstrap")  # each in the Debian package of its name
_BOTH_NEED = (".dockerignore", "LICENSE", "README.md", "constraints.txt", "pyproject.toml", "worker")
_KEPT_UNUSED_S = 60 * 60

_log = logging.getLogger("images")


@dataclass(frozen=True)
class Image:
    """An image that is ready: its name inside the archive, the archive (as of `docker save`), and its name in storage."""

    name: str
    tar: Path
    stored: str

    @property
    def size(self) -> int:
        """Bytes of the archive, which holds the layers uncompressed."""
        return self.tar.stat().st_size


def worker_image() -> Image:
    """The runtime alone. The first call builds it, or waits for another process that does; ImageError says why not."""
    return _of_project("worker", _BOTH_NEED)


def operator_image() -> Image:
    """The operator with all it needs."""
    return _of_project("operator", (*_BOTH_NEED, "operator"))


def node_image() -> Image:
    """A BullMQ worker: this machine's Node with tests/interop; runs `worker.mjs QUEUE`."""
    if missing := node_missing():
        raise ImageError(missing)
    program = shutil.which("node")
    assert program is not None
    node = Path(program).resolve()
    inputs = {"": NODE_DOCKERFILE, "node": node} | _files(INTEROP, "interop")

    def make(buildah: Buildah, stored: str) -> None:
        with tempfile.TemporaryDirectory(dir=_folder()) as context:
            shutil.copy(node, Path(context) / "node")
            shutil.copytree(INTEROP, Path(context) / "interop", ignore=shutil.ignore_patterns("__pycache__"))
            buildah.build(stored, Path(context), NODE_DOCKERFILE, base=base_image.NAME)

    return _image("corral-node", inputs, base_image.NAME, make)


def build(
    name: str, context: Path, dockerfile: Path, base: Image | None = None, args: Mapping[str, str] | None = None
) -> Image:
    """An image of a test's own, `localhost/NAME:test`, from every file of `context`.

    `base` takes the place of the first FROM, `args` are build arguments.
    """

    def make(buildah: Buildah, stored: str) -> None:
        buildah.build(stored, context, dockerfile, base=base.stored if base else base_image.NAME, args=args)

    made_of = f"{base.stored if base else base_image.NAME} {sorted((args or {}).items())}"
    return _image(name, {"": dockerfile} | _files(context), made_of, make)


def _of_project(part: str, needs: Iterable[str]) -> Image:
    dockerfile = ROOT / part / "Dockerfile"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    args = {"PYTHON_IMAGE": base_image.NAME, "VERSION": version}
    inputs = {"": dockerfile}
    for name in needs:
        inputs |= _files(ROOT / name, name)

    def make(buildah: Buildah, stored: str) -> None:
        buildah.build(stored, ROOT, dockerfile, args=args)

    return _image(f"corral-{part}", inputs, str(args), make)


def _image(name: str, inputs: Mapping[str, Path], made_of: str, make: Callable[[Buildah, str], None]) -> Image:
    """The image with this content: found, or built while no other process builds one."""
    key = _key(inputs, made_of)
    image = Image(f"localhost/{name}:test", _folder() / f"{name}-{key}.tar", f"localhost/{name}:{key}")
    if not image.tar.exists():
        with _alone():
            _have_programs()
            buildah = Buildah(_folder())
            if not buildah.has(base_image.NAME):
                _log.info("making a Debian with Python to build on")
                base_image.make_base(buildah, _folder())
            if not image.tar.exists():
                _log.info("building %s", image.name)
                began = time.monotonic()
                make(buildah, image.stored)
                buildah.save(image.stored, image.tar, image.name)
                _log.info("built %s in %.0f s, %.0f MB", image.name, time.monotonic() - began, image.size / 1e6)
            _remove_unused(buildah)
    os.utime(image.tar)
    return image


def _remove_unused(buildah: Buildah) -> None:
    """Take away what nobody has asked for in an hour: while the code changes, each change leaves an image."""
    for tar in _folder().glob("*.tar"):
        if time.time() - tar.stat().st_mtime > _KEPT_UNUSED_S:
            name, _, key = tar.stem.rpartition("-")
            tar.unlink()
            buildah.remove(f"localhost/{name}:{key}")


def _files(path: Path, name: str = "") -> dict[str, Path]:
    """The file, or the files of the folder by their place in it, without what Python made."""
    if path.is_file():
        return {name: path}
    files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {f"{name}/{file.relative_to(path)}": file for file in files}


def _key(inputs: Mapping[str, Path], made_of: str) -> str:
    digest = hashlib.sha256(made_of.encode())
    for name, file in inputs.items():
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"\n{name} {file.stat().st_mode:o} {content}".encode())
    return digest.hexdigest()[:12]


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "corral-tests" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock file. The kernel lets it go with the process, so that none is ever left behind."""
    with (_folder() / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _have_programs() -> None:
    if os.geteuid() != 0:
        raise ImageError("building the images needs root (buildah and debootstrap change roots)")
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            subprocess.run(["bash", _INSTALL, program], check=False, stdout=sys.stderr)
        if shutil.which(program) is None:
            raise ImageError(f"{program} is not installed")


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for image in (worker_image, operator_image, node_image):
            image()
    except ImageError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
