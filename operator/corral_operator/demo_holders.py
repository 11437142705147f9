"""Who holds which job right now."""

from corral.connection import Lines
from corral.keys import Keys


async def holders(lines: Lines, keys: Keys) -> dict[str, str]:
    """Every active job of a queue with the worker that took it: job id -> worker's name. Raises RedisUnavailable."""
    ids: list[bytes] = await lines.call("LRANGE", keys.active, 0, -1)
    if not ids:
        return {}
    names: list[bytes | None] = await lines.call_many([("HGET", keys.job(job_id.decode()), "pb") for job_id in ids])
    return {job_id.decode(): name.decode() for job_id, name in zip(ids, names, strict=True) if name is not None}
