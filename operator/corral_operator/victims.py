"""Which pods go when there are too many, and how many replicas may be written now. Pure.

Kubernetes chooses what it deletes: pods that are not ready first, then the lowest deletion cost. So the number is
lowered by no more pods than stand in front of all others there, and may go:

    not ready              by their number alone: no mark counts while there is one of them
    ready and safe         its workers take nothing and hold nothing: marked with the lowest cost, then counted
    ready and not safe     told to take nothing, and waited for until `max_drain_s` is over

A pod is judged by what its workers say, and one of whom nobody knows counts as busy. One that is not ready and works
all the same stands in front of those that are ready: no mark on these is counted on until it is safe.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from corral.beat_record import BEAT_S, IDLE_BEAT_S
from corral_operator.observed import Member, Staff
from corral_operator.pods import LivePod
from corral_operator.spec import Busy

IDLE_S = 10.0
"""A pod that has been idle for so long goes before one that was told and is still busy: that one may be for long."""


SOON_S = IDLE_BEAT_S + BEAT_S
"""Within so many seconds an idle pod that was told has said that it is quiet."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the choice depends on. `pods` are those that are not ending, `present` what the Deployment asks for.

    `safe`: names of the pods whose workers have obeyed. `ordered`: of those that were told. `since`: when a pod was
    chosen, by its uid; `held_since_s`: since when two templates have kept any choice from being made.
    """

    pods: Sequence[LivePod]
    present: int
    wanted: int
    staff: Staff
    now_s: float
    guard: Busy = Busy.DRAIN
    max_drain_s: float = 600.0
    safe: Collection[str] = ()
    ordered: Collection[str] = ()
    since: Mapping[str, float] = field(default_factory=dict)
    held_since_s: float | None = None
    rollout: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: write `marks`, then the number of `replicas`; take `unmarks` away.

    `victims` are to take nothing more; `waiting` of them are not done yet, `overdue` go all the same.
    """

    replicas: int
    victims: tuple[LivePod, ...] = ()
    marks: tuple[LivePod, ...] = ()
    unmarks: tuple[LivePod, ...] = ()
    overdue: tuple[LivePod, ...] = ()
    waiting: int = 0
    since: Mapping[str, float] = field(default_factory=dict)
    held_since_s: float | None = None


def plan_of(scene: Scene) -> Plan:
    """One step towards the wanted number, from what is known now."""
    if scene.guard is Busy.DRAIN and (scene.rollout or len({pod.template for pod in scene.pods}) > 1):
        return _held(scene)
    if scene.guard is Busy.NONE or len(scene.pods) <= scene.wanted:
        return _spared(scene, scene.wanted)
    return _chosen(scene)


def _held(scene: Scene) -> Plan:
    """While pods of two templates are there, the Deployment divides what it deletes among both: nobody can choose."""
    if scene.wanted >= scene.present:
        return _spared(scene, scene.wanted)
    since_s = scene.now_s if scene.held_since_s is None else scene.held_since_s
    over = not scene.rollout and scene.now_s - since_s >= scene.max_drain_s
    return _spared(scene, scene.wanted if over else scene.present, since_s)


def _spared(scene: Scene, replicas: int, held_since_s: float | None = None) -> Plan:
    """Nobody is chosen, and whoever was is let off."""
    return Plan(replicas, unmarks=tuple(pod for pod in scene.pods if pod.marked), held_since_s=held_since_s)


def _chosen(scene: Scene) -> Plan:
    surplus, drains = len(scene.pods) - scene.wanted, scene.guard is Busy.DRAIN
    first = _first(scene)
    rest = sorted((pod for pod in scene.pods if pod not in first), key=lambda pod: _turn(scene, pod))
    victims = rest[: max(0, surplus - len(first))]
    # A mark decides only among those that are alike ready, and for nobody as long as others are in front.
    gone = [pod for pod in victims if not first and _tier(pod) == _tier(rest[0]) and _may_go(scene, pod)]
    if drains and not first and any(_soon(scene, pod) for pod in victims):
        gone = []  # one write for all of them
    late = [pod for pod in gone if drains and _late(scene, pod)]
    replicas = max(scene.wanted, len(scene.pods) - (len(first) or len(gone)))
    # Pods that an earlier number has given up may still be there.
    replicas = scene.wanted if scene.wanted >= scene.present else min(scene.present, replicas)
    lowers, chosen = replicas < scene.present, frozenset(victims)
    return Plan(
        replicas=replicas,
        victims=tuple(victims) if drains else (),
        marks=_marks(scene, gone) if lowers else (),
        unmarks=tuple(pod for pod in scene.pods if pod.marked and not (pod in chosen and _may_go(scene, pod))),
        overdue=tuple(late) if lowers else (),
        waiting=sum(not _may_go(scene, pod) for pod in victims),
        since=_since(scene, victims) if drains else {},
    )


