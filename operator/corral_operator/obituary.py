"""What is told of replicas that died: one line for all that died alike."""

import math
from collections.abc import Sequence

from corral_operator.replica import Replica, ReplicaState
from corral_operator.sentences import count


def obituaries(replicas: Sequence[Replica]) -> list[str]:
    """Of those that died since the last time: `emails-1 and 2 others ended with exit code 2: ...; started anew in 4 s`."""
    dead: dict[str, list[Replica]] = {}
    for replica in replicas:
        if replica.trouble is not None and replica.state in (ReplicaState.WAITING, ReplicaState.GONE):
            dead.setdefault(replica.trouble, []).append(replica)
            replica.trouble = None
    return [_line(trouble, rows) for trouble, rows in dead.items()]


def _line(trouble: str, rows: Sequence[Replica]) -> str:
    others = f" and {count(len(rows) - 1, 'other')}" if len(rows) > 1 else ""
    waits = [row.again_in_s for row in rows if row.state is ReplicaState.WAITING]
    anew = f"; started anew in {math.ceil(max(waits))} s" if waits else ""
    return f"{rows[0].name}{others} {trouble}{anew}"
