"""The log lines: their two forms, what never appears in them, and the settings."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from corral.errors import ConfigurationError
from corral.logs import LONGEST_REASON, configure, job_ended, redact

logger = logging.getLogger("corral.worker")

SECRET = "hunter2"
URL = f"redis://default:{SECRET}@redis:6379/0"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the `corral` logger as it was found."""
    corral = logging.getLogger("corral")
    handlers, level, propagate = corral.handlers[:], corral.level, corral.propagate
    yield
    corral.handlers[:], corral.propagate = handlers, propagate
    corral.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read(stream: io.StringIO) -> dict[str, Any]:
    """The one JSON line in `stream`."""
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def end(outcome: str = "completed", correlation_id: str | None = "c-1", reason: str | None = None) -> None:
    """Log the end of a job."""
    job_ended(
        logger,
        job_id="7",
        correlation_id=correlation_id,
        queue="mail",
        name="welcome",
        attempt=2,
        wait_ms=40,
        run_ms=None,
        outcome=outcome,
        reason=reason,
    )


def test_a_json_line_is_one_object_with_its_fields(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    logger.info("took %d jobs", 3, extra={"fields": {"queue": "mail", "none": None, "ids": ["1", 2], "ok": True}})
    found = read(stream)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "INFO",
        "logger": "corral.worker",
        "message": "took 3 jobs",
        "queue": "mail",
        "ids": ["1", 2],
        "ok": True,
    }


def test_a_text_line_reads_from_left_to_right(stream: io.StringIO) -> None:
    configure("text", "info", stream)
    logger.info("hello", extra={"fields": {"queue": "mail", "reason": 'said "no"', "empty": ""}})
    time, rest = stream.getvalue().split(" ", 1)
    assert len(time) == len("2026-01-31T12:00:00.000Z")
    assert rest == 'INFO corral.worker hello queue=mail reason="said \\"no\\"" empty=""\n'


@pytest.mark.parametrize(("format", "start"), [("json", '{"time":"'), ("text", "")])
def test_the_time_is_utc_with_milliseconds(format: str, start: str, stream: io.StringIO) -> None:  # noqa: A002
    configure(format, "info", stream)
    record = logger.makeRecord("corral", logging.INFO, "", 0, "hello", (), None)
    for record.created in (1769860800.0074, 1769860800.25, 1769860801.0):
        logger.handle(record)
    lines = [line.removeprefix(start)[:24] for line in stream.getvalue().splitlines()]
    assert lines == ["2026-01-31T12:00:00.007Z", "2026-01-31T12:00:00.250Z", "2026-01-31T12:00:01.000Z"]


def test_a_terminal_gets_text_and_anything_else_json() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure(None, "info", terminal)
    logger.info("hello")
    configure(None, "info", pipe)
    logger.info("hello")
    assert " INFO corral.worker hello\n" in terminal.getvalue()
    assert read(pipe)["message"] == "hello"


def test_configuring_again_replaces_the_handler(stream: io.StringIO) -> None:
    configure("json", "info", io.StringIO())
    configure("json", "info", stream)
    logger.info("once")
    assert read(stream)["message"] == "once"


def test_lines_do_not_reach_the_root_logger(stream: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    configure("json", "info", stream)
    logger.info("hello")
    assert caplog.records == []


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure("json", "Error", stream)
    logger.warning("hello")
    end("failed")
    assert stream.getvalue() == ""


def test_an_unknown_format_names_the_allowed_ones_and_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="'xml'; set CORRAL_LOG_FORMAT to one of: text, json"):
        configure("xml", "info")


def test_an_unknown_level_names_the_allowed_ones_and_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="'loud'; set CORRAL_LOG_LEVEL to one of: debug, info, warning"):
        configure("json", "loud")


