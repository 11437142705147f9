"""One operator's part in the election: take the Lease, renew it, give it back, and know at any moment whether to write."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from corral_operator.api import Api
from corral_operator.lease import LOOK_S, Seen, lease_body, may_write, pause_s, seen_now, why_ours
from corral_operator.refusal import ApiError

CALL_S = 2.0
"""Seconds that one call about the Lease may take."""

CONFLICTS = (409, 422)
"""Somebody else has changed it, or made it, since it was seen."""

CONFLICT_S = 0.2
"""Seconds until the next look after somebody else was faster."""

Prepare = Callable[[], Awaitable[None]]

logger = logging.getLogger("corral.operator.leader")


def elapsed() -> float:
    """Seconds that go on while the machine sleeps: one that wakes up again must know how old its lease is."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leader:
    """One operator's hand on a Lease. `me` is a name that no other process ever has.

    `api` is its own: calls for a thousand pools must not keep a renewal waiting.
    """

    def __init__(self, api: Api, namespace: str, name: str, me: str, clock: Callable[[], float] = elapsed) -> None:
        self._api = api
        self._namespace, self._name, self._me = namespace, name, me
        self._clock = clock
        self._seen: Seen | None = None
        self._sure = False
        """The last call was our own write, and it was answered: nobody needs to look before the next."""
        self._renewed_at: float | None = None
        self._leads = self._prepared = self._lapsed = False
        self._preparing: asyncio.Task[None] | None = None
        self._why = self._said = ""

    def writes(self) -> bool:
        """Whether this operator may write at this moment. To be asked right before each write."""
        return self._prepared and may_write(self._renewed_at, self._clock())

    async def run(self, prepare: Prepare) -> None:
        """Until cancelled. `prepare` runs each time the Lease has become ours, and nothing is written before it ends."""
        try:
            while True:
                pause = await self._turn(prepare)
                await asyncio.sleep(pause)
        finally:
            self._renewed_at = None
            self._end()

    async def close(self) -> None:
        """Give it back if it is ours, that nobody has to wait, and close the connection. `run` has ended."""
        try:
            if self._seen is not None:
                async with asyncio.timeout(CALL_S):
                    await self._look()
                    if self._seen.holder == self._me:
                        await self._write("")
                        logger.info("gave the lease %s back", self._at)
        except (ApiError, TimeoutError) as error:
            logger.warning("the lease %s could not be given back: %s", self._at, str(error) or "no answer")
        finally:
            await self._api.close()

    @property
    def _at(self) -> str:
        return f"{self._namespace}/{self._name}"

    # --- turns ---

    async def _turn(self, prepare: Prepare) -> float:
        """Look, take or renew; gives the seconds until the next turn."""
        pause = LOOK_S
        try:
            await self._try(prepare)
            pause = pause_s(self._seen, self._me, self._clock())
        except ApiError as error:
            if error.code in CONFLICTS:
                self._renewed_at = None  # whose it is now, the next look tells
                pause = CONFLICT_S
            else:
                self._say(*_refused(error, self._namespace, self._name))
        except Exception:
            logger.exception("the lease %s: broke while it was looked at", self._at)
        if self._leads and not self._lapsed and not may_write(self._renewed_at, self._clock()):
            self._lapsed = True
            self._say(f"writes nothing for now: the lease {self._at} was not renewed", logging.WARNING)
        return pause

    async def _try(self, prepare: Prepare) -> None:
        sure, self._sure = self._sure, False
        if not sure:
            await self._look()
        why = why_ours(self._seen, self._me, self._clock())
        if why is None:
            self._lost()
            return
        anew = not self._leads or self._seen is None or self._seen.holder != self._me
        await self._write(self._me)
        self._sure = True
        if anew:
            self._end()
            self._leads = True
            self._why = why
            self._preparing = asyncio.create_task(self._prepare(prepare))
        self._lapsed = False
        self._say(f"leads: {self._me} has the lease {self._at}; {self._why}")

    def _lost(self) -> None:
        assert self._seen is not None
        if self._leads:
            logger.warning("writes nothing any more: the lease %s was taken away", self._at)
        self._say(f"stands by: {self._seen.holder} has the lease {self._at}")
        self._end()

    def _end(self) -> None:
        self._leads = self._prepared = self._lapsed = False
        if self._preparing is not None:
            self._preparing.cancel()
            self._preparing = None

    async def _prepare(self, prepare: Prepare) -> None:
        while True:
            try:
                await prepare()
            except ApiError as error:
                logger.warning("writes nothing yet: what there is cannot be listed: %s", error.text)
            except Exception:
                logger.exception("writes nothing yet: broke while it was prepared")
            else:
                self._prepared = True
                return
            await asyncio.sleep(LOOK_S)

    def _say(self, text: str, level: int = logging.INFO) -> None:
        """Once, not with every look."""
        if text != self._said:
            self._said = text
            logger.log(level, "%s", text)

    # --- calls ---

    async def _look(self) -> None:
        found = None
        try:
            found = await self._api.call("GET", self._path, "leases", within=CALL_S)
        except ApiError as error:
            if error.code != 404:
                raise
        self._seen = seen_now(self._seen, found, self._clock())

    async def _write(self, holder: str) -> None:
        """Refused when anybody else has written it since it was seen. A PUT also makes one that is not there."""
        seen, sent_at = self._seen, self._clock()
        body = lease_body(self._namespace, self._name, seen, holder, datetime.now(UTC))
        answer = await self._api.call("PUT", self._path, "leases", body=body, within=CALL_S)
        self._seen = seen_now(seen, answer, self._clock())
        if self._seen is not seen:  # else nothing has changed, and nobody sees that it was renewed
            self._renewed_at = sent_at if holder else None

    @property
    def _path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{self._name}"


def _refused(error: ApiError, namespace: str, name: str) -> tuple[str, int]:
    cure = ""
    if error.code == 403:
        cure = (
            f"; allow get, create and update of leases.coordination.k8s.io {name} in namespace {namespace}, as the "
            "chart's Role does"
        )
    return f"the lease {namespace}/{name} cannot be used: {error.text}{cure}", logging.WARNING
