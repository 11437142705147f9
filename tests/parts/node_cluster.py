"""A real Kubernetes with one node: pods run, Services and DNS answer, `exec` and logs work. Needs Linux and root.

It runs in a room of its own (`node_space`). From this machine the API server, pods and Services are reached at their
addresses, and pods reach this machine at `host_address`; nothing goes any further. Images come in by `load` alone.
"""

from __future__ import annotations

import atexit
import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import kubernetes_binaries as binaries
import node_packages
import node_settings as settings
from containerd import Containerd
from control_plane import ControlPlane
from daemons import Daemons
from image_archive import write_image
from kubectl import KubectlError
from node_place import PLACES, PlacesTakenError
from node_space import NodeSpace, clear

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from typing import Self

    from kubectl import Kubectl
    from node_place import NodePlace

_READY_WITHIN = 60.0


class NodeError(Exception):
    """A command on the node failed; the text is what it said."""


class NodeCluster:
    """One cluster of one node; also a context manager. `up` and `down` once each."""

    def __init__(self) -> None:
        """Check that it can be had here: BinariesMissingError or NodeImpossibleError says why not."""
        node_packages.demand()
        self._kubernetes, self._programs = binaries.compiled(with_node=True), binaries.node_folder()
        self._ends = ExitStack()

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator, in the namespace `default`."""
        return self.control_plane.kubectl

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig

    @property
    def logs_folder(self) -> Path:
        """A log for each program: `kubelet.log`, `kube-apiserver.log` ..."""
        return self._daemons.logs

    @property
    def host_address(self) -> str:
        """Where pods reach this machine: a server that binds to it (or to 0.0.0.0) serves pods too."""
        return self.place.host_address

    # --- what tests do on the node ---

    def load(self, image_tar: Path) -> None:
        """Give the node an image: a docker-archive or an OCI archive. Pods take it with imagePullPolicy IfNotPresent."""
        self._containerd.load(image_tar)

    def images(self) -> list[str]:
        """The names of the images that the node has."""
        return self._containerd.images()

    def pid_of(self, pod: str, container: str | None = None, *, namespace: str = "default") -> int:
        """The pid, on this machine, of a container's first process; of the only container where none is named."""
        statuses = self.kubectl.within(namespace).json("get", "pod", pod)["status"].get("containerStatuses", [])
        ids = {status["name"]: status.get("containerID", "") for status in statuses}
        if container is None:
            (container,) = ids
        return self._containerd.pid(ids[container].removeprefix("containerd://"))

    @property
    def on_node(self) -> tuple[str, ...]:
        """Goes before a command that shall run on the node, and end with it: the network is the node's, and so are
        /run, /var/lib and /var/log; the other files are this machine's.
        """
        return self._space.enter

    def exec_on_node(self, *command: str) -> str:
        """Run such a command, and give what it printed; NodeError when it fails."""
        ended = subprocess.run([*self.on_node, *command], check=False, capture_output=True, text=True)
        if ended.returncode:
            raise NodeError(f"{' '.join(command)}: {ended.stderr.strip()}")
        return ended.stdout

    # --- life ---

    def up(self) -> Self:
        """From nothing to a node that takes pods. When that fails, nothing is left of it."""
        self.place, self._claim = _claimed_place()
        self._space = NodeSpace(self.place)
        atexit.register(self.down)
        try:
            self._start()
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """End everything at once, and leave nothing."""
        clear(self.place)
        # These end nothing any more, they take note of it.
        self._ends.close()
        self._claim.close()
        atexit.unregister(self.down)

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    # --- its parts ---

    def _start(self) -> None:
        self._ends.callback(self._space.leave)
        self._space.open()
        self._daemons = Daemons(
            self.place.directory / "logs",
            wrapper=self._space.enter,
            environment={"PATH": f"{self._programs}:{os.environ['PATH']}"},
            detached=True,
        )
        self._ends.callback(self._daemons.close)
        self._start_containers()
        self.control_plane = ControlPlane(
            self._kubernetes,
            directory=self.place.directory / "control-plane",
            daemons=self._daemons,
            address=self.place.address,
            services=self.place.services,
            options=("--allow-privileged", "--kubelet-preferred-address-types=InternalIP"),
        )
        self._ends.callback(self.control_plane.close)
        self.control_plane.start()
        self._load_pause()
        self._start_node()
        self._daemons.wait_for(binaries.KUBELET, self._unready, _READY_WITHIN)

    def _start_containers(self) -> None:
        network = self.place.directory / "network"
        network.mkdir()
        (network / "10-pods.conflist").write_text(settings.pod_network(self.place))
        configured = self._written("containerd.toml", settings.containerd(self._programs, network))
        socket = self._space.seen(settings.CONTAINERD_SOCKET)
        self._containerd = Containerd(self._programs / binaries.CTR, socket)
        self._daemons.start(self._programs / binaries.CONTAINERD, "--config", str(configured))

    def _load_pause(self) -> None:
        self._daemons.wait_for(binaries.CONTAINERD, self._containerd.trouble, _READY_WITHIN)
        programs = {binaries.PAUSE: self._programs / binaries.PAUSE}
        self.load(write_image(self.place.directory / "pause.tar", settings.PAUSE_IMAGE, programs, ["/pause"]))

    def _start_node(self) -> None:
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        self._daemons.start(
            self._kubernetes / binaries.SCHEDULER,
            *(kubeconfig, "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"),
        )
        configured = self._written("Corefile", settings.dns(self.place, self.kubeconfig))
        self._daemons.start(self._programs / binaries.COREDNS, "-conf", str(configured))
        configured = self._written("kube-proxy.json", settings.kube_proxy(self.place, self.kubeconfig))
        self._daemons.start(self._kubernetes / binaries.KUBE_PROXY, f"--config={configured}")
        configured = self._written("kubelet.json", settings.kubelet(self.place))
        self._daemons.start(
            self._kubernetes / binaries.KUBELET,
            *(f"--config={configured}", kubeconfig, f"--hostname-override={settings.NODE_NAME}"),
            f"--node-ip={self.place.address}",
        )

    def _unready(self) -> str | None:
        try:
            node = self.kubectl.json("get", "node", settings.NODE_NAME)
        except KubectlError as error:
            return str(error)
        ready = [
            row["message"] for row in node["status"]["conditions"] if row["type"] == "Ready" and row["status"] != "True"
        ]
        # The controller manager takes the taint of a new node off a little after it is ready.
        taints = [taint["key"] for taint in node["spec"].get("taints", ())]
        return "; ".join([*ready, *taints]) or None

    def _written(self, name: str, text: str) -> Path:
        file = self.place.directory / name
        file.write_text(text)
        return file


def _claimed_place() -> tuple[NodePlace, socket.socket]:
    """The first free place. What earlier owners of any of them left behind is gone afterwards."""
    mine = None
    for place in PLACES:
        claim = place.claim()
        if claim is None:
            continue
        # The folder is the first thing that is made, and the last that is removed.
        if place.directory.exists():
            clear(place)
        if mine is None:
            mine = (place, claim)
        else:
            claim.close()
    if mine is None:
        raise PlacesTakenError(f"{len(PLACES)} nodes of Corral's tests run on this machine already")
    return mine
