"""What the programs of a node are told: pure functions from its place to the text of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node_place import NodePlace

NODE_NAME = "node"
PAUSE_IMAGE = "localhost/pause:1"
# As the node sees it, and where containerd has it by itself.
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")


def containerd(cni_programs: Path, cni_settings: Path) -> str:
    return f"""\
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  # Else pods need CAP_SYS_RESOURCE of us, which not every root has.
  restrict_oom_score_adj = true
  # It would be loaded into the machine's kernel.
  disable_apparmor = true
  # In the node's own /run, not on the machine.
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni_programs}"]
  conf_dir = "{cni_settings}"
  use_internal_loopback = true
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"""


def pod_network(place: NodePlace) -> str:
    """A link and a route for each pod. No bridge: what goes over one may pass by the rules of Services."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": place.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return json.dumps(
        {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}]}
    )


def dns(place: NodePlace, kubeconfig: Path) -> str:
    return f"""\
. {{
  bind {place.address}
  errors
  cache 5
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
  }}
}}
"""


def kubelet(place: NodePlace) -> str:
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{place.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            # Only the machine itself reaches it.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "clusterDNS": [place.address],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            # A full disk of a laptop is no reason to evict a test.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "maxPods": 240,
            "volumePluginDir": "/var/lib/kubelet/plugins-of-volumes",
        }
    )


def kube_proxy(place: NodePlace, kubeconfig: Path) -> str:
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": NODE_NAME,
            "mode": "nftables",
            "clusterCIDR": place.pods,
            # A Service follows its pods at once; by itself it would wait up to a second for more changes.
            "nftables": {"minSyncPeriod": "50ms"},
            # Those limits are the whole machine's, not the node's.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )
