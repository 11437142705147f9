"""Renders manifests/install.yaml from the chart, for those who install with kubectl: `make manifests`.

    python charts/install_manifest.py HELM FILE

HELM is the program, FILE is written whole or not at all. The chart's defaults hold, in the namespace corral-system.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

CHART = Path(__file__).parent / "corral"
NAMESPACE = "corral-system"

_HEAD = f"""\
# The Corral operator and its WorkerPool resource. Apply it again to upgrade:
#
#   kubectl apply --server-side -f install.yaml
#
# Rendered from charts/corral by `make manifests`; change the chart, not this file.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""

# What is true of a release of Helm's alone.
_ONLY_HELM = re.compile(
    r"^ +(?:app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*)\n"
    r"|^  annotations:\n    helm\.sh/resource-policy: keep\n",
    re.MULTILINE,
)


def rendered(helm: str) -> str:
    """The text of install.yaml."""
    command = [helm, "template", "corral", str(CHART), "--namespace", NAMESPACE]
    # The program is the caller's choice, as any other on the command line.
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    documents = [document.strip("\n") + "\n" for document in re.split(r"^---$", text, flags=re.MULTILINE)]
    # Helm puts the ServiceAccount first; who applies only the beginning of the file wants the resource in it.
    documents.sort(key=lambda document: "kind: CustomResourceDefinition" not in document)
    return "---\n".join([_HEAD, *(_ONLY_HELM.sub("", document) for document in documents if document.strip())])


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(f"usage: {Path(sys.argv[0]).name} HELM FILE\n")
        return 2
    helm, file = sys.argv[1], Path(sys.argv[2])
    try:
        text = rendered(helm)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"install.yaml was not rendered: {error}\n")
        return 1
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
