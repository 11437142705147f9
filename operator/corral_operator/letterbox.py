"""What other processes of this machine ask of a `corral up`: letters in its own folder, which only this user can write.

A letter is a file with the namespace and the name of a pool that is to be automatic again, as JSON.
"""

import json
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from corral_operator.deployment import Key

ENDING = ".letter"


def post(folder: Path, key: Key) -> None:
    """Ask for a pool to be automatic. Raises OSError."""
    letter = folder / f"{uuid4().hex}{ENDING}"
    draft = letter.with_suffix(".draft")
    draft.write_text(json.dumps([key.namespace, key.name]), encoding="utf-8")
    draft.replace(letter)


def collect(folder: Path) -> list[Key]:
    """The pools that were asked for since the last time. A letter that cannot be read is thrown away."""
    keys = []
    for letter in folder.glob(f"*{ENDING}"):
        with suppress(OSError, ValueError, TypeError):
            keys.append(Key(*json.loads(letter.read_text(encoding="utf-8"))))
        with suppress(OSError):
            letter.unlink()
    return keys
