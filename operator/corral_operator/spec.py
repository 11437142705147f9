"""The spec of a WorkerPool: what the API server holds, as a frozen value with every default filled in.

    field                                   default     meaning
    -------------------------------------   ---------   ---------------------------------------------------------
    redis.secretRef.name                    required    Secret with the way to Redis
    prefix                                  bull        of all keys
    runtime                                 Corral      Corral | Any: what the workers speak
    queues[].name                           required    1 to 32, each once
    minReplicas, maxReplicas                0, required
    concurrency                             1           jobs one pod runs at once, over all its queues
    target.wait, .percentile                60s, 95     so many percent of jobs wait no longer than this
    target.drain                                        the backlog is started within this
    target.jobsPerReplica                               the plain length rule; exactly one of the three
    jobSeconds                              learned     a hint of the mean service time
    behavior.up.step, .down.step            unlimited   replicas per 15 s at most
    behavior.up.window                      0s, 30s     a wish counts when it was held so long (what waits, arrives)
    behavior.down.window                    auto, 120s  down to the highest wish of so long (auto: one pod start)
    behavior.tolerance                      10          percent of load that a scale-down leaves spare
    idleAfter                               auto        how long nothing is left to do before zero
    mode                                    Auto        Auto | DryRun | Paused
    replicas                                automatic   a number: manual, until removed
    gracePeriod                             60s         what a pod gets to finish its jobs; absent, the template's
                                                        terminationGracePeriodSeconds goes before the default
    schedules[].name, .cron, .timeZone, UTC             up to 32: from each moment of a cron pattern (five fields) and
      .duration, .minReplicas, .maxReplicas             for so long, no fewer and no more replicas than these
    fallback.after, .policy, .replicas      3m, Hold    what counts when Redis cannot be read for so long:
                                                        Hold | AtLeast | Replicas
    protection.busy, .maxDrain              Drain, 10m  how busy pods are spared: Drain | Cost | None; and for how long
    template | deploymentRef.name           required    exactly one: a Deployment of our own, or an adopted one

Durations are text: hours, minutes, seconds, milliseconds in this order, as `90s`, `1h30m`, `500ms`.
A window or step that the user gives replaces the default for what waits and for what arrives alike.
Unknown fields are refused: a misspelt one must not be silently nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from corral_operator.fields import Fields, SpecError
from corral_operator.safeguards import (
    DEFAULT_FALLBACK,
    DEFAULT_PROTECTION,
    Busy,
    Fallback,
    FallbackPolicy,
    Protection,
    read_fallback,
    read_protection,
)
from corral_operator.timetable import MAX_SCHEDULES, Schedule, read_schedules

__all__ = [
    "API_VERSION",
    "KIND",
    "MAX_QUEUES",
    "MAX_SCHEDULES",
    "Behavior",
    "Busy",
    "DrainTarget",
    "Fallback",
    "FallbackPolicy",
    "LengthTarget",
    "Mode",
    "Pace",
    "PoolSpec",
    "Protection",
    "Runtime",
    "Schedule",
    "SpecError",
    "Target",
    "WaitTarget",
    "read_spec",
]

API_VERSION = "corral.dev/v1alpha1"
KIND = "WorkerPool"
MAX_QUEUES = 32
DEFAULT_GRACE_S = 60.0


class Runtime(StrEnum):
    """What the workers speak: Corral's probes and beats, or plain BullMQ."""

    CORRAL = "Corral"
    ANY = "Any"


class Mode(StrEnum):
    """What becomes of a decision: written, only published, or not even made."""

    AUTO = "Auto"
    DRY_RUN = "DryRun"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class WaitTarget:
    """`percentile` percent of the jobs wait no longer than `seconds`."""

    seconds: float
    percentile: float = 95.0


@dataclass(frozen=True, slots=True)
class DrainTarget:
    """What waits now has started after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LengthTarget:
    """One replica for so many jobs, whatever they take."""

    jobs_per_replica: float


Target = WaitTarget | DrainTarget | LengthTarget

DEFAULT_TARGET = WaitTarget(60.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast replicas may change in one direction. None: the defaults of the table above."""

    step: int | None = None
    window_s: float | None = None


