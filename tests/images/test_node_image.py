"""The image of a BullMQ worker that the tests use beside Corral's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral import Queue
from unpacked_image import Contained
from waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from unpacked_image import UnpackedImage


async def test_bullmq_works_in_it_and_ends_at_sigterm(
    node_image: UnpackedImage, tmp_path: Path, redis7_url: str
) -> None:
    async with Queue("emails", redis=redis7_url) as queue:
        job = await queue.add("welcome", {"to": "ada@example.com"})
        with Contained(node_image, tmp_path, redis7_url) as node:

            async def completed() -> bool:
                assert await queue.get_job_state(job.id) == "completed", node.output
                return True

            await eventually(completed, within=30)
            node.signal()
            assert await node.wait() == 0
            assert '"event":"ready"' in node.output
