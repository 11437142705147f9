"""The Deployment of a pool: made and kept as the pool says, or adopted and left as it is.

template        owned: rendered by server-side apply, under the pool's name; never one that somebody else made
deploymentRef   adopted: looked up, never rendered
mode            DryRun and Paused leave even an owned one as it is
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

from corral_operator.deployment import Deployment, Key
from corral_operator.door import Door
from corral_operator.pool_state import PoolState
from corral_operator.refusal import ApiError
from corral_operator.render import RENDERED, deployment
from corral_operator.report import Problem
from corral_operator.spec import Mode
from corral_operator.table import Table

AGAIN_S = 30.0
"""A Deployment that somebody else keeps changing back is rendered no more often than this."""

NEW_WITHIN = 3
"""So many renders of something new may come within AGAIN_S: each is a rollout. The next one waits."""

logger = logging.getLogger("corral.operator.workload")

Found = tuple[Deployment | None, Problem | None]


class Workload:
    """Finds, makes and mends Deployments; the table learns what came of it."""

    def __init__(self, door: Door, table: Table) -> None:
        self._door = door
        self._table = table

    async def of(self, state: PoolState) -> Found:
        """The pool's Deployment, or why there is none that it may use. Raises ApiError."""
        assert state.spec is not None
        if state.spec.deployment_ref is not None:
            return self._adopted(Key(state.key.namespace, state.spec.deployment_ref))
        known = self._table.deployments.get(state.key)
        if known is not None and known.owner_uid != state.pool.uid:
            return None, _taken(state.key)
        if not self._door.writes or state.spec.mode is not Mode.AUTO or state.secret is None:
            return known, None
        manifest = self._manifest(state)
        try:
            if known is None:
                return await self._made(state, manifest)
            return await self._kept(state, known, manifest), None
        except ApiError as error:
            if problem := _refused(error):
                return known, problem
            raise

    def _adopted(self, key: Key) -> Found:
        if (known := self._table.deployments.get(key)) is not None:
            return known, None
        return None, Problem(
            "DeploymentNotFound",
            f"there is no Deployment {key.name} in namespace {key.namespace}; make it, or correct spec.deploymentRef",
        )

    async def _made(self, state: PoolState, manifest: Mapping[str, Any]) -> Found:
        # The watch may be behind: only the API server knows whether the name is free.
        found = await self._door.deployment(state.key)
        if found is None:
            current = self._table.pools.get(state.key)
            if current is None or current.uid != state.pool.uid:
                # Else the name could go to a pool that is gone, while another of that name makes its own.
                raise ApiError(409, "Gone", f"pool {state.key} was deleted meanwhile")
            found = await self._door.create(manifest)
            logger.info("%s: made Deployment %s", state.key, found.key.name)
        if found.owner_uid != state.pool.uid:
            self._table.deployments.put(found)
            return None, _taken(state.key)
        self._note(state, found)
        return found, None

    async def _kept(self, state: PoolState, known: Deployment, manifest: Mapping[str, Any]) -> Deployment:
        if state.own_generation is None:
            state.own_generation = known.generation
        now_s = time.monotonic()
        wanted = manifest["metadata"]["annotations"][RENDERED]
        same = known.rendered == wanted
        touched = known.generation > state.own_generation
        if same and not touched:
            return known
        lately = tuple(at for at in state.renders if now_s - at < AGAIN_S)
        if len(lately) >= (1 if same or wanted == state.rendered_of else NEW_WITHIN):
            return known
        updated = await self._door.update(manifest, known)
        state.renders, state.rendered_of = (*lately, now_s), wanted
        if not same or updated.generation != known.generation:
            logger.info("%s: rendered Deployment %s anew", state.key, known.key.name)
        self._note(state, updated)
        return updated

    def _note(self, state: PoolState, deployment: Deployment) -> None:
        self._table.deployments.put(deployment)
        state.own_generation = deployment.generation

    def _manifest(self, state: PoolState) -> Mapping[str, Any]:
        """What to render; made anew only when something that goes into it changed."""
        assert state.spec is not None
        assert state.secret is not None
        made_of = (state.pool.uid, state.pool.generation, state.secret)
        if state.manifest is None or state.manifest[0] != made_of:
            state.manifest = (made_of, deployment(state.spec, state.secret, pool_uid=state.pool.uid))
        return state.manifest[1]


def _taken(key: Key) -> Problem:
    return Problem(
        "NameTaken",
        f"Deployment {key.name} in namespace {key.namespace} exists and is not this pool's; it stays untouched. Rename "
        "the pool, delete that Deployment, or adopt it with spec.deploymentRef",
    )


def _refused(error: ApiError) -> Problem | None:
    """What the user has to mend; None for what time mends."""
    if error.code in (400, 422):
        return Problem("TemplateInvalid", f"the API server refuses the Deployment: {error.text}; correct spec.template")
    if error.code == 403:
        return Problem("Forbidden", f"the operator may not write the Deployment: {error.text}")
    return None
