"""Every error Corral raises, in one tree.

    CorralError
    |-- ConfigurationError      the program was set up wrongly; `corral` ends with exit code 2
    |   `-- InvalidQueueName    empty, or holds a colon
    |-- InvalidJob              a job that no worker of the fleet could read; nothing was written
    |   |-- PayloadNotJSON      data, progress or a return value is not JSON (NaN and Infinity are not)
    |   `-- PayloadTooLarge     data is longer than the `size_limit` of its options
    |-- JobNotFound             the job's hash is gone: removed, trimmed by retention, or never there
    |-- CorruptJob              the job's hash cannot be read; names the job and the field
    |-- RedisUnavailable        Redis did not answer; says whether the call may have been carried out
    |   `-- RedisRefused        Redis answered and refused: password, permission, full memory, wrong type
    `-- UnrecoverableError      raised by a processor: fail now, whatever attempts remain

Every message names the cause and, where there is one, the cure. None carries a credential.
"""


class CorralError(Exception):
    """Base of every error raised by Corral."""


class ConfigurationError(CorralError):
    """The program was set up wrongly: a setting, a module, a name. Ends `corral` with exit code 2."""


class InvalidQueueName(ConfigurationError):
    """A queue name is empty or holds a colon, which separates the parts of a Redis key."""


class InvalidJob(CorralError, ValueError):
    """The job was refused before anything was written, because other workers would trip over it."""


class PayloadNotJSON(InvalidJob):
    """A value cannot be written as JSON."""


class PayloadTooLarge(InvalidJob):
    """The data's JSON is longer than `size_limit` bytes."""


class JobNotFound(CorralError):
    """The job's hash does not exist (any more)."""


class CorruptJob(CorralError):
    """The job's hash cannot be read as a job."""


class RedisUnavailable(CorralError):
    """Redis could not be reached, or the connection broke before it answered.

    `what` happened, and what the reader of a worker's log can do about it (`cure`, may be empty); the message has both.
    `maybe_done` is True when the command had been sent: it may have been carried out.
    `code` is one word for programs: unreachable, timeout, broken, tls; empty where there is none.
    """

    def __init__(self, what: str, cure: str = "", *, maybe_done: bool = False, code: str = "") -> None:
        super().__init__(f"{what}; {cure}" if cure else what)
        self.what = what
        self.maybe_done = maybe_done
        self.code = code


class RedisRefused(RedisUnavailable):
    """Redis answered with an error of its own: nothing of the command was carried out.

    `code` is the word that its answer began with: WRONGPASS, NOAUTH, NOPERM, OOM, READONLY, LOADING ...
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


class UnrecoverableError(CorralError):
    """Raise it in a processor to fail the job at once, with attempts left or not."""
