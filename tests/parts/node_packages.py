"""What a machine must be and have for a Kubernetes node on it, beside the programs that the tests compile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The program that tells whether it is there -> Debian's package.
_PACKAGES = {"runc": "runc", "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}

_INSTALL = Path(__file__).with_name("install.sh")


class NodeImpossibleError(Exception):
    """A node cannot be had here; the text says why, and what helps."""


def _impossible() -> str | None:
    """Why this machine, or this user, can have no node whatever is installed; None when it can."""
    if sys.platform != "linux":
        return f"a Kubernetes node needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return (
            "a Kubernetes node needs root: run the tests as root, or name a cluster of yours in CORRAL_TEST_KUBECONFIG"
        )
    return None


def demand() -> None:
    """NodeImpossibleError unless a node can be started here."""
    if reason := _impossible():
        raise NodeImpossibleError(reason)
    if missing := _missing():
        raise NodeImpossibleError(
            f"a Kubernetes node needs {', '.join(missing)}: `apt-get install {' '.join(missing)}`"
        )
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        raise NodeImpossibleError(
            f"a Kubernetes node needs namespaces, which this root may not make: {tried.stderr.strip()}"
        )


def install() -> None:
    """Install what is missing, where Debian's packages can be had; NodeImpossibleError where that does not help."""
    if not _impossible() and (missing := _missing()):
        subprocess.run(["bash", str(_INSTALL), *missing], check=False)
    demand()


def _missing() -> list[str]:
    return [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
