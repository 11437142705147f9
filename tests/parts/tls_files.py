"""Certificates of an authority of the test's own, and a Redis that speaks TLS with them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class TlsFiles:
    """A folder with `ca.crt`, and `tls.crt`, `tls.key` for the names given: `IP:127.0.0.1`, `DNS:redis`."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        new = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        signed = ["-addext", f"subjectAltName={','.join(names)}", "-CA", "ca.crt", "-CAkey", "ca.key"]
        for name, more in {"ca": ["-subj", "/CN=authority"], "tls": ["-subj", "/CN=server", *signed]}.items():
            command = [*new, *more, "-keyout", f"{name}.key", "-out", f"{name}.crt"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def options(self, port: int) -> list[str]:
        """Of a server that listens on a TLS port as well."""
        return [word for row in self.conf(port) for word in f"--{row}".split(" ")]

    def conf(self, port: int) -> list[str]:
        """The same as lines of a configuration."""
        files = {"ca-cert": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        return [
            f"tls-port {port}",
            "tls-auth-clients no",
            *(f"tls-{option}-file {self.folder / name}" for option, name in files.items()),
        ]
