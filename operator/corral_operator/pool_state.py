"""What the operator remembers of one pool from one look to the next. No I/O; the reconciler owns it.

A restart loses it, and must lose nothing by that: what takes long to learn is read back from the pool's status.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from corral.url import DEFAULT_PORT
from corral_operator.counting import Ask, QueueKey
from corral_operator.decision import Decision, Reason
from corral_operator.departures import Departures
from corral_operator.deployment import Deployment, Key
from corral_operator.findings import Inspected
from corral_operator.idleness import idle_after_s
from corral_operator.kept import Kept, kept
from corral_operator.learning import Learned, QueueMemory, learn
from corral_operator.observed import Observed, QueueReading, Reading, Staff
from corral_operator.pods import Starts
from corral_operator.presence import StaffMemory, staff_of
from corral_operator.report import Problem, Report, Scaled
from corral_operator.scaling import DEFAULT_POD_START_S, PoolMemory
from corral_operator.secret import RedisSecret
from corral_operator.spec import PoolSpec, Runtime, SpecError, read_spec
from corral_operator.table import Pool

TICK_S = 2.0
"""How often a pool is looked at that has work or pods."""

NET_S = 30.0
"""How often one is looked at that sleeps: a net under the events that wake it."""

AGES_EVERY_S = 5.0
"""How often the ages of running jobs are read."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 60.0
"""A proxy in between may ask for an hour, and answer again after seconds."""

CONFLICT_PAUSE_S = 0.2
PROBLEM_PAUSE_S = 5.0
LONGEST_PROBLEM_PAUSE_S = 10.0
"""What a user mends is seen so soon: a Secret is not watched."""


class Look(NamedTuple):
    """The pods of a Deployment: as of which version of it, when, and which."""

    version: int
    at_s: float
    pods: tuple[Mapping[str, Any], ...]


DUE = Look(-1, float("-inf"), ())
"""In place of a look: one is due, even if all pods are ready by then. Else nobody learns how long quick ones took."""


