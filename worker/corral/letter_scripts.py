"""Typed functions for dead letters: failed jobs in another queue of the same prefix, and back."""

from collections.abc import Sequence

from corral.keys import Keys
from corral.script import Caller, run, to_text
from corral.version import __version__

NOT_THERE, NOT_FAILED, OPEN_CHILDREN, OF_SCHEDULER = -1, -3, -4, -8
PARENT_WAITS, ID_TAKEN, NO_LETTER = -20, -21, -22


async def bury_jobs(
    caller: Caller, keys: Keys, to: Keys, dialect: str, now_ms: int, job_ids: Sequence[str]
) -> list[str | int]:
    """Move failed jobs to the queue `to`; gives for each the id of its letter there, or the code of why it stays.

    A job that an earlier call has moved is answered with its letter; where several had its id, with the first one's.
    """
    reply = await run(
        caller, "bury_jobs", keys, now_ms, to.base, keys.queue, f"corral:{__version__}", dialect, *job_ids
    )
    return [each if isinstance(each, int) else to_text(each) for each in reply]


async def replay_letters(
    caller: Caller, keys: Keys, dialect: str, now_ms: int, letter_ids: Sequence[str]
) -> list[tuple[str, str] | int]:
    """Move letters of the queue `keys` back; gives for each its queue and its id there, or the code of why it stays."""
    reply = await run(
        caller, "replay_letters", keys, now_ms, keys.prefix, f"corral:{__version__}", dialect, *letter_ids
    )
    return [each if isinstance(each, int) else (to_text(each[0]), to_text(each[1])) for each in reply]
