"""The wall clock, in the unit of the wire. Below the loops that call it, time comes in as an argument."""

import time


def now_ms() -> int:
    """Epoch time in whole milliseconds."""
    return time.time_ns() // 1_000_000
