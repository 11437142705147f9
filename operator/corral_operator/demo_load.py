"""The jobs that the demo adds. Pure.

Each has an id of its own, known before it is added: at its end the demo asks for every single one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from corral import Backoff, JobOptions, JobSpec

MAILS = "mails"
THUMBNAILS = "thumbnails"
"""The queues, and the pools of the same names."""

PAUSE = Backoff.exponential(0.5)
"""Between attempts: 0.5 s, 1 s, ..."""

LONG = "newsletter"
"""The name of the jobs that take seconds."""

Jobs = Mapping[str, Sequence[JobSpec]]
"""By queue."""

_MAILS = (20, 40, 80, 120, 160, 200, 240, 240)
_THUMBNAILS = (4, 6, 8, 12, 18, 22, 24, 16)


def rising() -> list[Jobs]:
    """Parts to be added a second apart, larger and larger: soon more than one worker can do.

    The last one has a bit of everything; the newsletters lie behind the mails, so that they meet several workers.
    """
    *mails, last_mails = _mails()
    mails.append([*_flaky_ones(), *_broken_ones(), *last_mails, *_newsletters(), *_odd_ones()])
    return [{MAILS: some, THUMBNAILS: others} for some, others in zip(mails, _drawings(), strict=True)]


def nodes_share() -> Sequence[JobSpec]:
    """What a BullMQ producer in Node adds to the mails, where there is one."""
    return [
        *(_mail(f"node-mail-{n}", n) for n in range(80)),
        *(_flaky(f"node-flaky-{n}", n) for n in range(10)),
        *(_mail(f"node-later-{n}", n, JobOptions(delay_ms=2000 + 300 * n)) for n in range(10)),
    ]


def reminder(delay_s: float) -> JobSpec:
    """The delayed mail that wakes a pool at zero."""
    return _mail("reminder", 0, JobOptions(delay_ms=round(delay_s * 1000)))


def is_doomed(name: str) -> bool:
    """Whether jobs of this name are meant to fail for good."""
    return name == "broken"


def _mails() -> list[list[JobSpec]]:
    return [[_mail(f"mail-{part}-{n}", n) for n in range(number)] for part, number in enumerate(_MAILS)]


def _drawings() -> list[list[JobSpec]]:
    return [
        [_spec("draw", f"drawing-{part}-{n}", {"size": 130 + n % 5 * 10}) for n in range(number)]
        for part, number in enumerate(_THUMBNAILS)
    ]


def _flaky_ones() -> list[JobSpec]:
    return [_flaky(f"flaky-{n}", n) for n in range(40)]


def _broken_ones() -> list[JobSpec]:
    options = JobOptions(attempts=3)
    return [_spec("broken", f"broken-{n}", {"to": f"nobody-{n}@example.com"}, options) for n in range(5)]


def _newsletters() -> list[JobSpec]:
    return [_spec(LONG, f"newsletter-{n}", {"parts": 8}) for n in range(12)]


def _odd_ones() -> list[JobSpec]:
    """Some behind all others, by their priority; some later, by their delay."""
    return [
        *(_mail(f"behind-{n}", n, JobOptions(priority=1 + n % 5)) for n in range(50)),
        *(_mail(f"later-{n}", n, JobOptions(delay_ms=2000 + 200 * n)) for n in range(40)),
    ]


def _mail(job_id: str, n: int, opts: JobOptions | None = None) -> JobSpec:
    return _spec("mail", job_id, {"ms": 200 + n * 37 % 200}, opts)


def _flaky(job_id: str, n: int) -> JobSpec:
    return _spec("flaky", job_id, {"fails": 1 + n % 2}, JobOptions(attempts=3, backoff=PAUSE))


def _spec(name: str, job_id: str, data: object, opts: JobOptions | None = None) -> JobSpec:
    return JobSpec(name, data, replace(opts or JobOptions(), job_id=job_id))
