"""What a user of the kit reads and types: the chart, the examples, and the README's commands, with the tests' images.

The files are copied and the names of their images replaced; everything else is theirs, word by word.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import kit_images

EXAMPLES = "manifests/examples"

_ROOT = Path(__file__).resolve().parents[2]
_IMAGES = {
    "charts/corral/values.yaml": {
        "repository: corral-operator": f"repository: {kit_images.repository(kit_images.OPERATOR)}",
        'tag: ""': f"tag: {kit_images.TAG}",
    },
    f"{EXAMPLES}/redis.yaml": {"docker.io/valkey/valkey:9": kit_images.reference(kit_images.VALKEY)},
    f"{EXAMPLES}/pool.yaml": {"registry.example/emails:1.4": kit_images.reference(kit_images.EMAILS)},
    f"{EXAMPLES}/node.yaml": {"registry.example/thumbnails:3.1": kit_images.reference(kit_images.NODE)},
}


def commands() -> list[str]:
    """What the README says to type on a cluster, in its order."""
    return [line.removeprefix("$ ") for line in _shown("console").splitlines()]


def columns() -> list[str]:
    """The head of what `kubectl get workerpools` prints there."""
    return _shown("text").splitlines()[0].split()


def copy_to(folder: Path) -> None:
    """Make the folder a checkout that knows the tests' images."""
    for name in ("charts", EXAMPLES):
        shutil.copytree(_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, images in _IMAGES.items():
        file = folder / name
        text = file.read_text("utf-8")
        for old, new in images.items():
            assert text.count(old) == 1, f"{name} has {old!r} not once"
            text = text.replace(old, new)
        file.write_text(text)


def _shown(kind: str) -> str:
    """The chapter's first block of a kind."""
    readme = (_ROOT / "README.md").read_text("utf-8")
    chapter = readme.split("\n## On a cluster\n")[1].split("\n## ")[0]
    block = re.search(rf"```{kind}\n(.*?)```", chapter, re.DOTALL)
    assert block is not None, f"the README's chapter shows no {kind}"
    return block[1]
