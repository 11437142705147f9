"""A model of KEDA's list-length scaler with the autoscaler behind it, to be played on the same loads as ours.

From KEDA's and Kubernetes' documentation: polled every 30 s; at zero any job makes one replica, and the last replica goes
300 s after the last job that waited; in between, every 15 s, as many replicas as the list's length asks for: nothing
within a tolerance of 10 %, up by four or twofold per 15 s whichever is more, down to the highest wish of 300 s.
"""

import math

from corral_operator.observed import Pods, QueueReading

POLL_S = 30.0
SYNC_S = 15.0
COOLDOWN_S = 300.0
STABLE_S = 300.0
TOLERANCE = 0.1


class KedaModel:
    """`list_length`: jobs per replica, KEDA's default is 5. Called every tick with what there is."""

    def __init__(self, list_length: float, most: int) -> None:
        self._list_length, self._most = list_length, most
        self._polled_s = self._synced_s = -math.inf
        self._active_s = -math.inf
        self._wishes: list[tuple[float, int]] = []

    def __call__(self, now_s: float, reading: QueueReading, pods: Pods) -> int:
        """The replicas after this moment."""
        present = pods.present
        # The list alone: KEDA knows neither delayed jobs nor those that run.
        length = reading.waiting
        if now_s - self._polled_s >= POLL_S:
            self._polled_s = now_s
            if length > 0:
                self._active_s = now_s
                present = max(present, 1)
            elif present and now_s - self._active_s >= COOLDOWN_S:
                self._wishes.clear()
                return 0
        if present and now_s - self._synced_s >= SYNC_S:
            self._synced_s = now_s
            present = self._autoscale(now_s, length, present)
        return present

    def _autoscale(self, now_s: float, length: int, present: int) -> int:
        wish = max(1, math.ceil(length / self._list_length))
        if abs(1 - length / (self._list_length * present)) <= TOLERANCE:
            wish = present
        self._wishes = [row for row in self._wishes if now_s - row[0] <= STABLE_S] + [(now_s, wish)]
        wish = max(number for _, number in self._wishes) if wish < present else wish
        return min(wish, max(present + 4, 2 * present), self._most)
