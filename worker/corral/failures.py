"""What the errors of redis-py and of the network mean to the reader of a log: cause and cure, no credential."""

import re
import ssl

from redis.exceptions import AskError, AuthenticationError, ClusterError, MovedError
from redis.exceptions import TimeoutError as RedisTimeout

from corral.errors import RedisRefused, RedisUnavailable
from corral.url import Node

UNTAGGED = (
    "this is a Redis Cluster, which spreads the keys of a queue over its nodes; keep them together by a hash tag in the "
    "prefix, like {bull}, or in the queue's name"
)

_CURES = {
    "WRONGPASS": "the user name or password is wrong; check REDIS_URL",
    "NOAUTH": "a password is needed; put it into REDIS_URL, like redis://:password@host:6379",
    "NOPERM": "the ACL user lacks a permission; Corral's workers need +@all on the keys of their queues",
    "OOM": "its memory is full; raise maxmemory, or remove finished jobs; the policy should be noeviction",
    "READONLY": "it is a replica; point REDIS_URL at the primary",
    "MASTERDOWN": "it is a replica that has lost its primary; point REDIS_URL at the primary",
    "LOADING": "it is loading its data; wait until it is done",
    "MISCONF": "it cannot save to disk; look at its log",
    "WRONGTYPE": "a key of this queue holds a value of another type; is the prefix shared with another program?",
    "BUSY": "a script blocks it; look at its log, or end the script with SCRIPT KILL",
    "NOREPLICAS": "too few replicas are connected for a write",
    "CLUSTERDOWN": "the Cluster does not serve this slot now; look at CLUSTER INFO, or wait for a failover to end",
    "CROSSSLOT": UNTAGGED,
    "ASK": "the queue's slot is being moved to another node of the Cluster; wait until it has moved",
    "TRYAGAIN": "the queue's slot is being moved to another node of the Cluster; wait until it has moved",
}

_DATABASE = re.compile("DB index is out of range|SELECT is not allowed in cluster mode|invalid DB index", re.IGNORECASE)
_DATABASE_CURE = "correct the number of the database in the address; a Cluster has 0 alone"
_FOREIGN_SLOT = ("non local key in a cluster", "do not hash to the same slot")
_COMMAND = re.compile(r"'([a-zA-Z|_-]+)' command")


class Redirected(RedisRefused):
    """A node of a Cluster has the slot no more (MOVED), or gives it away just now (ASK): `node` is where to go."""

    def __init__(self, message: str, code: str, slot: int, node: Node) -> None:
        super().__init__(message, code)
        self.slot = slot
        self.node = node


def refused(error: Exception) -> RedisRefused:
    """What Redis' own error means to the reader of a log."""
    text = str(error)
    # redis-py takes the leading word off the errors it knows, and keeps it in `status_code`.
    code = getattr(error, "status_code", None) or text.split(" ", 1)[0]
    if isinstance(error, AskError):
        code = "MOVED" if isinstance(error, MovedError) else "ASK"
        return Redirected(f"Redis refused ({code}): {_CURES.get(code, text)}", code, error.slot_id, _node(error))
    if isinstance(error, AuthenticationError) and code not in ("NOAUTH", "WRONGPASS"):
        code = "NOAUTH"
    if any(words in text for words in _FOREIGN_SLOT):
        code = "CROSSSLOT"
        return RedisRefused(
            f"Redis refused (CROSSSLOT): in a Cluster all queues that a call touches must lie in one slot; {UNTAGGED}",
            code,
        )
    if _DATABASE.search(text):
        return RedisRefused(f"Redis refused (ERR): {text.removeprefix('ERR ')}; {_DATABASE_CURE}", "DATABASE")
    if isinstance(error, ClusterError) and code not in _CURES:
        code = "CLUSTERDOWN"
    # Of an unknown command Redis quotes the arguments, which may be a password or a payload.
    text = text.split(", with args", 1)[0]
    named = _COMMAND.search(text) if code == "NOPERM" else None
    return RedisRefused(f"Redis refused ({code}): {_CURES.get(code, text)}", code, named[1] if named else "")


def unavailable(where: str, error: Exception, *, tls: bool, maybe_done: bool) -> RedisUnavailable:
    """What an error of the network, or of redis-py, means to the reader of a log.

    `where`: who was called, without credentials; `tls`: over TLS.
    """
    if isinstance(error, TimeoutError | RedisTimeout):
        what, cure = f"Redis at {where} did not answer in time", "is it overloaded?"
        return RedisUnavailable(what, cure, maybe_done=maybe_done, code="timeout")
    if _is_of_tls(error, connecting=tls and not maybe_done):
        what = f"no TLS connection with Redis at {where}: {_brief(error)}"
        cure = "check the certificates, and whether Redis speaks TLS there"
        return RedisUnavailable(what, cure, maybe_done=maybe_done, code="tls")
    if maybe_done:
        what = f"the connection to Redis at {where} broke: {_brief(error)}"
        return RedisUnavailable(what, maybe_done=True, code="broken")
    what = f"Redis at {where} cannot be reached: {_brief(error)}"
    return RedisUnavailable(what, "is it running, and is REDIS_URL right?", code="unreachable")


def _node(error: AskError) -> Node:
    return str(error.host), int(error.port)


def _is_of_tls(error: BaseException | None, *, connecting: bool) -> bool:
    """Whether TLS failed beneath an error of redis-py, which chains none on purpose.

    A server that dislikes our certificate says so after the handshake and hangs up: often only that is seen of it.
    """
    hung_up: tuple[type[OSError], ...] = ()
    if connecting:
        hung_up = (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)
    while error is not None:
        if isinstance(error, hung_up) or (isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)):
            return True
        error = error.__context__
    return False


def _brief(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
