"""What was wished over a span of time: sliding highest and lowest of a number, frozen and small.

A wish is in force until the next one comes. Wishes that a later, stronger one covers are dropped, so a history holds
few rows however often it is asked.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    number: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Highest:
    """The highest wish of the last so many seconds. Begins with what is there, so a restart forgets nothing."""

    wishes: tuple[Wish, ...]

    @classmethod
    def begin(cls, number: int, now_s: float) -> "Highest":
        """The first remembered wish."""
        return cls((Wish(number, now_s),))

    def then(self, number: int, now_s: float, window_s: float) -> "Highest":
        """One wish more; those that ended `window_s` ago are forgotten."""
        return Highest(_then(self.wishes, number, now_s, window_s, sign=1))

    @property
    def number(self) -> int:
        """The highest."""
        return self.wishes[0].number


@dataclass(frozen=True, slots=True)
class Lowest:
    """The lowest wish of the last so many seconds: what was wanted all that time."""

    wishes: tuple[Wish, ...]

    @classmethod
    def begin(cls, number: int, now_s: float) -> "Lowest":
        """The first remembered wish."""
        return cls((Wish(number, now_s),))

    def then(self, number: int, now_s: float, window_s: float) -> "Lowest":
        """One wish more; those that ended `window_s` ago are forgotten."""
        return Lowest(_then(self.wishes, number, now_s, window_s, sign=-1))

    @property
    def number(self) -> int:
        """The lowest."""
        return self.wishes[0].number


def _then(wishes: tuple[Wish, ...], number: int, now_s: float, window_s: float, *, sign: int) -> tuple[Wish, ...]:
    """`sign` 1 keeps numbers falling from the first on, -1 rising: the first one is the answer."""
    rows = [*wishes[:-1], Wish(wishes[-1].number, now_s)]
    while rows and sign * rows[-1].number <= sign * number:
        rows.pop()
    rows.append(Wish(number, now_s))
    first = next(index for index, wish in enumerate(rows) if wish.until_s > now_s - window_s or index == len(rows) - 1)
    return tuple(rows[first:])
