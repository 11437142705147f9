"""A real Kubernetes control plane: etcd, the API server and the controller manager. On 127.0.0.1 it needs no root.

Schema, CEL, RBAC, server-side apply, the scale subresource, rollouts and garbage collection are real. Without a node
(`node_cluster`) pods are made and stay Pending; a test that needs a kubelet plays one. The ports and the data stay from
one start to the next, so that a test can take the API server away and bring it back.
"""

from __future__ import annotations

import atexit
import json
import secrets
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemons import DaemonError, Daemons
from kubectl import Kubectl
from kubernetes_binaries import API_SERVER, CONTROLLER_MANAGER, ETCD, KUBECTL
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from node_cluster import NodeCluster

AuditEvent = dict[str, Any]

_HOST = "127.0.0.1"
_READY_WITHIN = 60.0
_SERVICES = "10.96.0.0/16"

# Who did what to which object, once per request, and no contents.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlane:
    """One control plane in a folder of its own; also a context manager.

    `programs`: the folder of `kubernetes_binaries`. The rest is for one that has a node: the folder, what runs the
    programs there, the address and the range of Services that are reached there, more options of the API server.
    """

    def __init__(
        self,
        programs: Path,
        *,
        directory: Path | None = None,
        daemons: Daemons | None = None,
        address: str = _HOST,
        services: str = _SERVICES,
        options: Sequence[str] = (),
    ) -> None:
        self._programs = programs
        self.directory = directory or Path(tempfile.mkdtemp(prefix="corral-kubernetes-"))
        self.daemons = daemons or Daemons(self.directory / "logs")
        self.kubeconfig = self.directory / "kubeconfig"
        self.token = secrets.token_hex(16)
        self._address, self._services, self._options = address, services, tuple(options)
        self._port = free_port()
        self._etcd, self._etcd_peers = (f"http://{_HOST}:{free_port()}" for _ in range(2))
        atexit.register(self.close)
        self._write_files()

    @property
    def url(self) -> str:
        return f"https://{self._address}:{self._port}"

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
            # Else it makes a folder in /usr when it may.
            f"--flex-volume-plugin-dir={self.directory / 'volume-plugins'}",
            # Its own brakes are for clusters that somebody else works on too.
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
        )
        # Its first deed in a namespace: from here on the controllers work.
        self._wait_for("/api/v1/namespaces/default/serviceaccounts/default", CONTROLLER_MANAGER)
        return self

    def start_api_server(self) -> None:
        self._start(
            API_SERVER,
            *(f"--etcd-servers={self._etcd}", f"--cert-dir={self.ca.parent}", f"--secure-port={self._port}"),
            *(f"--bind-address={self._address}", f"--advertise-address={self._address}"),
            f"--service-cluster-ip-range={self._services}",
            *("--authorization-mode=RBAC", f"--token-auth-file={self.directory / 'tokens.csv'}"),
            f"--service-account-key-file={self._service_account_key}",
            f"--service-account-signing-key-file={self._service_account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            *(f"--audit-log-path={self.directory / 'audit.log'}", "--audit-log-maxsize=0"),
            # Else it waits a minute for watches, which do not end by themselves.
            "--shutdown-watch-termination-grace-period=1s",
            *self._options,
        )
        self._wait_for("/readyz", API_SERVER)

    def stop_api_server(self) -> None:
        """Take it away, as an upgrade of the control plane does; etcd and the controllers stay."""
        self.daemons.stop(API_SERVER)

    def restart_api_server(self) -> None:
        self.stop_api_server()
        self.start_api_server()

    def stop(self) -> None:
        """Ask everything to end, and wait; the data stays."""
        for name in (CONTROLLER_MANAGER, API_SERVER, ETCD):
            self.daemons.stop(name)

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
        self.directory.mkdir(exist_ok=True)
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
            raise DaemonError(f"openssl made no key: {made.stderr}")

    def _start(self, name: str, *options: str) -> None:
        self.daemons.start(self._programs / name, *options)

    def _wait_for(self, path: str, name: str) -> None:
        self.daemons.wait_for(name, lambda: self._get(path), _READY_WITHIN)

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


@dataclass(frozen=True)
class Cluster:
    """What tests run against, as the administrator.

    `control_plane` and `node` are None where the cluster is a user's, which no test may stop or look into; `node` also
    where there is none.
    """

    kubectl: Kubectl
    control_plane: ControlPlane | None
    node: NodeCluster | None = None

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig
