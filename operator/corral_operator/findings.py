"""What goes wrong with a pool's jobs and pods, found by looking closer now and then. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is a constant of the API: the reason of a condition and of an event; `text` names jobs and the cure."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """`looked`: somebody looked at all; without it, nothing is known."""

    rows: tuple[Finding, ...] = ()
    looked: bool = False


NOTHING_LOOKED_AT = Findings()
