"""The Secrets of the pools, read by name and kept for a while: the operator neither lists nor watches Secrets."""

from collections.abc import Callable
from dataclasses import dataclass

from corral_operator.deployment import Key
from corral_operator.door import Door
from corral_operator.refusal import ApiError
from corral_operator.report import Problem
from corral_operator.secret import RedisSecret, SecretProblem, read_secret, seen_from_elsewhere

FRESH_S = 60.0
"""How long a content that served is believed."""

AGAIN_S = 5.0
"""How long one is that did not, or a refusal."""


@dataclass(frozen=True, slots=True)
class _Read:
    content: RedisSecret | Problem
    until_s: float


class SecretStore:
    """`clock` gives seconds, monotonic."""

    def __init__(self, door: Door, clock: Callable[[], float]) -> None:
        self._door = door
        self._clock = clock
        self._read: dict[Key, _Read] = {}

    def fresh(self, key: Key) -> RedisSecret | Problem | None:
        """What is known of a Secret and still believed; None: ask."""
        known = self._read.get(key)
        return known.content if known is not None and self._clock() < known.until_s else None

    def served(self, key: Key) -> RedisSecret | None:
        """The content that served until now, believed or not: what is gone on with while somebody asks."""
        known = self._read.get(key)
        return known.content if known is not None and isinstance(known.content, RedisSecret) else None

    def doubt(self, key: Key) -> None:
        """Redis refused the credentials: ask for them anew, though not more often than every few seconds."""
        if (known := self._read.get(key)) is not None:
            self._read[key] = _Read(known.content, min(known.until_s, self._clock() + AGAIN_S))

    async def ask(self, key: Key) -> RedisSecret | Problem:
        """Read it. While the API server does not answer, what was known holds; raises ApiError when nothing was."""
        try:
            secret = read_secret(key.name, await self._door.secret(key))
            content: RedisSecret | Problem = (
                seen_from_elsewhere(secret, key.namespace) if self._door.in_cluster else secret
            )
        except SecretProblem as error:
            content = Problem(error.cause, error.text)
        except ApiError as error:
            known = self._read.get(key)
            if error.code in (403, 404):
                content = _refused(key, error)
            elif known is not None:
                content = known.content
            else:
                raise
        self._read[key] = _Read(content, self._clock() + (FRESH_S if isinstance(content, RedisSecret) else AGAIN_S))
        return content

    def keep(self, keys: set[Key]) -> None:
        """Forget all others."""
        self._read = {key: row for key, row in self._read.items() if key in keys}


def _refused(key: Key, error: ApiError) -> Problem:
    if error.code == 404:
        return Problem(
            "SecretMissing",
            f"there is no Secret {key.name} in namespace {key.namespace}; make it, with the address of Redis under "
            "the key url",
        )
    return Problem(
        "Forbidden",
        f"the operator may not read Secret {key.name}: {error.text}; where the chart was given secretNames, add it there",
    )
