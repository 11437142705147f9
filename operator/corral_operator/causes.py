"""Why a queue could not be read: a constant for conditions, and a sentence for whoever wrote the pool and its Secret.

    cause                  what Redis, or the network, said
    --------------------   ---------------------------------------------------------------------------------------------
    AuthFailed             the login was refused, or there is none (WRONGPASS, NOAUTH); at the sentinels too
    NoPermission           the ACL user may not run a command, or not touch a key (NOPERM)
    TLSRequired            Redis wants TLS, and the address says none
    TLSFailed              no TLS connection: a certificate, or Redis speaks no TLS there
    Timeout                no answer in time
    Unreachable            nobody listens there, or the host has no address
    ConnectionLost         the connection broke in the middle
    Loading                Redis is loading its data
    Busy                   a script blocks it
    WrongType              a key holds a value of another type
    WrongDatabase          there is no database of this number
    NotAPrimary            a replica: it answers reads, but no worker can work there
    ClusterDown            the Cluster does not serve the slot
    CrossSlot              a Cluster, and neither the prefix nor the queue's name has a hash tag
    SlotMoved              the slot is being moved, or moved again and again
    SentinelsUnreachable   no sentinel answered
    UnknownMaster          the sentinels watch no primary of this name
    NotASentinel           what is named a sentinel is none
    IsASentinel            the address of a sentinel where that of Redis belongs
    Refused                anything else that Redis said

Pure. The runtime's errors speak to whoever set REDIS_URL; here the address and the login come from a Secret.
"""

from typing import Any

from corral.errors import RedisRefused, RedisUnavailable
from corral.greeting import read_greeting
from corral_operator.observed import Unknown

AUTH_FAILED = "AuthFailed"
NO_PERMISSION = "NoPermission"
TLS_REQUIRED = "TLSRequired"
TLS_FAILED = "TLSFailed"
TIMEOUT = "Timeout"
UNREACHABLE = "Unreachable"
CONNECTION_LOST = "ConnectionLost"
LOADING = "Loading"
BUSY = "Busy"
WRONG_TYPE = "WrongType"
WRONG_DATABASE = "WrongDatabase"
NOT_A_PRIMARY = "NotAPrimary"
CLUSTER_DOWN = "ClusterDown"
CROSS_SLOT = "CrossSlot"
SLOT_MOVED = "SlotMoved"
SENTINELS_UNREACHABLE = "SentinelsUnreachable"
UNKNOWN_MASTER = "UnknownMaster"
NOT_A_SENTINEL = "NotASentinel"
IS_A_SENTINEL = "IsASentinel"
REFUSED = "Refused"

_CAUSE_OF = {
    "WRONGPASS": AUTH_FAILED,
    "NOAUTH": AUTH_FAILED,
    "sentinel-login": AUTH_FAILED,
    "NOPERM": NO_PERMISSION,
    "sentinel-permission": NO_PERMISSION,
    "tls-wanted": TLS_REQUIRED,
    "tls": TLS_FAILED,
    "tls-none": TLS_FAILED,
    "timeout": TIMEOUT,
    "unreachable": UNREACHABLE,
    "broken": CONNECTION_LOST,
    "LOADING": LOADING,
    "BUSY": BUSY,
    "WRONGTYPE": WRONG_TYPE,
    "DATABASE": WRONG_DATABASE,
    "READONLY": NOT_A_PRIMARY,
    "MASTERDOWN": NOT_A_PRIMARY,
    "replica": NOT_A_PRIMARY,
    "CLUSTERDOWN": CLUSTER_DOWN,
    "CROSSSLOT": CROSS_SLOT,
    "MOVED": SLOT_MOVED,
    "ASK": SLOT_MOVED,
    "TRYAGAIN": SLOT_MOVED,
    "sentinels": SENTINELS_UNREACHABLE,
    "master": UNKNOWN_MASTER,
    "sentinel-none": NOT_A_SENTINEL,
    "sentinel-instead": IS_A_SENTINEL,
}


def unknown(queue: str, prefix: str, error: RedisUnavailable, key: str = "") -> Unknown:
    """What to say of a queue after an error. `key`: the one that the refused command was about."""
    return Unknown(queue, _CAUSE_OF.get(error.code, REFUSED), _text(prefix, error, key))


def not_a_number(queue: str, key: str) -> Unknown:
    """A counter of the queue holds something else."""
    return Unknown(queue, WRONG_TYPE, f"{key} holds no whole number; is the prefix shared with another program?")


def replica_refused(greeting: Any) -> RedisRefused | None:
    """The refusal of a server that is a replica, from its reply to a greeting: it reads well, but nobody can work there.

    A server that does not say what it is, is believed.
    """
    if read_greeting(greeting).role != "replica":
        return None
    return RedisRefused("this Redis is a replica, where no worker can work", "replica")


def _text(prefix: str, error: RedisUnavailable, key: str) -> str:
    match error.code:
        case "WRONGPASS":
            return "Redis refused the login (WRONGPASS): correct the user name or the password in the Secret"
        case "NOAUTH":
            return "Redis wants a password (NOAUTH): put one into the Secret"
        case "NOPERM":
            return f"the ACL user {_forbidden(error, key)} (NOPERM); it needs `+@read +@connection ~{prefix}:*`"
        case "WRONGTYPE" if key:
            return f"{key} holds a value of another type (WRONGTYPE); is the prefix shared with another program?"
        case "unreachable":
            return f"{error.what}; is it running, and is the address in the Secret right?"
        case "tls":
            return f"{error.what}; check ca.crt, tls.crt and tls.key of the Secret, and whether Redis speaks TLS there"
        case "tls-none":
            return f"{error.what}; write redis:// into the Secret's url, or put the TLS port there"
        case "tls-wanted":
            return f"{error.what}; write rediss:// into the Secret's url, or put ca.crt beside its parts"
        case "READONLY" | "MASTERDOWN" | "replica":
            return f"{error.what}; put the address of the primary into the Secret, or sentinels and master"
        case "CROSSSLOT":
            return (
                "this is a Redis Cluster (CROSSSLOT), which spreads the keys of a queue over its nodes; keep them together "
                f"by a hash tag in the pool's prefix, like {{{prefix}}}, and in the code of its producers and workers"
            )
        case "master":
            return f"{error.what}; correct `master` in the Secret (SENTINEL MASTERS tells the names)"
        case "sentinel-instead":
            return "the address is that of a sentinel: put it into the Secret as `sentinels`, with `master`"
    return str(error)


def _forbidden(error: RedisUnavailable, key: str) -> str:
    command = error.command if isinstance(error, RedisRefused) else ""
    if command:
        return f"may not run {command.upper()}"
    return f"may not read {key}" if key else "lacks a permission"
