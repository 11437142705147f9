"""The images of the kit's tests: the operator, what its pools run, and a Redis, under the names that a cluster knows.

On a node of the tests they are built and loaded. A cluster of a user's must have them: push them to a registry and name
it in CORRAL_TEST_REGISTRY, or load the archives into its nodes and set CORRAL_TEST_REGISTRY=localhost.
`python tests/parts/kit_images.py` builds them, and prints the name and the archive of each.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import images
from buildah import ImageError
from servers import find_binary

if TYPE_CHECKING:
    from images import Image

_EXAMPLES = images.ROOT / "manifests" / "examples"
_KIT = images.ROOT / "tests" / "cluster" / "kit"

OPERATOR, EMAILS, JOBS, NODE, VALKEY = NAMES = (
    "corral-operator",
    "corral-emails",
    "corral-jobs",
    "corral-node",
    "corral-valkey",
)
TAG = "test"


def registry() -> str | None:
    """Where a cluster of the user's has the images; None when nobody said it."""
    return os.environ.get("CORRAL_TEST_REGISTRY", "").strip("/") or None


def repository(name: str) -> str:
    """The image as a manifest names it, without its tag."""
    # `localhost` is how built archives name their images.
    return f"{registry() or 'localhost'}/{name}"


def reference(name: str) -> str:
    """The image as a manifest names it."""
    return f"{repository(name)}:{TAG}"


def built() -> list[Image]:
    """All of them, in the order of NAMES; ImageError says why there are none."""
    worker = images.worker_image()
    return [
        images.operator_image(),
        images.build(EMAILS, _EXAMPLES, _EXAMPLES / "Dockerfile", worker),
        images.build(JOBS, _KIT, _KIT / "jobs.Dockerfile", worker),
        images.node_image(),
        images.build(VALKEY, find_binary("valkey").parent, _KIT / "valkey.Dockerfile"),
    ]


def main() -> int:
    try:
        for image in built():
            sys.stdout.write(f"{image.name} {image.tar} {image.size / 1e6:.0f} MB\n")
    except ImageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
