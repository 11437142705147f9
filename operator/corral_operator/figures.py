"""Numbers of a status, which anybody may have written, and how they are shown. Pure."""

import math


def whole(value: object) -> int | None:
    """A count; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def number(value: object) -> float | None:
    """A rate or a span; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if value >= 0 else None


def figure(value: float) -> str:
    """Three figures are enough: `0.0333`, `6.67`, `2,001`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
