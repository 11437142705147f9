"""Reading a mapping from YAML or JSON field by field, so that every error names its path.

A null counts as absent, as it does for the API server. `close` refuses what nobody asked for.
"""

import math
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

Choice = TypeVar("Choice", bound=StrEnum)

DURATION_PATTERN = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
"""What a duration looks like; it must not be empty."""

_DURATION = re.compile("([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?")
_UNITS_S = (3600.0, 60.0, 1.0, 0.001)
_REQUIRED: Any = object()


class SpecError(ValueError):
    """A field that cannot be read. `path` names it, `message` says what it must be."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path} {message}")
        self.path = path
        self.message = message


def parse_duration(text: str) -> float | None:
    """Seconds of a duration like `1h30m` or `500ms`; None when it is none."""
    match = _DURATION.fullmatch(text)
    if not text or match is None or len(text) > 32:
        return None
    return sum(int(part.rstrip("hms")) * unit_s for part, unit_s in zip(match.groups(), _UNITS_S, strict=True) if part)


class Fields:
    """The fields of one mapping, and which of them were read."""

    def __init__(self, values: Any, path: str) -> None:
        if not isinstance(values, Mapping):
            raise SpecError(path, f"must be a mapping, got {values!r}")
        self._values = values
        self._path = path
        self._read: set[str] = set()
        self._inner: list[Fields] = []

    def path(self, key: str | None = None) -> str:
        """Where this mapping, or one of its fields, lies."""
        return self._path if key is None else f"{self._path}.{key}"

    def has(self, key: str) -> bool:
        """The field is there and not null. Asking counts as reading it."""
        self._read.add(key)
        return self._values.get(key) is not None

    def inner(self, key: str) -> "Fields":
        """A mapping inside this one; empty when it is absent."""
        return self._child({} if (value := self._take(key, None)) is None else value, self.path(key))

    def rows(self, key: str, *, least: int = 1, most: int) -> list["Fields"]:
        """A list of `least` to `most` mappings; with 0 it may be absent as well."""
        value = self._take(key, _REQUIRED if least else ())
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise SpecError(self.path(key), f"must be a list of {least} to {most} entries")
        return [self._child(row, f"{self.path(key)}[{index}]") for index, row in enumerate(value)]

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """Text that is not empty."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            raise SpecError(self.path(key), f"must be text, got {value!r}")
        return value

    def choice(self, key: str, choices: type[Choice], default: Choice) -> Choice:
        """One of a few words."""
        value = self._take(key, default)
        if value not in _words(choices):
            raise SpecError(self.path(key), f"must be one of {', '.join(_words(choices))}, got {value!r}")
        return choices(value)

    def whole(self, key: str, default: int = _REQUIRED, *, least: int = 0, most: int | None = None) -> int:
        """A whole number within bounds."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpecError(self.path(key), f"must be a whole number from {least} up, got {value!r}")
        if most is not None and value > most:
            raise SpecError(self.path(key), f"must not be above maxReplicas ({most}), got {value}")
        return value

    def whole_or_none(self, key: str, *, least: int = 0, most: int | None = None) -> int | None:
        """The same, or None when absent."""
        return self.whole(key, least=least, most=most) if self.has(key) else None

    def number(
        self,
        key: str,
        default: float = _REQUIRED,
        *,
        least: float = -math.inf,
        above: float = -math.inf,
        below: float = math.inf,
    ) -> float:
        """A finite number, at least `least`, greater than `above`, less than `below`."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SpecError(self.path(key), f"must be a number, got {value!r}")
        if not (value >= least and above < value < below):
            bounds = [
                f"{word} {bound:g}"
                for word, bound in (("at least", least), ("above", above), ("below", below))
                if math.isfinite(bound)
            ]
            raise SpecError(self.path(key), f"must be {' and '.join(bounds)}, got {value!r}")
        return float(value)

    def positive_or_none(self, key: str) -> float | None:
        """A number above zero, or None when absent."""
        return self.number(key, above=0) if self.has(key) else None

    def duration(self, key: str, default: float = _REQUIRED, *, positive: bool = False) -> float:
        """Seconds of a duration written as text."""
        if not self.has(key) and default is not _REQUIRED:
            return default
        value = self._take(key, _REQUIRED)
        seconds = parse_duration(value) if isinstance(value, str) else None
        if seconds is None:
            raise SpecError(self.path(key), f"must be a duration like 30s, 5m, 1h30m or 500ms, got {value!r}")
        if positive and not seconds:
            raise SpecError(self.path(key), "must be longer than zero")
        return seconds

    def duration_or_none(self, key: str) -> float | None:
        """The same, or None when absent."""
        return self.duration(key) if self.has(key) else None

    def mapping_or_none(self, key: str) -> Mapping[str, Any] | None:
        """A mapping that is handed on as it is, or None when absent."""
        value = self._take(key, None)
        if value is not None and not isinstance(value, Mapping):
            raise SpecError(self.path(key), f"must be a mapping, got {value!r}")
        return value

    def close(self) -> None:
        """Refuse fields that nobody read, here and inside."""
        for key in self._values:
            if key not in self._read:
                raise SpecError(self.path(str(key)), "is not a field of a WorkerPool")
        for inner in self._inner:
            inner.close()

    def _take(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self._values.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise SpecError(self.path(key), "is required")
        return default

    def _child(self, values: Any, path: str) -> "Fields":
        child = Fields(values, path)
        self._inner.append(child)
        return child


def _words(choices: Iterable[StrEnum]) -> list[str]:
    return [choice.value for choice in choices]
