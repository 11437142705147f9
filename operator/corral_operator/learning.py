"""What the counts of a queue teach: how fast jobs arrive, how long they take, how long the oldest has waited.

                    Corral's workers tell (`tally.py`)     plain counts over time, where nobody helps
                    ------------------------------------   --------------------------------------------------------
    entered         taken + ready                          id counter - (delayed - due) - waiting-children
    done            attempts that ended                    id counter - unfinished jobs; so failed attempts count
                                                           into S
    served          slot-seconds of their processors       the integral of `active` over time
    aged            the integral of the summed ages of the running jobs, either way

    arrival rate l     change of entered over max(300 s, 5 S); begun anew when the last max(30 s, S) differ from the
                       time before by more than three Poisson deviations
    service time S     served/done over the same span; the last 60 s instead when the two differ twofold
    remaining time V   aged/served: how long a running job still has to go, on average
    oldest age         time since `entered` passed (entered - ready)

Each step from one reading to the next is counted by what workers tell when both readings have it, else by the counts;
the sums go on, whichever it is. A deduplicated add raises the id counter: without beats S comes out low and l high.
Readings more than 15 s apart count neither as service nor as done. Before 50 jobs are done, S is the mean length of
the finished and the running jobs together, a running one taken as twice its age; without any, the user's hint, the
value of before, or one second.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from corral_operator.history import UNSEEN_S, History, Sample, add, at, passed
from corral_operator.observed import QueueReading
from corral_operator.tally import Tally, work_since

WINDOW_S = 300.0
RECENT_S = 60.0
FRESH_S = 30.0
ENOUGH = 50
ENOUGH_LATELY = 20
LEAST_SERVICE_S = 0.001
UNKNOWN_SERVICE_S = 1.0


class Source(StrEnum):
    """Where a service time comes from."""

    MEASURED = "Measured"
    RUNNING = "Running"
    """Too few jobs are done: the running ones count as well."""
    HINT = "Hint"
    KEPT = "Kept"
    DEFAULT = "Default"


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of a queue by now. Rates per second, spans in seconds."""

    arrival_rate: float
    service_s: float
    remaining_s: float
    oldest_age_s: float
    """How long the oldest ready job has been ready; 0 without one. At least so long, when nobody looked before."""
    taken: float
    """Jobs ever taken, cumulative."""
    source: Source

    @property
    def offered(self) -> float:
        """Slots that arrivals keep busy on average: l * S."""
        return self.arrival_rate * self.service_s


@dataclass(frozen=True, slots=True)
class QueueMemory:
    """What `learn` remembers of one queue; bounded, whatever happens."""

    history: History
    id_counter: int
    raw_entered: int
    raw_done: int
    """As the counts have it, whatever workers told."""
    tally: Tally | None
    """What workers had told by then; None while nobody asked them."""
    taken: float
    told: float
    """Jobs taken as far as workers told and `active` shows; never more than `taken`, which does not go back."""
    active: int
    mean_age_s: float | None
    """The mean age of the running jobs when it was last read."""
    service_s: float
    kept_s: float | None
    """The last service time that was measured."""
    rate_since_s: float
    """Arrivals before this belong to another time."""


def learn(
    memory: QueueMemory | None,
    reading: QueueReading,
    now_s: float,
    *,
    hint_s: float | None = None,
    kept_s: float | None = None,
) -> tuple[Learned, QueueMemory]:
    """Take one reading in. `hint_s` is the user's jobSeconds, `kept_s` the service time in the pool's status."""
    if memory is None or reading.id_counter < memory.id_counter:  # a counter that fell: obliterated, another Redis
        memory = _begin(reading, now_s, memory.kept_s if memory else kept_s)
    else:
        memory = _take_in(memory, reading, now_s)
    service_s, source = _service(memory, now_s, hint_s)
    rate, rate_since_s = _arrivals(memory, now_s, service_s)
    learned = Learned(
        arrival_rate=rate,
        service_s=service_s,
        remaining_s=_remaining(memory, now_s, service_s, source),
        oldest_age_s=now_s - passed(memory.history, memory.taken) if reading.ready else 0.0,
        taken=memory.taken,
        source=source,
    )
    measured_s = service_s if source is Source.MEASURED else memory.kept_s
    return learned, replace(memory, service_s=service_s, kept_s=measured_s, rate_since_s=rate_since_s)


def _begin(reading: QueueReading, now_s: float, kept_s: float | None) -> QueueMemory:
    sample = Sample(now_s, _entered(reading), 0.0, 0.0, 0.0, reading.running_age_s or 0.0)
    taken = sample.entered - reading.ready
    return QueueMemory(
        history=(sample,),
        id_counter=reading.id_counter,
        raw_entered=_entered(reading),
        raw_done=reading.id_counter - reading.unfinished,
        tally=Tally.of(reading),
        taken=taken,
        told=taken,
        active=reading.active,
        mean_age_s=_mean_age(reading, None),
        service_s=kept_s or UNKNOWN_SERVICE_S,
        kept_s=kept_s,
        rate_since_s=now_s,
    )


