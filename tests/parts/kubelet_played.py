"""What a kubelet and a scheduler would say of the pods of one namespace, where there is no node.

Pods are never bound to a node, so the API server removes a deleted one at once, as if it had ended that moment.
"""

from __future__ import annotations

import threading
import urllib.error
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from kubectl import Manifest
    from namespace import Namespace

_EVERY = 0.1


class KubeletPlayed:
    """Makes every pod Ready once it is `start_s` seconds old; also a context manager, which ends the play.

    `room` is how many pods find a node; None: all. The others are told to be unschedulable until there is more room.
    """

    def __init__(self, namespace: Namespace, *, start_s: float = 0.0, room: int | None = None) -> None:
        self.room = room
        self._namespace = namespace
        self._start_s = start_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, name="kubelet-played", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                self._look()
            except OSError:
                continue  # the API server is away, or the pod is

    def _look(self) -> None:
        pods = sorted(self._namespace.every("pods"), key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        free = None if self.room is None else self.room - len(running)
        for pod in pods:
            if pod["status"]["phase"] != "Pending" or pod["metadata"].get("deletionTimestamp"):
                continue
            if free is not None and free <= 0:
                self._tell(pod, _homeless())
            elif _age_s(pod) >= self._start_s:
                self._tell(pod, _running(pod))
                free = None if free is None else free - 1

    def _tell(self, pod: Manifest, status: Manifest) -> None:
        told = [(row["type"], row["status"]) for row in pod["status"].get("conditions", ())]
        if told == [(row["type"], row["status"]) for row in status["conditions"]]:
            return
        try:
            self._namespace.write_status("pods", pod["metadata"]["name"], status)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in (404, 409):
                    raise


def _running(pod: Manifest) -> Manifest:
    now = _now()
    names = [row["name"] for row in pod["spec"]["containers"]]
    images = {row["name"]: row["image"] for row in pod["spec"]["containers"]}
    return {
        "phase": "Running",
        "startTime": pod["metadata"]["creationTimestamp"],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": name,
                "image": images[name],
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for name in names
        ],
    }


def _homeless() -> Manifest:
    return {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu.",
                "lastTransitionTime": _now(),
            }
        ]
    }


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _age_s(pod: Manifest) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
