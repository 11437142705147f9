"""Every Redis key of a queue. P is `<prefix>:<queue>:`, J is `P<job id>`.

    P id                 string   job counter, raised by every add
    P meta               hash     settings of the queue: paused, concurrency, max, duration, version
    P wait               list     runnable jobs; head = newest, tail = next
    P paused             list     where BullMQ 5 keeps `wait` while the queue is paused
    P active             list     jobs in the hands of a worker; new ones at the head
    P prioritized        zset     runnable jobs with a priority
    P pc                 string   sequence counter inside `prioritized`
    P delayed            zset     jobs for later; score div 4096 = due ms
    P waiting-children   zset     parents with open children
    P completed, failed  zset     finished jobs; score = ms when they finished
    P stalled            set      ids that were active at the last check and not renewed since
    P stalled-check      string   "a check ran recently"; expires
    P limiter            string   jobs started in the current rate window; expires
    P marker             zset     wake-up tokens of blocked workers
    P events             stream   what happened
    P repeat             zset     job schedulers
    P de:<id>, dn:<id>   deduplication owner, and the one job kept back
    P corral:beats       zset     when each of Corral's workers was heard of last; see `beat_record.py`
    P corral:workers     hash     what it said of itself
    P corral:orders      hash     what the operator wants of it
    P corral:look        string   "somebody looked for dead workers recently"; expires
    J                    hash     the job
    J:lock               string   token of who runs it; expires
    J:logs               list     log rows
    J:dependencies, J:processed, J:failed, J:unsuccessful   children of a flow parent

The scripts build these names themselves from P, so that one key names the queue (and its slot in a Cluster).
"""

import base64
import re
from dataclasses import dataclass

from corral.errors import ConfigurationError, InvalidQueueName, shown

DEFAULT_PREFIX = "bull"

KEY_NAMES = frozenset(
    {
        "id",
        "meta",
        "wait",
        "paused",
        "active",
        "prioritized",
        "pc",
        "delayed",
        "waiting-children",
        "completed",
        "failed",
        "stalled",
        "stalled-check",
        "limiter",
        "marker",
        "events",
        "repeat",
    }
)
"""What follows P in the keys of a queue: no job may have one of these as its id."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names of one queue.

    Raises InvalidQueueName for a queue that is empty or holds a colon, ConfigurationError for an empty prefix.
    """

    queue: str
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not isinstance(self.queue, str):
            raise InvalidQueueName(f"a queue's name is a text, got {shown(self.queue)}")
        if not self.queue:
            raise InvalidQueueName("a queue needs a name; give one, like Queue('emails')")
        if ":" in self.queue:
            raise InvalidQueueName(
                f"queue name {shown(self.queue)} holds a colon, which separates the parts of a Redis key; "
                "use another sign, or set the prefix for a namespace"
            )
        if not self.prefix:
            raise ConfigurationError("the key prefix is empty; BullMQ's own default is 'bull'")

    @property
    def base(self) -> str:
        """P: the part that all keys of the queue begin with, its last colon included."""
        return f"{self.prefix}:{self.queue}:"

    @property
    def wait(self) -> str:
        return self.base + "wait"

    @property
    def paused(self) -> str:
        return self.base + "paused"

    @property
    def active(self) -> str:
        return self.base + "active"

    @property
    def prioritized(self) -> str:
        return self.base + "prioritized"

    @property
    def delayed(self) -> str:
        return self.base + "delayed"

    @property
    def waiting_children(self) -> str:
        return self.base + "waiting-children"

    @property
    def completed(self) -> str:
        return self.base + "completed"

    @property
    def failed(self) -> str:
        return self.base + "failed"

    @property
    def meta(self) -> str:
        return self.base + "meta"

    @property
    def marker(self) -> str:
        return self.base + "marker"

    @property
    def limiter(self) -> str:
        return self.base + "limiter"

    @property
    def events(self) -> str:
        return self.base + "events"

    @property
    def beats(self) -> str:
        return self.base + "corral:beats"

    @property
    def workers(self) -> str:
        return self.base + "corral:workers"

    @property
    def orders(self) -> str:
        return self.base + "corral:orders"

    def job(self, job_id: str) -> str:
        """J: the hash of one job."""
        return self.base + job_id

    def logs(self, job_id: str) -> str:
        """The log rows of one job."""
        return f"{self.base}{job_id}:logs"

    def client_name(self, worker: str | None = None) -> str:
        """Name of a worker's blocking connection: what dashboards count workers by."""
        encoded = base64.b64encode(self.queue.encode()).decode()
        suffix = f":w:{worker}" if worker else ""
        # Redis takes no spaces and nothing beyond ASCII in the name of a client.
        return re.sub(r"[^!-~]", "_", f"{self.prefix}:{encoded}{suffix}")