def _take_in(memory: QueueMemory, reading: QueueReading, now_s: float) -> QueueMemory:
    """Memory with the counts of this reading added. Between two readings, counts move in a straight line."""
    last = memory.history[-1]
    passed_s = max(0.0, now_s - last.at_s)
    mean_age_s = _mean_age(reading, memory.mean_age_s)
    running_age = reading.active * (mean_age_s or 0.0)
    raw_entered, raw_done = _entered(reading), reading.id_counter - reading.unfinished
    tally, work = Tally.of(reading), work_since(memory.tally, reading, passed_s)
    if work is None or tally is None or memory.tally is None:
        taken = told = last.entered + raw_entered - memory.raw_entered - reading.ready
        done, served = raw_done - memory.raw_done, passed_s * (memory.active + reading.active) / 2
    else:
        # A job in `active` that no worker has told of was taken since their last beats.
        told = memory.told + work.taken + tally.untold - memory.tally.untold
        taken = max(memory.taken, told)
        done, served = work.ended, work.seconds
    seen = passed_s <= UNSEEN_S
    sample = Sample(
        max(now_s, last.at_s),
        taken + reading.ready,
        last.done + (done if seen else 0),
        last.served + (served if seen else 0.0),
        last.aged + (passed_s * (last.running_age + running_age) / 2 if seen else 0.0),
        running_age,
    )
    # Only while jobs wait is more than the window needed: to tell how long the oldest has waited.
    keep_s = math.inf if reading.ready else _window(memory.service_s)
    return replace(
        memory,
        history=add(memory.history, sample, keep_s),
        id_counter=reading.id_counter,
        raw_entered=raw_entered,
        raw_done=raw_done,
        tally=tally,
        taken=taken,
        told=told,
        active=reading.active,
        mean_age_s=mean_age_s,
    )


def _entered(reading: QueueReading) -> int:
    return reading.id_counter - (reading.delayed - reading.due) - reading.waiting_children


def _mean_age(reading: QueueReading, before: float | None) -> float | None:
    if reading.running_age_s is None or not reading.active:
        return before
    return reading.running_age_s / reading.active


def _window(service_s: float) -> float:
    return max(WINDOW_S, 5 * service_s)


def _service(memory: QueueMemory, now_s: float, hint_s: float | None) -> tuple[float, Source]:
    """The mean service time, and where it comes from."""
    done, served = _work(memory, now_s - _window(memory.service_s))
    if done >= ENOUGH:
        long_s = max(served / done, LEAST_SERVICE_S)
        done, served = _work(memory, now_s - RECENT_S)
        lately_s = max(served / done, LEAST_SERVICE_S) if done >= ENOUGH_LATELY else long_s
        return (long_s if long_s / 2 < lately_s < long_s * 2 else lately_s), Source.MEASURED
    if (together_s := _together(memory, now_s - _window(memory.service_s))) is not None:
        return together_s, Source.RUNNING
    if hint_s is not None:
        return hint_s, Source.HINT
    if memory.kept_s is not None:
        return memory.kept_s, Source.KEPT
    return UNKNOWN_SERVICE_S, Source.DEFAULT


def _work(memory: QueueMemory, start_s: float) -> tuple[float, float]:
    """Jobs done and slot-seconds served since."""
    first, last = at(memory.history, start_s), memory.history[-1]
    return max(0.0, last.done - first.done), last.served - first.served


def _together(memory: QueueMemory, start_s: float) -> float | None:
    """The mean length of the jobs that finished since and those that run; None without either.

    The finished ones lasted what was served, plus the ages of those that ran at the start, less the ages of those that
    run now; the running ones are taken as twice their age. With nothing but running jobs it is twice their mean age.
    """
    first, last = at(memory.history, start_s), memory.history[-1]
    done, served = _work(memory, start_s)
    jobs = done + memory.active
    length_s = served + first.running_age + last.running_age
    return max(length_s / jobs, LEAST_SERVICE_S) if jobs > 0 and length_s > 0 else None


def _remaining(memory: QueueMemory, now_s: float, service_s: float, source: Source) -> float:
    """How long a running job still has to go on average; S, as if exponential, until ages were read for a while."""
    if source is not Source.MEASURED or memory.mean_age_s is None:
        return service_s
    first, last = at(memory.history, now_s - _window(service_s)), memory.history[-1]
    served = last.served - first.served
    return (last.aged - first.aged) / served if served > 0 else service_s


def _arrivals(memory: QueueMemory, now_s: float, service_s: float) -> tuple[float, float]:
    """The arrival rate, and since when arrivals count into it."""
    history, rate_since_s = memory.history, memory.rate_since_s
    since_s = max(rate_since_s, history[0].at_s, now_s - _window(service_s))
    fresh_s = now_s - max(FRESH_S, service_s)
    now, then, before = history[-1].entered, at(history, fresh_s).entered, at(history, since_s).entered
    if since_s < fresh_s and _differ(now - then, now_s - fresh_s, then - before, fresh_s - since_s):
        since_s, before, rate_since_s = fresh_s, then, fresh_s
    # Over less than 30 s nothing is said yet: a handful of jobs would be a flood.
    return max(0.0, now - before) / max(now_s - since_s, FRESH_S), rate_since_s


def _differ(fresh: float, fresh_s: float, before: float, before_s: float) -> bool:
    """Two counts are more than three deviations apart, had both come from one Poisson stream (and at least 3 jobs)."""
    rate = max(0.0, fresh + before) / (fresh_s + before_s)
    deviation = math.sqrt(rate * fresh_s * (1 + fresh_s / before_s))
    return abs(fresh - before * fresh_s / before_s) > 3 * max(1.0, deviation)
