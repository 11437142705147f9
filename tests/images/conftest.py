"""The images, unpacked. The tests of this folder build images, so they run only when asked for: `pytest -m cluster`."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import images
from asked_for import MARKER, cannot_run, only_when_asked_for
from buildah import ImageError
from unpacked_image import UnpackedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent

# A first build makes a Debian.
_BUILT_WITHIN_S = 600


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in only_when_asked_for(config, items, FOLDER):
        item.add_marker(pytest.mark.timeout(_BUILT_WITHIN_S))


@contextmanager
def _unpacked(make: Callable[[], images.Image]) -> Iterator[UnpackedImage]:
    try:
        image = make()
    except ImageError as error:
        cannot_run(str(error))
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