@dataclass(slots=True)
class PoolState:
    """One pool. Times are of the loop's clock, in seconds."""

    pool: Pool
    due_at: float
    spec: PoolSpec | None = None
    problem: Problem | None = None
    """Why it cannot be served, of the spec or the Secret; nothing is read while there is one."""
    secret: RedisSecret | None = None
    learned_of: str | None = None
    """Where the Redis is that everything learned is of, without a login."""
    kept: Kept = field(default_factory=Kept)
    busy: bool = False
    """Somebody attends to it right now."""
    stirred: bool = False
    """Something woke it meanwhile, and what was read may be older than that."""
    asleep: bool = False
    """Nothing to do and no pods: woken by an event, a due time or the net."""
    memory: PoolMemory | None = None
    queues: dict[str, QueueMemory] = field(default_factory=dict)
    learned: dict[str, Learned] = field(default_factory=dict)
    staff: StaffMemory | None = None
    orders_refused: str | None = None
    """What Redis said when it refused an order; None while it takes them."""
    leaving: int = 0
    """Pods that were told to take nothing more."""
    departures: Departures = field(default_factory=Departures)
    inspected: Inspected | None = None
    """What the closer looks found."""
    found: set[str] = field(default_factory=set)
    """Queues that existed at some time."""
    starts: Starts = field(default_factory=Starts)
    scaled: Scaled | None = None
    reported_at: float = float("-inf")
    ages_at: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")
    """The API server is left alone until then."""
    own_generation: int | None = None
    """The Deployment's generation after our last write; a later one is somebody else's doing."""
    looked: Look | None = None
    """The pods when they were listed last; None while nobody has to look."""
    manifest: tuple[object, Mapping[str, Any]] | None = None
    """What was rendered last, and from what."""
    mute_until: float = float("-inf")
    """The API server refused the status; it is not written again until then."""
    status_failures: int = 0
    """How often in a row."""
    missing: bool = False
    """The API server says that there is no such pool. Whether that is so, a list has to tell."""
    renders: tuple[float, ...] = ()
    """When the Deployment was rendered lately, the last time last."""
    rendered_of: str | None = None
    """The digest of what was rendered last."""
    told: Mapping[str, Any] | None = None
    """The status that was written last, in this process."""
    report: Report | None = None
    """What came of the last look; None when the API server refused."""

    @classmethod
    def begin(cls, pool: Pool, now_s: float) -> "PoolState":
        """A pool seen for the first time in this process."""
        state = cls(pool, due_at=now_s)
        state.kept = kept(pool.status)
        state.found = set(state.kept.found)
        state.scaled = state.kept.scaled
        state.starts = Starts((), state.kept.pod_start_s, state.kept.pod_start_p95_s)
        state._read_spec()
        return state

    @property
    def key(self) -> Key:
        return self.pool.key

    @property
    def secret_key(self) -> Key | None:
        """Its Secret; None when its spec cannot be read."""
        return None if self.spec is None else Key(self.key.namespace, self.spec.redis_secret)

    @property
    def workload(self) -> Key | None:
        """Its Deployment, there or not; None when its spec cannot be read."""
        return None if self.spec is None else Key(self.key.namespace, self.spec.deployment_ref or self.key.name)

    @property
    def pod_start_s(self) -> float:
        """How long a pod takes to start, nearly always."""
        return self.starts.p95_s or DEFAULT_POD_START_S

    def start(self) -> None:
        """Somebody attends to it from now on."""
        self.busy, self.stirred = True, False

    def finish(self, now_s: float) -> None:
        """Nobody does any more."""
        self.busy = False
        if self.stirred:
            self.wake(now_s)

    def take_over(self, now_s: float) -> None:
        """This operator writes from now on: what another one wrote counts, and not what was only wished here.

        As after a restart, but for what was learned meanwhile.
        """
        self.memory = self.told = self.own_generation = self.rendered_of = None
        self.departures = Departures()
        self.scaled = kept(self.pool.status).scaled
        self.reported_at = self.mute_until = self.not_before = float("-inf")
        self.failures = self.status_failures = 0
        self.renders = ()
        self.wake(now_s)

    def take(self, pool: Pool) -> bool:
        """The newest version of the pool; True when its spec is another one, and so is to be looked at now."""
        changed = pool.generation != self.pool.generation
        self.pool = pool
        if changed:
            self._read_spec()
            self.failures, self.not_before = 0, float("-inf")
        return changed

    def _read_spec(self) -> None:
        before = self.spec
        try:
            self.spec = read_spec(self.key.name, self.key.namespace, self.pool.spec)
        except SpecError as error:
            self.spec = None
            self.problem = Problem("SpecInvalid", f"{error}; correct the field")
            return
        self.problem = None
        if before is not None and before.redis_secret != self.spec.redis_secret:
            self.secret = None
        if before is not None and before.prefix != self.spec.prefix:
            self._forget_queues()

    def use(self, secret: RedisSecret) -> bool:
        """The Secret as it is now; True when it is another. What was learned of another Redis says nothing of this.

        With another login or certificate it is still the same Redis.
        """
        changed, place = self.secret != secret, _place(secret.url)
        if self.learned_of not in (None, place):
            self._forget_queues()
        elif changed:
            self.orders_refused = None  # the new login may be allowed more
        self.secret, self.learned_of, self.problem = secret, place, None
        return changed

    def _forget_queues(self) -> None:
        self.kept = replace(self.kept, service_s={}, found=frozenset())
        self.staff = self.orders_refused = self.inspected = None
        self.queues.clear()
        self.learned.clear()
        self.found.clear()

    # --- reading ---

    def asks(self, now_s: float) -> list[Ask]:
        """What to read of its queues."""
        if self.spec is None:
            return []
        ages = now_s - self.ages_at >= AGES_EVERY_S
        if ages:
            self.ages_at = now_s
        # A pool that sleeps has no pods. Those that do not beat are known by the jobs in their hands.
        beats = self.spec.runtime is Runtime.CORRAL
        holders = not beats or (self.staff is not None and not self.staff.beats)
        return [
            Ask(
                QueueKey(self.spec.prefix, name),
                self.pod_start_s,
                ages=ages,
                seen_before=name in self.found,
                workers=beats and not self.asleep,
                holders=holders and not self.asleep,
            )
            for name in self.spec.queues
        ]

    def learn(self, readings: tuple[Reading, ...], now_s: float) -> None:
        """Take the readings in."""
        assert self.spec is not None
        names = {row.name for row in readings if isinstance(row, QueueReading)}
        for row in readings:
            if isinstance(row, QueueReading):
                if row.exists:
                    self.found.add(row.name)
                self.learned[row.name], self.queues[row.name] = learn(
                    self.queues.get(row.name),
                    row,
                    now_s,
                    hint_s=self.spec.job_seconds,
                    kept_s=self.kept.service_s.get(row.name),
                )
        wanted = names | set(self.spec.queues)
        self.learned = {name: row for name, row in self.learned.items() if name in wanted}
        self.queues = {name: row for name, row in self.queues.items() if name in wanted}

    def crew(self, readings: Iterable[Reading], now_s: float) -> Staff:
        """Who works for it, by these readings."""
        assert self.workload is not None
        staff, self.staff = staff_of(readings, self.staff, now_s, workload=self.workload.name)
        return staff

    # --- when to look again ---

    def wake(self, now_s: float) -> None:
        """Look at it now, or as soon as the API server may be asked again; once more if somebody is looking."""
        self.stirred = self.busy
        self.due_at = min(self.due_at, max(now_s, self.not_before))

    def refused(self, code: int, retry_after_s: float | None, now_s: float) -> None:
        """The API server refused something, or did not answer."""
        self.failures += 1
        self.not_before = now_s + _pause_s(code, retry_after_s, self.failures)
        self.due_at = self.not_before

    def status_refused(self, code: int, retry_after_s: float | None, now_s: float) -> None:
        """It refused the status alone: that is written again later, and the pool is looked at as before."""
        self.status_failures += 1
        if code in (400, 403, 422):  # only a person can lift these
            self.mute_until = now_s + LONGEST_PAUSE_S
        else:
            self.mute_until = now_s + _pause_s(code, retry_after_s, self.status_failures)

    def postpone(self, now_s: float) -> None:
        """Something stands against the pool that only its user can mend: look again, though not at every tick."""
        self.failures += 1
        self.asleep = False
        self.due_at = now_s + min(LONGEST_PROBLEM_PAUSE_S, PROBLEM_PAUSE_S * self.failures)

    def schedule(
        self, decision: Decision | None, observed: Observed | None, deployment: Deployment | None, now_s: float
    ) -> None:
        """After a look without a refusal: when is the next one?"""
        self.failures = 0
        self.asleep = decision is not None and observed is not None and _sleeps(decision, observed, deployment)
        if not self.asleep or observed is None or self.spec is None:
            self.due_at = (now_s // TICK_S + 1) * TICK_S
            return
        # Spread over the ticks, so that a thousand sleeping pools are not looked at all at once.
        ticks = int(NET_S // TICK_S)
        shift = zlib.crc32(str(self.key).encode()) % ticks
        turn = int(now_s // TICK_S) + 1
        self.due_at = (turn + (shift - turn) % ticks) * TICK_S
        due_ms = [row.next_due_ms for row in observed.known if row.next_due_ms is not None and not row.paused]
        # A number set by hand waits for no job; one whose time has passed would be looked at without end.
        if due_ms and self.spec.replicas is None:
            lead_s = self.pod_start_s + idle_after_s(self.spec, self.pod_start_s)
            due_in_s = (min(due_ms) - observed.wall_ms) / 1000 - lead_s
            self.due_at = min(self.due_at, now_s + max(0.25, due_in_s))
        # A schedule that begins may ask for pods.
        if self.memory is not None and (change_ms := self.memory.agenda.next_ms) is not None:
            self.due_at = min(self.due_at, now_s + max(0.25, (change_ms - observed.wall_ms) / 1000))
        if self.mute_until > now_s:
            self.due_at = min(self.due_at, self.mute_until)  # its status is still to be told


def _pause_s(code: int, retry_after_s: float | None, failures: int) -> float:
    """Seconds until the API server is asked again, after so many refusals in a row."""
    if code == 409 and failures == 1:
        pause_s = CONFLICT_PAUSE_S  # only a matter of newer facts
    else:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 6))
    return max(pause_s, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def _place(url: str) -> str:
    """Host, port and database of a URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(f":{DEFAULT_PORT}")
    query = sorted(row for row in parse_qsl(parts.query) if row[0] not in ("username", "password"))
    return urlunsplit(("", host, parts.path.strip("/") or "0", urlencode(query), ""))


def _sleeps(decision: Decision, observed: Observed, deployment: Deployment | None) -> bool:
    if observed.unknown or decision.reason not in (Reason.IDLE, Reason.NEVER_CREATED, Reason.MANUAL):
        return False
    return decision.replicas == 0 and observed.pods.present == 0 and (deployment is None or deployment.total == 0)


def with_replicas(deployment: Deployment, replicas: int, version: int) -> Deployment:
    """As it is right after the scale subresource was written; the watch tells of it a moment later."""
    return replace(deployment, replicas=replicas, version=version, generation=deployment.generation + 1)