@dataclass(frozen=True, slots=True)
class Behavior:
    up: Pace = Pace()
    down: Pace = Pace()
    tolerance: float = 10.0
    """Percent."""


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool as its user declared it."""

    name: str
    namespace: str
    redis_secret: str
    queues: tuple[str, ...]
    max_replicas: int
    prefix: str = "bull"
    runtime: Runtime = Runtime.CORRAL
    min_replicas: int = 0
    concurrency: int = 1
    target: Target = DEFAULT_TARGET
    job_seconds: float | None = None
    behavior: Behavior = Behavior()
    idle_after_s: float | None = None
    schedules: tuple[Schedule, ...] = ()
    fallback: Fallback = DEFAULT_FALLBACK
    protection: Protection = DEFAULT_PROTECTION
    mode: Mode = Mode.AUTO
    replicas: int | None = None
    grace_period_s: float | None = None
    """As the user said it; `grace_s` is what holds."""
    template: Mapping[str, Any] | None = None
    deployment_ref: str | None = None

    @property
    def adopted(self) -> bool:
        """The Deployment is the user's; only its replicas are ours."""
        return self.deployment_ref is not None

    @property
    def grace_s(self) -> float:
        """Seconds that a pod of our own gets to finish: the pool's word, else its template's, else 60."""
        if self.grace_period_s is not None:
            return self.grace_period_s
        pod = (self.template or {}).get("spec")
        seconds = pod.get("terminationGracePeriodSeconds") if isinstance(pod, Mapping) else None
        return float(seconds) if isinstance(seconds, int) else DEFAULT_GRACE_S


def read_spec(name: str, namespace: str, spec: Mapping[str, Any]) -> PoolSpec:
    """Read `spec` of a WorkerPool. Raises SpecError, which names the field."""
    fields = Fields(spec, "spec")
    max_replicas = fields.whole("maxReplicas", least=1)
    pool = PoolSpec(
        name=name,
        namespace=namespace,
        redis_secret=fields.inner("redis").inner("secretRef").text("name"),
        queues=_queues(fields),
        max_replicas=max_replicas,
        prefix=fields.text("prefix", "bull"),
        runtime=fields.choice("runtime", Runtime, Runtime.CORRAL),
        min_replicas=fields.whole("minReplicas", 0, most=max_replicas),
        concurrency=fields.whole("concurrency", 1, least=1),
        target=_target(fields),
        job_seconds=fields.positive_or_none("jobSeconds"),
        behavior=_behavior(fields),
        idle_after_s=fields.duration_or_none("idleAfter"),
        schedules=read_schedules(fields, max_replicas),
        fallback=read_fallback(fields, max_replicas),
        protection=read_protection(fields),
        mode=fields.choice("mode", Mode, Mode.AUTO),
        replicas=fields.whole_or_none("replicas"),
        grace_period_s=fields.duration_or_none("gracePeriod"),
        template=fields.mapping_or_none("template"),
        deployment_ref=fields.inner("deploymentRef").text("name") if fields.has("deploymentRef") else None,
    )
    if (pool.template is None) == (pool.deployment_ref is None):
        raise SpecError("spec", "needs exactly one of template and deploymentRef")
    fields.close()
    return pool


def _queues(fields: Fields) -> tuple[str, ...]:
    rows = fields.rows("queues", most=MAX_QUEUES)
    names: list[str] = []
    for row in rows:
        name = row.text("name")
        if name in names:
            raise SpecError(row.path("name"), f"names {name!r} twice")
        if ":" in name:
            raise SpecError(row.path("name"), f"must not contain a colon, got {name!r}")
        if "," in name or name != name.strip(" "):
            raise SpecError(row.path("name"), f"must hold no comma and no space at its ends, got {name!r}")
        names.append(name)
    return tuple(names)


def _target(fields: Fields) -> Target:
    if not fields.has("target"):
        return DEFAULT_TARGET
    target = fields.inner("target")
    given = [key for key in ("wait", "drain", "jobsPerReplica") if target.has(key)]
    if len(given) != 1:
        raise SpecError(target.path(), f"needs exactly one of wait, drain and jobsPerReplica, has {given or 'none'}")
    if target.has("percentile") and given != ["wait"]:
        raise SpecError(target.path("percentile"), "goes with wait alone")
    if given == ["wait"]:
        percentile = target.number("percentile", 95.0, above=0, below=100)
        return WaitTarget(target.duration("wait", positive=True), percentile)
    if given == ["drain"]:
        return DrainTarget(target.duration("drain", positive=True))
    return LengthTarget(target.number("jobsPerReplica", above=0))


def _behavior(fields: Fields) -> Behavior:
    behavior = fields.inner("behavior")
    up, down = behavior.inner("up"), behavior.inner("down")
    return Behavior(_pace(up), _pace(down), behavior.number("tolerance", 10.0, least=0))


def _pace(fields: Fields) -> Pace:
    return Pace(fields.whole_or_none("step", least=1), fields.duration_or_none("window"))
