"""The jobs that the demo adds. Pure.

Each has an id of its own, known before it is added: at its end the demo asks for every single one.
"""

from dataclasses import replace

from corral import Backoff, JobOptions, JobSpec

QUEUE = "demo"

PAUSE = Backoff.exponential(0.5)
"""Between attempts: 0.5 s, 1 s, ..."""


def first_burst() -> list[JobSpec]:
    """All kinds at once; the reports behind some of the mails, so that they meet workers that are busy."""
    return [
        *(_flaky(f"flaky-{n}", n) for n in range(40)),
        *(_mail(f"mail-{n}", n) for n in range(400)),
        *(_spec("report", f"report-{n}", {"parts": 6}) for n in range(12)),
        *(_mail(f"mail-{n}", n) for n in range(400, 500)),
        *(_mail(f"soon-{n}", n, JobOptions(priority=1 + n % 5)) for n in range(50)),
        *(_mail(f"later-{n}", n, JobOptions(delay_ms=2000 + 200 * n)) for n in range(40)),
        *(_spec("broken", f"broken-{n}", {"to": f"nobody-{n}@example.com"}, JobOptions(attempts=3)) for n in range(5)),
    ]


def second_burst() -> list[JobSpec]:
    """What comes in while one worker is dead and its jobs wait to be recovered."""
    return [_mail(f"more-{n}", n) for n in range(300)]


def nodes_share() -> list[JobSpec]:
    """What a BullMQ producer in Node adds, where there is one."""
    return [
        *(_mail(f"node-mail-{n}", n) for n in range(80)),
        *(_flaky(f"node-flaky-{n}", n) for n in range(10)),
        *(_mail(f"node-later-{n}", n, JobOptions(delay_ms=3000 + 500 * n)) for n in range(10)),
    ]


def is_doomed(name: str) -> bool:
    """Whether jobs of this name are meant to fail for good."""
    return name == "broken"


def _mail(job_id: str, n: int, opts: JobOptions | None = None) -> JobSpec:
    return _spec("mail", job_id, {"ms": 60 + n * 37 % 80}, opts)


def _flaky(job_id: str, n: int) -> JobSpec:
    return _spec("flaky", job_id, {"fails": 1 + n % 2}, JobOptions(attempts=3, backoff=PAUSE))


def _spec(name: str, job_id: str, data: object, opts: JobOptions | None = None) -> JobSpec:
    return JobSpec(name, data, replace(opts or JobOptions(), job_id=job_id))
