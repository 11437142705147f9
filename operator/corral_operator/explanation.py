"""`corral explain`: why a pool has so many replicas, in sections, from what the API server holds of it. Pure.

Only what the status says is told, and what the spec makes of it; nothing is guessed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from corral_operator.figures import figure, number, whole
from corral_operator.idleness import idle_after_s
from corral_operator.kept import inner, named, rows
from corral_operator.prospects import prospects_of
from corral_operator.recollection import pod_start_of
from corral_operator.rules import CANDIDATES, RULES
from corral_operator.sections import Section
from corral_operator.sentences import count, span
from corral_operator.spec import Busy, DrainTarget, LengthTarget, Mode, PoolSpec, Schedule, SpecError, read_spec
from corral_operator.stamps import epoch_ms

_GOOD = {
    "Ready": "True",
    "RedisReachable": "True",
    "QueueFound": "True",
    "Protected": "True",
    "Limited": "False",
    "Manual": "False",
    "Conflict": "False",
    "Stuck": "False",
    "NoConsumer": "False",
    "PoisonJobs": "False",
}
"""How conditions should be. Unknown is told by the condition that it comes from."""

Rows = Iterator[tuple[str, ...]]


def explanation_of(body: Mapping[str, Any], now_ms: int, *, from_file: bool = False) -> list[Section]:
    """The sections that have something to tell, the most wanted first. `from_file`: no API server holds the pool."""
    metadata, spec, status = inner(body, "metadata"), inner(body, "spec"), inner(body, "status")
    name, namespace = str(metadata.get("name")), str(metadata.get("namespace"))
    try:
        policy, problem = read_spec(name, namespace, spec), None
    except SpecError as error:
        policy, problem = None, str(error)
    sections = [
        (f"{namespace}/{name}", _why(metadata, status, problem, now_ms)),
        ("candidates", _candidates(status)),
        ("to be seen to", _conditions(status, now_ms)),
        ("what would change it", _changes(policy, status, now_ms, from_file=from_file)),
        ("now", _now(status, now_ms)),
        ("learned", _learned(status)),
        ("limits", _limits(policy, status)),
    ]
    told = [Section(title, tuple(rows)) for title, rows in sections]
    return [section for section in told if section.rows]


def _why(metadata: Mapping[str, Any], status: Mapping[str, Any], problem: str | None, now_ms: int) -> Rows:
    decision, scaled = inner(status, "decision"), inner(status, "lastScale")
    if problem is not None:
        yield "spec", f"cannot be read: {problem}"
    if not status:
        yield "decision", "none: the operator has not looked yet. Does it run, and does it watch this namespace?"
        return
    seen, newest = status.get("observedGeneration"), metadata.get("generation")
    if seen != newest:
        yield "outdated", "the spec was changed since, and the operator has not looked yet. Does it run?"
    yield "decision", str(decision.get("text", "none; see below"))
    if (reason := str(decision.get("reason"))) in RULES:
        yield "rule", f"{reason}: {RULES[reason]}"
    held = inner(decision, "held")
    if held:
        yield "held", _held(held, status.get("desired"))
    if (since := _ago(decision.get("at"), now_ms)) is not None:
        yield "since", since
    if (ago := _ago(scaled.get("at"), now_ms)) is not None:
        numbers = f"from {_count(scaled.get('from'))} to {_count(scaled.get('to'))}"
        yield "changed", f"{ago} ago, {numbers} ({scaled.get('reason')})"


def _held(held: Mapping[str, Any], desired: object) -> str:
    wanted, because = whole(held.get("wanted")), str(held.get("because"))
    rises = wanted is not None and wanted > (whole(desired) or 0)
    words = "a higher wish counts when it has lasted" if rises and because == "Window" else RULES.get(because, "")
    return f"{_count(wanted)} {'are wanted' if rises else 'would do'}, but {because}: {words}"


def _candidates(status: Mapping[str, Any]) -> Rows:
    decision = inner(status, "decision")
    chosen = decision.get("chosenBy")
    for name, replicas in inner(decision, "candidates").items():
        words = CANDIDATES.get(name, "")
        yield name, f"{_count(replicas):>6}", f"{words}; chosen" if name == chosen else words


def _conditions(status: Mapping[str, Any], now_ms: int) -> Rows:
    for row in rows(status, "conditions"):
        kind, value = row.get("type"), row.get("status")
        good = _GOOD.get(str(kind))
        chosen = kind == "Protected" and row.get("reason") == Busy.NONE
        if good is not None and value in ("True", "False") and value != good and not chosen:
            since = _ago(row.get("lastTransitionTime"), now_ms) or "?"
            yield str(kind), str(row.get("reason")), f"for {since}", str(row.get("message"))


def _changes(policy: PoolSpec | None, status: Mapping[str, Any], now_ms: int, *, from_file: bool) -> Rows:
    if policy is not None:
        for prospect in prospects_of(policy, status, now_ms, from_file=from_file):
            yield prospect.change, prospect.when


def _now(status: Mapping[str, Any], now_ms: int) -> Rows:
    pods = inner(status, "pods")
    if pods:
        yield (
            "pods",
            ", ".join(f"{_count(there)} {state}" for state, there in pods.items() if there or state == "ready"),
        )
    for row in named(status, "queues"):
        if "ready" not in row:
            yield row["name"], "not known"
            continue
        told = [f"{_count(row.get(state))} {state}" for state in ("ready", "active", "delayed")]
        if (age := _ago(row.get("oldestSince"), now_ms)) is not None:
            told.append(f"the oldest ready for {age}")
        if (due_ms := epoch_ms(row.get("nextDueAt"))) is not None and due_ms > now_ms:
            told.append(f"the next due in {span((due_ms - now_ms) / 1000)}")
        yield row["name"], ", ".join(told) + ("; paused" if row.get("paused") is True else "")


def _learned(status: Mapping[str, Any]) -> Rows:
    learned = inner(status, "learned")
    start, p95 = number(learned.get("podStartSeconds")), number(learned.get("podStartSecondsP95"))
    if start is not None:
        yield "pod start", span(start) + ("" if p95 is None else f", 95 % within {span(p95)}")
    for row in named(learned, "queues"):
        told = []
        if (rate := number(row.get("arrivalsPerSecond"))) is not None:
            told.append(f"{figure(rate)} jobs/s arrive")
        if (service := number(row.get("jobSeconds"))) is not None:
            told.append(f"a job takes {span(service)}")
        if (remaining := number(row.get("remainingSeconds"))) is not None:
            told.append(f"a running one still {span(remaining)}")
        yield row["name"], ", ".join(told)


def _limits(policy: PoolSpec | None, status: Mapping[str, Any]) -> Rows:
    if policy is None:
        return
    yield "replicas", f"{policy.min_replicas:,} to {policy.max_replicas:,}"
    for schedule in policy.schedules:
        yield "schedule", _schedule(schedule)
    yield "target", _target(policy)
    yield "pod", f"{count(policy.concurrency, 'job')} at once"
    how = "" if policy.idle_after_s is not None else ", automatic"
    yield "idleAfter", span(idle_after_s(policy, pod_start_of(status))) + how
    if policy.mode is not Mode.AUTO:
        yield "mode", f"{policy.mode}: nothing is written"


def _schedule(schedule: Schedule) -> str:
    bounds = []
    if schedule.min_replicas is not None:
        bounds.append(f"at least {schedule.min_replicas:,}")
    if schedule.max_replicas is not None:
        bounds.append(f"at most {schedule.max_replicas:,}")
    when = f"from {schedule.cron} {schedule.time_zone} on, for {span(schedule.duration_s)}"
    return f"{schedule.name}: {' and '.join(bounds)} {when}"


def _target(policy: PoolSpec) -> str:
    target = policy.target
    if isinstance(target, LengthTarget):
        return f"{target.jobs_per_replica:g} jobs per replica"
    if isinstance(target, DrainTarget):
        return f"what waits has started within {span(target.seconds)}"
    return f"{target.percentile:g} % wait less than {span(target.seconds)}"


def _count(value: object) -> str:
    """A question mark for what is no count."""
    return "?" if (told := whole(value)) is None else f"{told:,}"


def _ago(text: object, now_ms: int) -> str | None:
    since_ms = epoch_ms(text)
    return None if since_ms is None else span(max(0, now_ms - since_ms) / 1000)