def _first(scene: Scene) -> frozenset[LivePod]:
    """Those that Kubernetes deletes first in any case, as far as all of them may go."""
    found: list[LivePod] = []
    for tier in (0, 1):
        alike = [pod for pod in scene.pods if _tier(pod) == tier]
        if not all(_may_go(scene, pod) for pod in alike):
            break
        found += alike
    return frozenset(found)


def _tier(pod: LivePod) -> int:
    """Kubernetes deletes those of a lower one first: not yet running, not ready, ready."""
    return 2 if pod.ready else 0 if pod.pending else 1


def _may_go(scene: Scene, pod: LivePod) -> bool:
    """It has obeyed or was waited for long enough, or it is not ready and nobody in it is known to work.

    Without the cordon nobody is waited for: as many pods stay as are busy.
    """
    if scene.guard is not Busy.DRAIN or pod.name in scene.safe or _late(scene, pod):
        return True
    member = scene.staff.members.get(pod.name)
    return not pod.ready and (member is None or member.silent)


def _late(scene: Scene, pod: LivePod) -> bool:
    since_s = scene.since.get(pod.uid, inf)
    return pod.name not in scene.safe and scene.now_s - since_s >= scene.max_drain_s


def _soon(scene: Scene, pod: LivePod) -> bool:
    """It was told a moment ago and holds nothing: within a beat it will have obeyed."""
    member = _known(scene, pod)
    told_s = scene.now_s - scene.since.get(pod.uid, scene.now_s)
    return member is not None and member.busy == 0 and told_s < SOON_S and not _may_go(scene, pod)


def _since(scene: Scene, chosen: Sequence[LivePod]) -> Mapping[str, float]:
    return {pod.uid: scene.since.get(pod.uid, scene.now_s) for pod in chosen}


def _marks(scene: Scene, gone: Sequence[LivePod]) -> tuple[LivePod, ...]:
    """Who needs the lowest cost. Where all go, nobody does."""
    if len(gone) == len(scene.pods):
        return ()
    chosen = gone if scene.guard is Busy.DRAIN else [pod for pod in gone if _idle(scene, pod)]
    return tuple(pod for pod in chosen if not pod.marked)


def _idle(scene: Scene, pod: LivePod) -> bool:
    """It holds no job, as far as anybody can know without a cordon."""
    member = _known(scene, pod)
    if member is not None:
        return not member.busy
    # Where workers do not beat, only those with a job are named.
    return pod.name not in scene.staff.members and scene.staff.complete and not scene.staff.beats


def _known(scene: Scene, pod: LivePod) -> Member | None:
    member = scene.staff.members.get(pod.name)
    return member if member is not None and not member.silent and member.busy is not None else None


def _turn(scene: Scene, pod: LivePod) -> tuple[int, bool, int, float, float, float]:
    """Quiet already, then idle longest, then the fewest jobs, then youngest; last, those of whom nobody knows.

    Before all of them, what Kubernetes takes first in any case.
    """
    member, tier = _known(scene, pod), _tier(pod)
    hurts = tier < 2 and not _may_go(scene, pod)
    if member is None:
        return tier, hurts, 1 if _idle(scene, pod) else 5, 0, 0, -pod.created_s
    told = member.quiet or pod.name in scene.ordered
    idle_since_s = inf if member.idle_since_s is None else member.idle_since_s
    idle_long = scene.now_s - idle_since_s >= IDLE_S
    group = (2 if told else 4) if member.busy else 0 if told else 1 if idle_long else 3
    return tier, hurts, group, member.busy or 0, idle_since_s, -pod.created_s
