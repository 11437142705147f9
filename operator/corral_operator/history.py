"""Cumulative counts of one queue over time: a bounded tuple of samples, close together lately, sparse long ago.

A day of samples every two seconds would be 43,200 rows; kept at a twelfth of their age apart they are fewer than
MOST, and a window still finds its beginning within a few percent. While nothing happens, two rows are enough.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

LONGEST_S = 86_400.0
"""How far back samples reach at most."""

MOST = 256
"""No history is ever longer."""

UNSEEN_S = 15.0
"""What happened between two samples further apart than this, nobody knows."""

THIN_EVERY = 8
"""Samples more, until all are gone through: that need not be done for each."""

_CLOSE_S = 5.0
_SPARSE = 12
_CLOSEST_S = 2.0


class Sample(NamedTuple):
    """Counts up to a moment. All but the last are cumulative."""

    at_s: float
    entered: float
    done: float
    served: float
    aged: float
    running_age: float = 0.0
    """The summed ages of the jobs that ran at that moment."""


History = tuple[Sample, ...]


def add(history: History, sample: Sample, keep_s: float) -> History:
    """The history with one sample more, thinned, back to `keep_s` before it (and one sample from before that)."""
    if history and sample.at_s <= history[-1].at_s:
        history = history[:-1]
    rows = (*_since(history, sample.at_s - min(keep_s, LONGEST_S)), sample)
    if len(rows) >= 3 and rows[-3][1:] == rows[-2][1:] == sample[1:]:
        return (*rows[:-2], sample)
    if len(rows) < 3 or len(rows) % THIN_EVERY:
        return rows
    thinned = [rows[0]]
    for middle, later in pairwise(rows[1:]):
        if not _spare(thinned[-1], middle, later, sample.at_s):
            thinned.append(middle)
    thinned.append(sample)
    return tuple(thinned[-MOST:])


def at(history: History, moment_s: float) -> Sample:
    """The counts at a moment, drawn straight between two samples; the first sample for anything before it."""
    after = bisect_right(history, moment_s, key=_time)
    if after == 0:
        return history[0]
    if after == len(history):
        return history[-1]
    left, right = history[after - 1], history[after]
    share = (moment_s - left.at_s) / (right.at_s - left.at_s)
    return Sample(moment_s, *(a + share * (b - a) for a, b in zip(left[1:], right[1:], strict=True)))


def passed(history: History, entered: float) -> float:
    """When `entered` last rose above a number; the first sample's time if it always was above.

    Between two close samples it rose in a straight line; between others it counts from when it was seen, for a sleeping
    queue is looked at as soon as a job comes.
    """
    after = len(history)
    while after and history[after - 1].entered > entered:
        after -= 1
    if after == len(history):
        return history[-1].at_s
    right = history[after]
    if after == 0 or right.at_s - history[after - 1].at_s > _CLOSE_S:
        return right.at_s
    left = history[after - 1]
    return left.at_s + (right.at_s - left.at_s) * (entered - left.entered) / (right.entered - left.entered)


def _since(history: History, start_s: float) -> History:
    """The samples from `start_s` on and the one before them."""
    return history[max(0, bisect_right(history, start_s, key=_time) - 1) :]


def _spare(earlier: Sample, middle: Sample, later: Sample, now_s: float) -> bool:
    """The one in the middle says nothing that its neighbours do not."""
    if earlier[1:] == middle[1:] == later[1:]:
        return True
    return later.at_s - earlier.at_s <= max(_CLOSEST_S, (now_s - middle.at_s) / _SPARSE)


def _time(sample: Sample) -> float:
    return sample.at_s
