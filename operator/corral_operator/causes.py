"""Why a queue could not be read: a constant for conditions, and a sentence for whoever wrote the pool and its Secret.

Pure. The runtime's errors speak to whoever set REDIS_URL; here the address and the login come from a Secret.
"""

from corral.errors import RedisUnavailable
from corral_operator.observed import Unknown

AUTH_FAILED = "AuthFailed"
NO_PERMISSION = "NoPermission"
WRONG_TYPE = "WrongType"
LOADING = "Loading"
TIMEOUT = "Timeout"
UNREACHABLE = "Unreachable"
CONNECTION_LOST = "ConnectionLost"
TLS_FAILED = "TLSFailed"
REFUSED = "Refused"

_CAUSE_OF = {
    "WRONGPASS": AUTH_FAILED,
    "NOAUTH": AUTH_FAILED,
    "NOPERM": NO_PERMISSION,
    "WRONGTYPE": WRONG_TYPE,
    "LOADING": LOADING,
    "timeout": TIMEOUT,
    "unreachable": UNREACHABLE,
    "broken": CONNECTION_LOST,
    "tls": TLS_FAILED,
}


def unknown(queue: str, prefix: str, error: RedisUnavailable, key: str = "") -> Unknown:
    """What to say of a queue after an error. `key`: the one that the refused command was about."""
    return Unknown(queue, _CAUSE_OF.get(error.code, REFUSED), _text(prefix, error, key))


def not_a_number(queue: str, key: str) -> Unknown:
    """A counter of the queue holds something else."""
    return Unknown(queue, WRONG_TYPE, f"{key} holds no whole number; is the prefix shared with another program?")


def _text(prefix: str, error: RedisUnavailable, key: str) -> str:
    match error.code:
        case "WRONGPASS":
            return "Redis refused the login (WRONGPASS): correct the user name or the password in the Secret"
        case "NOAUTH":
            return "Redis wants a password (NOAUTH): put one into the Secret"
        case "NOPERM":
            return f"the ACL user lacks a permission (NOPERM); it needs `+@read +@connection ~{prefix}:*`"
        case "WRONGTYPE" if key:
            return f"{key} holds a value of another type (WRONGTYPE); is the prefix shared with another program?"
        case "unreachable":
            return f"{error.what}; is it running, and is the address in the Secret right?"
        case "tls":
            return f"{error.what}; check ca.crt, tls.crt and tls.key of the Secret, and whether Redis speaks TLS there"
    return str(error)
