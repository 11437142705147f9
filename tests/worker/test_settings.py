"""What the environment says to a worker, and how it is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from corral import ConfigurationError, settings
from corral.address import read_address
from corral.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping


class Asked(dict[str, str]):
    """An environment that remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings() == Settings(
        queues=(),
        concurrency=1,
        prefix="bull",
        pool=None,
        workers=(),
        grace=30.0,
        livez_stall=120.0,
        port=8080,
        log_level="info",
    )


def test_the_docstring_names_exactly_the_variables_that_are_read() -> None:
    asked = Asked()
    Settings.from_env(asked)
    with pytest.raises(ConfigurationError):
        read_address(asked)
    documented = set(re.findall(r"^([A-Z_]{5,})  ", settings.__doc__ or "", re.MULTILINE))
    assert documented == asked.names
    assert len(documented) >= 21


def test_every_variable_is_taken() -> None:
    found = Settings.from_env(
        {
            "CORRAL_QUEUES": " mail, pdf ,mail,, ",
            "CORRAL_CONCURRENCY": "20",
            "CORRAL_PREFIX": "{app}",
            "CORRAL_POOL": "senders",
            "CORRAL_WORKER": "emails:worker,pdfs",
            "CORRAL_GRACE": "12.5",
            "CORRAL_LIVEZ_STALL": "90",
            "CORRAL_PORT": "0",
            "CORRAL_LOG_FORMAT": "json",
            "CORRAL_LOG_LEVEL": "debug",
            "POD_NAME": "pod-1",
        }
    )
    assert found == Settings(
        queues=("mail", "pdf"),
        concurrency=20,
        prefix="{app}",
        pool="senders",
        workers=("emails:worker", "pdfs"),
        grace=12.5,
        livez_stall=90.0,
        port=0,
        log_format="json",
        log_level="debug",
        pod="pod-1",
    )


def test_variables_that_are_set_but_empty_count_as_not_set() -> None:
    names = [
        "CORRAL_QUEUES",
        "CORRAL_CONCURRENCY",
        "CORRAL_PREFIX",
        "CORRAL_POOL",
        "CORRAL_WORKER",
        "CORRAL_GRACE",
        "CORRAL_LIVEZ_STALL",
        "CORRAL_PORT",
        "CORRAL_LOG_FORMAT",
        "CORRAL_LOG_LEVEL",
        "POD_NAME",
    ]
    assert Settings.from_env(dict.fromkeys(names, "")) == Settings()


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0", 0.0), ("45s", 45.0), (" 1.5 ", 1.5)])
def test_a_grace_is_seconds(text: str, seconds: float) -> None:
    assert Settings.from_env({"CORRAL_GRACE": text}).grace == seconds


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CORRAL_CONCURRENCY": "0"}, "CORRAL_CONCURRENCY takes a whole number from 1 up, got '0'"),
        ({"CORRAL_CONCURRENCY": "many"}, "CORRAL_CONCURRENCY takes a whole number from 1 up, got 'many'"),
        ({"CORRAL_CONCURRENCY": "1.5"}, "CORRAL_CONCURRENCY takes a whole number"),
        ({"CORRAL_PORT": "-1"}, "CORRAL_PORT takes a whole number from 0 up, got '-1'"),
        ({"CORRAL_GRACE": "soon"}, "CORRAL_GRACE takes a number of seconds, like 30, got 'soon'"),
        ({"CORRAL_GRACE": "-1"}, "CORRAL_GRACE takes a number of seconds"),
        ({"CORRAL_GRACE": "nan"}, "CORRAL_GRACE takes a number of seconds"),
        ({"CORRAL_GRACE": "inf"}, "CORRAL_GRACE takes a number of seconds"),
        ({"CORRAL_LIVEZ_STALL": "long"}, "CORRAL_LIVEZ_STALL takes a number of seconds, like 30, got 'long'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(environ: Mapping[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Settings.from_env(environ)
