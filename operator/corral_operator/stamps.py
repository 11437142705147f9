"""Times as the API server writes them: RFC 3339, UTC, whole seconds. Pure."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that the form can say."""


def stamp(wall_ms: float) -> str | None:
    """`2026-03-01T12:00:05Z` for an epoch time; None for one that the form cannot say."""
    if not 0 <= wall_ms <= _LAST_MS:
        return None
    return (_EPOCH + timedelta(seconds=int(wall_ms // 1000))).isoformat().replace("+00:00", "Z")


def epoch_ms(text: object) -> int | None:
    """The epoch time of such a text; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment - _EPOCH) // timedelta(milliseconds=1)
