"""The last line of a log, as a line of somebody else's may quote it."""

import os
import re
from pathlib import Path

from corral.logs import redact

LONGEST = 300
"""Characters that are quoted."""

TAIL = 4096
"""Bytes of the log that are looked at."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def last_words(log: Path) -> str:
    """Without colours, control characters and the password of an address; empty when there is no line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    plain = "".join(sign if sign.isprintable() else "?" for sign in redact(_COLOUR.sub("", last)))
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + " ..."
