"""Values as JSON text, and texts as UTF-8 can hold them."""

import json
from typing import Any

from corral.errors import PayloadNotJSON


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


# Python reads NaN and Infinity, which JSON lacks.
_decode = json.JSONDecoder(parse_constant=_no_number).decode
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def to_json(value: Any, what: str) -> str:
    """JSON text of a value. `what` names it in the error.

    Raises PayloadNotJSON for what JSON cannot say: NaN and Infinity (one of them in a return value would end the
    event listeners of Node), lone surrogates, objects of one's own.
    """
    if value is None:
        return "null"
    try:
        text = _encoder.encode(value)
        if not text.isascii():
            text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadNotJSON(
            f"{what} is not JSON: {error}; use None, bool, int, finite float, str, list and dict only"
        ) from error
    return text


def from_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError."""
    return _decode(text)


def storable(text: str) -> str:
    """A text that UTF-8 can hold: lone surrogates are made readable."""
    return text.encode(errors="backslashreplace").decode()
