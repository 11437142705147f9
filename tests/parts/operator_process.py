"""A real `corral operator` in a process of its own, on the cluster that a kubeconfig names."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from corral_process import CorralProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class OperatorProcess(CorralProcess):
    """`corral operator ARGS`; also a context manager, which kills it.

    `kubeconfig` None: no cluster is configured at all. `env`: more environment.
    Everything else is a CorralProcess's: start, serving, output, log, said, get, signal, wait, kill.
    """

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path | None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        # HOME: a kubeconfig of whoever runs the tests is none of the operator's. An empty KUBECONFIG would be a path.
        of_the_cluster = {"HOME": str(folder)} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig)}
        super().__init__(folder, None, None, {**of_the_cluster, **(env or {})})
        self._command = [sys.executable, "-m", "corral", "operator", *args]
        if kubeconfig is None:
            for name in [name for name in os.environ if name.startswith(("KUBECONFIG", "KUBERNETES_"))]:
                self._env.pop(name, None)
