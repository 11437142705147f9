"""After a connection that never came about: does the other side speak TLS where we do not, or the other way round?

Neither side of such a misunderstanding says so: Redis hangs up on who speaks no TLS, and waits for the end of the line of
who does. So it is tried, in a thread or where a thread may wait.
"""

import socket
import ssl

from corral.errors import RedisUnavailable
from corral.url import Node

PROBE_S = 0.5
"""Seconds that a try may take."""

_CLOSED = ("closed by server", "connection lost")


def is_doubtful(failure: RedisUnavailable, error: BaseException, *, tls: bool) -> bool:
    """Whether TLS may be what connecting failed on. `error`: what redis-py said; `tls`: whether TLS was spoken."""
    return failure.code == "timeout" if tls else failure.code == "unreachable" and _hung_up(error)


def explained(failure: RedisUnavailable, node: Node, *, tls: bool) -> RedisUnavailable:
    """A doubtful failure to connect to a node, or a better one that says that TLS is what it failed on."""
    host, port = node
    if tls and _speaks_plainly(node):
        what = f"Redis at {host}:{port} speaks no TLS there"
        return RedisUnavailable(what, "write redis:// instead of rediss://, or name its TLS port", code="tls-none")
    if not tls and _speaks_tls(node):
        what = f"Redis at {host}:{port} wants TLS"
        return RedisUnavailable(
            what, "write rediss:// instead of redis://, or name the certificates", code="tls-wanted"
        )
    return failure


def _hung_up(error: BaseException | None) -> bool:
    while error is not None:
        closed = any(words in str(error).lower() for words in _CLOSED)
        if closed or isinstance(error, ConnectionResetError | BrokenPipeError):
            return True
        error = error.__context__
    return False


def _speaks_tls(node: Node) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(node, PROBE_S) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLEOFError:
        return False
    except ssl.SSLError as error:
        # An alert is TLS all the same: it may want a certificate of ours.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _speaks_plainly(node: Node) -> bool:
    try:
        with socket.create_connection(node, PROBE_S) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False