def test_the_end_of_a_job_is_one_line_that_tells_its_story(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    end()
    found = read(stream)
    del found["time"]
    assert found == {
        "level": "INFO",
        "logger": "corral.worker",
        "message": "job ended",
        "job_id": "7",
        "correlation_id": "c-1",
        "queue": "mail",
        "name": "welcome",
        "attempt": 2,
        "wait_ms": 40,
        "outcome": "completed",
    }


def test_a_failed_job_is_a_warning_with_its_reason(stream: io.StringIO) -> None:
    configure("json", "warning", stream)
    end("retried")
    end("failed", reason="no such\nmailbox")
    found = read(stream)
    assert (found["level"], found["reason"]) == ("WARNING", "no such\nmailbox")


def test_a_long_reason_is_cut_and_keeps_no_half_of_a_password(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    end("failed", reason="x" * (LONGEST_REASON - 18) + URL + "x" * 100)
    found = read(stream)
    assert len(found["reason"]) == LONGEST_REASON
    assert SECRET[:2] not in found["reason"]


def test_other_handlers_see_the_end_of_a_job(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "corral"):
        end()
    assert caplog.messages == ["job ended"]


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\x00b", "a\x85b", "a\ud800b"])
def test_a_line_stays_a_line_whatever_the_values_hold(evil: str) -> None:
    for form in ("text", "json"):
        stream = io.StringIO()
        configure(form, "info", stream)
        logger.info("m %s", evil, extra={"fields": {"value": evil, evil: 1}})
        (line,) = stream.getvalue().splitlines()
        assert line.isprintable()


def test_a_traceback_is_a_string_in_json(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("broke")
    found = read(stream)
    assert found["message"] == "broke"
    assert found["error"].startswith("Traceback")
    assert found["error"].endswith("ValueError: boom")


def test_a_traceback_is_indented_in_text_so_that_it_forges_no_line(stream: io.StringIO) -> None:
    configure("text", "info", stream)
    try:
        raise ValueError("boom\n2026-01-31T12:00:00.000Z INFO corral all is well")
    except ValueError:
        logger.exception("broke")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR corral.worker broke")
    assert rest[-2:] == ["    ValueError: boom", "    2026-01-31T12:00:00.000Z INFO corral all is well"]
    assert all(line.startswith("    ") for line in rest)


class Holder:
    """A value that shows a URL when printed."""

    def __repr__(self) -> str:
        return f"<Holder {URL}>"


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_password_appears_in_any_part_of_a_line(form: str, stream: io.StringIO) -> None:
    configure(form, "info", stream)
    logger.info("connecting to %s", URL)
    logger.info(URL, extra={"fields": {"url": URL, "urls": [URL], "by": {URL: (URL,)}, "object": Holder(), "n": 1.5}})
    logger.info("%d", URL)
    logger.info("nan", extra={"fields": {"x": float("nan"), "url": URL}})
    end("failed", reason=f"cannot reach {URL}")
    try:
        raise ConnectionError(f"cannot reach {URL}")
    except ConnectionError as error:
        logger.exception("lost %s", error)
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("redis://default:***@redis:6379/0") >= 11


def test_a_line_that_cannot_be_written_is_said_without_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(f"no space left, {URL}")

    configure("json", "info", Full())
    logger.info("hello %s", URL)
    shown = capsys.readouterr().err
    assert "cannot write a log line" in shown
    assert SECRET not in shown


def test_values_that_json_does_not_know_become_text(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    loop: list[Any] = []
    loop.append(loop)
    logger.info("odd", extra={"fields": {"nan": float("nan"), "loop": loop, (1, 2): {3}, "level": "mine"}})
    found = read(stream)
    assert (found["nan"], found["loop"], found["(1, 2)"]) == ("nan", "[[...]]", "{3}")
    assert (found["level"], found["level_"]) == ("INFO", "mine")


def test_arguments_that_do_not_fit_their_message_lose_no_line(stream: io.StringIO) -> None:
    configure("json", "info", stream)
    logger.info("%s and %s", "one")  # noqa: PLE1206 - the mistake is the point
    assert read(stream)["message"] == "%s and %s ('one',)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:pass@host", "redis://user:***@host"),
        ("redis://:pass@host", "redis://:***@host"),
        ("REDISS://:12345@host:6379/0", "REDISS://:***@host:6379/0"),
        ("redis://:123/45@host", "redis://:***@host"),
        ("redis://user:123=4@host", "redis://user:***@host"),
        ("redis://u:p@ss/w:o?rd@host:1", "redis://u:***@host:1"),
        ("redis://:two words@host", "redis://:***@host"),
        ("redis://:a://b@host", "redis://:***@host"),
        ("{'url': \"redis://u:it's@host\"}", "{'url': \"redis://u:***@host\"}"),
        ("redis://:a@h1:1,redis://:b@h2:2 both", "redis://:***@h1:1,redis://:***@h2:2 both"),
        ("redis://u:p@[::1]:6379", "redis://u:***@[::1]:6379"),
        ("redis://host/0?password=pass&db=1", "redis://host/0?password=***&db=1"),
    ],
)
def test_a_password_is_hidden_in(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "mail a@b.c: done",
        "redis://host:6379/0 refused, ask a@b.c",
        "redis://host:6379: refused, ask a@b.c",
        "redis://10.0.0.1:6379. Ask a@b.c",
        "redis://[::1]:6379/0 refused, ask a@b.c",
        "redis://user@host:6379",
    ],
)
def test_a_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
