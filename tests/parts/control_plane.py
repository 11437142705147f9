"""A real Kubernetes control plane on 127.0.0.1: etcd, the API server and the controller manager. No node, no root.

Schema, CEL, RBAC, server-side apply, the scale subresource, rollouts and garbage collection are real. Pods are made and
stay Pending; a test that needs a kubelet plays one. The ports and the data stay from one start to the next, so that a
test can take the API server away and bring it back.
"""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubectl import Kubectl
from kubernetes_binaries import API_SERVER, CONTROLLER_MANAGER, ETCD, KUBECTL
from servers import free_port

if TYPE_CHECKING:
    from typing import Self

AuditEvent = dict[str, Any]

_HOST = "127.0.0.1"
_READY_WITHIN = 60.0
_STOPPED_WITHIN = 10.0
_SERVICES = "10.96.0.0/16"

# Who did what to which object, once per request, and no contents.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlaneError(Exception):
    """A part of it did not start or did not stop; the text ends with its log."""


class ControlPlane:
    """One control plane in a folder of its own; also a context manager.

    `programs`: the folder of `kubernetes_binaries`.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.directory = Path(tempfile.mkdtemp(prefix="corral-kubernetes-"))
        self.kubeconfig = self.directory / "kubeconfig"
        self.token = secrets.token_hex(16)
        self._port = free_port()
        self._etcd, self._etcd_peers = (f"http://{_HOST}:{free_port()}" for _ in range(2))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        atexit.register(self.close)
        self._write_files()

    @property
    def url(self) -> str:
        return f"https://{_HOST}:{self._port}"

    @property
    def ca(self) -> Path:
        """The certificate that the API server made for itself; it signs for itself."""
        return self.directory / "pki" / "apiserver.crt"

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator, in the namespace `default`."""
        return Kubectl(self._programs / KUBECTL, self.kubeconfig, cache=self.directory / "kubectl")

    def audit(self) -> list[AuditEvent]:
        """Every request that the API server has answered so far, from all its runs, oldest first."""
        log = self.directory / "audit.log"
        # The line being written now has no end yet.
        rows = log.read_text().split("\n")[:-1] if log.exists() else []
        return [json.loads(row) for row in rows]

    # --- life ---

    def start(self) -> Self:
        self._start(
            ETCD,
            *("--data-dir", str(self.directory / "etcd"), "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={self._etcd}", f"--advertise-client-urls={self._etcd}"),
            *(f"--listen-peer-urls={self._etcd_peers}", f"--initial-advertise-peer-urls={self._etcd_peers}"),
            f"--initial-cluster=default={self._etcd_peers}",
        )
        self.start_api_server()
        self._start(
            CONTROLLER_MANAGER,
            *(f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"),
            *("--use-service-account-credentials", f"--root-ca-file={self.ca}"),
            f"--service-account-private-key-file={self._service_account_key}",
            # Its own brakes are for clusters that somebody else works on too.
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
        )
        # Its first deed in a namespace: from here on the controllers work.
        self._wait_for("/api/v1/namespaces/default/serviceaccounts/default", CONTROLLER_MANAGER)
        return self

    def start_api_server(self) -> None:
        self._start(
            API_SERVER,
            *(f"--etcd-servers={self._etcd}", f"--bind-address={_HOST}", f"--advertise-address={_HOST}"),
            *(f"--secure-port={self._port}", f"--cert-dir={self.ca.parent}", f"--service-cluster-ip-range={_SERVICES}"),
            *("--authorization-mode=RBAC", f"--token-auth-file={self.directory / 'tokens.csv'}"),
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            *(f"--audit-log-path={self.directory / 'audit.log'}", "--audit-log-maxsize=0"),
            # Else it waits a minute for watches, which do not end by themselves.
            "--shutdown-watch-termination-grace-period=1s",
        )
        self._wait_for("/readyz", API_SERVER)

    def stop_api_server(self) -> None:
        """Take it away, as an upgrade of the control plane does; etcd and the controllers stay."""
        self._stop(API_SERVER)

    def restart_api_server(self) -> None:
        self.stop_api_server()
        self.start_api_server()

    def stop(self) -> None:
        """Ask everything to end, and wait; the data stays."""
        for name in (CONTROLLER_MANAGER, API_SERVER, ETCD):
            self._stop(name)

    def close(self) -> None:
        """End everything and forget the data."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- its parts ---

    @property
    def _service_account_key(self) -> Path:
        return self.directory / "service-account.key"

    def _write_files(self) -> None:
        (self.directory / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        (self.directory / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}
                    ],
                    "users": [{"name": "admin", "user": {"token": self.token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                    "current-context": "test",
                }
            )
        )
        # Not `genpkey`: the API server reads no PKCS 8 here.
        make_key = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"]
        made = subprocess.run(
            [*make_key, "-out", str(self._service_account_key)], check=False, capture_output=True, text=True
        )
        if made.returncode:
            raise ControlPlaneError(f"openssl made no key: {made.stderr}")

    def _start(self, name: str, *options: str) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(self._programs / name), *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _stop(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            # Nothing of a test's cluster is worth waiting for.
            process.kill()
            process.wait()

    def _wait_for(self, path: str, name: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while (answer := self._get(path)) is not None:
            for part, process in self._processes.items():
                if process.poll() is not None:
                    raise self._failure(part, f"ended with {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise self._failure(name, f"was not there within {_READY_WITHIN:g} s ({answer})")
            time.sleep(0.05)

    def _get(self, path: str) -> str | None:
        """None when it is answered well, else what went wrong."""
        try:
            trusted = ssl.create_default_context(cafile=str(self.ca))
            request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
            with urllib.request.urlopen(request, timeout=5, context=trusted):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.reason}"
        # OSError: it does not listen yet, or has not made its certificate.
        except OSError as error:
            return str(error)

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _failure(self, name: str, what: str) -> ControlPlaneError:
        return ControlPlaneError(f"{name} {what}\n{self._log(name).read_text(errors='replace')[-3000:]}")


@dataclass(frozen=True)
class Cluster:
    """What tests run against, as the administrator. `control_plane` is None where it is a user's, which no test may stop."""

    kubectl: Kubectl
    control_plane: ControlPlane | None

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig
