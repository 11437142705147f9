"""What is remembered of a pool's scale-down from one look to the next. Pure; a restart may lose all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corral_operator.orders import Order, Post
from corral_operator.pods import LivePod
from corral_operator.secret import RedisSecret


class Listed(NamedTuple):
    """The pods of a Deployment: as of which version of it, when, and which."""

    version: int
    at_s: float
    pods: tuple[LivePod, ...]


@dataclass(frozen=True, slots=True)
class Departures:
    """Times are of the loop's clock. Orders run out by themselves; marks do not, so the pods are looked at once."""

    checked: bool = False
    """The pods were listed by this process: no mark of an earlier one is left unseen."""
    listed: Listed | None = None
    """While a scale-down is under way."""
    orders: Mapping[Post, Order] = field(default_factory=dict)
    since: Mapping[str, float] = field(default_factory=dict)
    """When each pod was chosen, by its uid."""
    held_since_s: float | None = None
    """Since when pods of two templates keep any from being chosen."""
    foreign: tuple[str, ...] = ()
    """Pods with a deletion cost that is not ours, when they were listed last."""
    told: frozenset[str] = frozenset()
    """Uids of the pods that it was told of that nobody waits for them any longer."""
    unheard_since_s: float | None = None
    """Since when pods are ready and nobody beats."""
    nameless_since_s: float | None = None
    """Since when workers beat, and no pod of the pool is among those that they name."""
    asked_of: RedisSecret | None = field(default=None, repr=False)
    """Whose leave to write orders was asked for last."""
    ask_at_s: float = float("-inf")
    """When it is to be asked for again."""
    refused_until_s: float = float("-inf")
    """The API server refused what only tidies up; it is left alone until then."""

    @property
    def under_way(self) -> bool:
        """Something was told or marked that may have to be taken back."""
        return self.listed is not None
