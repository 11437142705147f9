"""kubectl as a function: `kubectl("get", "pods")` gives what it printed."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

Manifest = dict[str, Any]

# A request that hangs must not outlive its test.
_WITHIN = 30.0


class KubectlError(Exception):
    """kubectl, or the API server behind it, said no; the text is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """One kubectl against one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    cache: Path
    namespace: str = "default"

    def __call__(self, *arguments: str, manifest: Manifest | None = None, within: float = _WITHIN) -> str:
        """Run it; `manifest` goes in where the arguments say `-f -`."""
        ended = subprocess.run(
            [
                *(str(self.program), "--namespace", self.namespace, "--cache-dir", str(self.cache)),
                *(f"--request-timeout={within:g}s", *arguments),
            ],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECTL_KUBERC": "false"},
            input="" if manifest is None else json.dumps(manifest),
            check=False,
            capture_output=True,
            text=True,
            timeout=within + 5,
        )
        if ended.returncode:
            raise KubectlError(ended.stderr.strip())
        return ended.stdout

    def json(self, *arguments: str, manifest: Manifest | None = None) -> Any:
        """The same, with `-o json`, parsed."""
        return json.loads(self(*arguments, "-o", "json", manifest=manifest))

    def refusal(self, *arguments: str, manifest: Manifest | None = None) -> str:
        """What was said against it; an AssertionError when nothing was."""
        try:
            accepted = self(*arguments, manifest=manifest)
        except KubectlError as error:
            return str(error)
        raise AssertionError(f"it was accepted: {accepted}")

    def within(self, namespace: str) -> Self:
        """The same kubectl in another namespace."""
        return replace(self, namespace=namespace)
