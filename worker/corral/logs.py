"""Logs: one line per record, as text for people or JSON for machines. No line carries a password or a payload.

    2026-01-31T12:00:00.000Z INFO corral.worker job ended job_id=7 queue=mail outcome=completed
    {"time":"2026-01-31T12:00:00.000Z","level":"INFO","logger":"corral.worker","message":"job ended","job_id":"7"}

Fields come from `logger.info("...", extra={"fields": {"queue": "mail"}})`; one that is None is left out, one named like
a key of the line itself gets a trailing underscore. A traceback is the field `error` in JSON; in text it follows its
line, indented, so that nothing in it can pass for a line of the log.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, TextIO

from corral.errors import ConfigurationError

FORMATS = ("text", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LONGEST_REASON = 1000
"""Characters of a failure's reason that a line keeps."""

_OWN_KEYS = frozenset(("time", "level", "logger", "message", "error"))
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str).encode

# After "user:" comes a password, unless it is a port. It reaches to the last @ before white space; one that holds white
# space itself, to the next @ of the line. Hiding too much is the smaller harm.
_URL = re.compile(
    r"""(://(?:[^\s:/@\["']+:(?!\d{1,5}[,;:.)']*(?:[\s/?#">\]}]|$))|:))"""
    r"""(?:(?:(?!://)\S)*|[^\n]{1,256}?)@""",
)
_QUERY = re.compile(r"""([?&]password=)[^\s&#"']+""", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with *** for the password of every URL in it: `redis://user:***@host`."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1***", _URL.sub(r"\1***@", text))


def configure(
    format: str | None = None,  # noqa: A002 - the setting's name
    level: str = "INFO",
    stream: TextIO | None = None,
    also: Sequence[str] = (),
) -> None:
    """Write the `corral` loggers to `stream` (default: stderr), in place of what an earlier call set up.

    `format`: "text" or "json"; None takes text on a terminal, else json. `level` in any case. `also` are loggers of
    libraries, which write their warnings there too.
    Raises ConfigurationError for another format or level.
    """
    stream = stream or sys.stderr
    chosen = format or ("text" if stream.isatty() else "json")
    if chosen not in FORMATS:
        raise ConfigurationError(f"no log format {chosen!r}; set CORRAL_LOG_FORMAT to one of: {', '.join(FORMATS)}")
    if level.upper() not in LEVELS:
        raise ConfigurationError(f"no log level {level!r}; set CORRAL_LOG_LEVEL to one of: {', '.join(LEVELS).lower()}")
    handler = _Handler(stream)
    handler.setFormatter(_JSON() if chosen == "json" else _Text())
    for name, least in (("corral", level.upper()), *((name, "WARNING") for name in also)):
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            if isinstance(old, _Handler):
                logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(least)
        logger.propagate = False


def job_ended(
    logger: logging.Logger,
    *,
    job_id: str,
    correlation_id: str | None,
    queue: str,
    name: str,
    attempt: int,
    wait_ms: int | None,
    run_ms: int | None,
    outcome: str,
    reason: str | None = None,
) -> None:
    """One line for the end of one run of a job: WARNING when `outcome` is failed, else INFO.

    `attempt` counts from 1. `reason` is cut after LONGEST_REASON characters.
    """
    level = logging.WARNING if outcome == "failed" else logging.INFO
    if not logger.isEnabledFor(level):
        return
    if reason is not None and len(reason) > LONGEST_REASON:
        reason = redact(reason)[:LONGEST_REASON]  # in this order: half a URL no longer looks like one
    fields = {
        "job_id": job_id,
        "correlation_id": correlation_id,
        "queue": queue,
        "name": name,
        "attempt": attempt,
        "wait_ms": wait_ms,
        "run_ms": run_ms,
        "outcome": outcome,
        "reason": reason,
    }
    # Not logger.log(): it walks up the stack for the caller's name, at a fifth of the whole cost.
    logger.handle(logger.makeRecord(logger.name, level, __file__, 0, "job ended", (), None, extra={"fields": fields}))


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure` installs, and finds again."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        # Not logging's: that one prints the record's arguments as they are, passwords included.
        with suppress(Exception):
            sys.stderr.write(f"corral: cannot write a log line: {redact(repr(sys.exception()))}\n")


class _Line(logging.Formatter):
    """What text and JSON share."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def stamp(self, created: float) -> str:
        """ISO-8601 in UTC with milliseconds. The part down to the second is kept: most lines share it."""
        second, text = self._second
        if second != int(created):
            second = int(created)
            text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = (second, text)
        return f"{text}{int((created - second) * 1000):03d}Z"

    def message(self, record: logging.LogRecord) -> str:
        """The message with its arguments; both as they are when they do not fit together."""
        try:
            return record.getMessage()
        except (TypeError, ValueError, LookupError):
            return f"{record.msg} {record.args!r}"


class _JSON(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """One object on one line. Put together by hand, which saves a fifth of the cost of a line."""
        line = (
            f'{{"time":"{self.stamp(record.created)}","level":"{record.levelname}",'
            f'"logger":{_quote(record.name)},"message":{_quote(self.message(record))}'
        )
        for key, value in _fields(record).items():
            if value is not None:
                name = _quote(f"{key}_" if key in _OWN_KEYS else str(key))
                line += f",{name}:{_quote(value) if type(value) is str else _json(value)}"
        if record.exc_info:
            line += f',"error":{_quote(self.formatException(record.exc_info))}'
        line += "}"
        # Looked for once, in the whole line: a URL survives the encoding as it is.
        return _encode(_redacted(json.loads(line))) if "://" in line else line


class _Text(_Line):
    def format(self, record: logging.LogRecord) -> str:
        """One line, and below it the traceback, if there is one."""
        message = _one_line(redact(self.message(record)))
        line = f"{self.stamp(record.created)} {record.levelname} {record.name} {message}"
        for key, value in _fields(record).items():
            if value is not None:
                line += f" {_one_line(str(key))}={_quoted(redact(str(value)))}"
        if record.exc_info:
            rows = redact(self.formatException(record.exc_info)).splitlines()
            line += "".join(f"\n    {_one_line(row)}" for row in rows)
        return line


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", None) or {}


def _json(value: Any) -> str:
    if type(value) is int:
        return str(value)
    try:
        return _encode(value)
    except (TypeError, ValueError):  # NaN, a key that is no string, a loop: better as text than not at all
        return _quote(str(value))


def _redacted(value: Any) -> Any:
    """A JSON value with every string in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner) for inner in value]
    return value


def _one_line(text: str) -> str:
    """`text` with line ends and other control characters escaped, so that it can neither forge nor colour a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _quoted(text: str) -> str:
    """`text` as the value of a field: in quotes where it could be read as more than one."""
    text = _one_line(text)
    if text and not any(c in text for c in ' "='):
        return text
    return '"' + text.replace('"', '\\"') + '"'
