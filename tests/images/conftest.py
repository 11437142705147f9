"""The images, unpacked. The tests of this folder build images, so they run only when asked for: `pytest -m cluster`."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import images
from buildah import ImageError
from unpacked_image import UnpackedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent

# A first build makes a Debian.
_BUILT_WITHIN_S = 600


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: needs a real Kubernetes API server; not part of `make test`")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test of this folder; leave them out where no `-m` says what to run."""
    ours = [item for item in items if item.path.is_relative_to(FOLDER)]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(_BUILT_WITHIN_S))
    if ours and not config.option.markexpr:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if not item.path.is_relative_to(FOLDER)]


@contextmanager
def _unpacked(make: Callable[[], images.Image]) -> Iterator[UnpackedImage]:
    try:
        image = make()
    except ImageError as error:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(f"{error} (with CI set nothing may be skipped)", pytrace=False)
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="corral-image-") as folder:
        os.chmod(folder, 0o755)  # it becomes the root of a user who is not its owner
        yield UnpackedImage(image.tar, Path(folder))


@pytest.fixture(scope="session")
def worker_image() -> Iterator[UnpackedImage]:
    with _unpacked(images.worker_image) as image:
        yield image


@pytest.fixture(scope="session")
def operator_image() -> Iterator[UnpackedImage]:
    with _unpacked(images.operator_image) as image:
        yield image


@pytest.fixture(scope="session")
def node_image() -> Iterator[UnpackedImage]:
    with _unpacked(images.node_image) as image:
        yield image


@pytest.fixture
def new_image() -> Iterator[Callable[[Path, Path], UnpackedImage]]:
    """Build on the worker's image: `new_image(context, dockerfile)`."""
    with ExitStack() as built:
        yield lambda context, dockerfile: built.enter_context(
            _unpacked(lambda: images.build("corral-made", context, dockerfile, images.worker_image()))
        )
