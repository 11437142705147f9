"""What a script's code means to the caller when nothing was done: the error that says so."""

from corral.errors import (
    CorralError,
    JobHasParent,
    JobLocked,
    JobNotFound,
    JobNotInState,
    JobOfScheduler,
    LockLost,
    ParentNotFound,
)
from corral.state import State

_ERRORS: dict[int, tuple[type[CorralError], str]] = {
    0: (JobLocked, "a worker runs it, or one of its children"),
    -1: (JobNotFound, "it does not exist (any more)"),
    -2: (LockLost, "nobody holds its lock: it was not taken, has ended already, or its lock ran out"),
    -3: (JobNotInState, "it is not in the state that this needs"),
    -4: (JobNotInState, "it has open children"),
    -5: (ParentNotFound, "its parent does not exist (any more)"),
    -6: (LockLost, "another worker holds its lock"),
    -7: (JobHasParent, "it belongs to another parent, which is alive"),
    -8: (JobOfScheduler, "it is the pending iteration of a job scheduler; remove the scheduler instead"),
    -9: (JobNotInState, "children have failed that fail their parent"),
}


NOT_IN_STATE = -3


def refusal(code: int, job_id: str, queue: str, deed: str, state: State | None = None) -> CorralError:
    """The error for a code. `deed` is what was not done, like `promoted`; `state`: where the job is, if known."""
    kind, why = _ERRORS.get(code, (CorralError, f"code {code}"))
    if code == NOT_IN_STATE and state is not None:
        why = f"it is {state}"
    return kind(f"job {job_id} of queue {queue!r} was not {deed}: {why}")
