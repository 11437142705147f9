"""The tree of errors, drawn in the docstring, is the tree of classes."""

from __future__ import annotations

import re

from corral import errors
from corral.errors import ConfigurationError, CorralError, InvalidJob, RedisRefused, RedisUnavailable


def _drawn() -> dict[str, str | None]:
    """Class name -> name of its base, as drawn."""
    tree: dict[str, str | None] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([| ]*(?:[|`]-- )?)([A-Z]\w+)(?:  |$)", line)
        if found:
            depth = len(found[1]) // 4
            above[depth] = found[2]
            tree[found[2]] = above[depth - 1] if depth else None
    return tree


def _built() -> dict[str, str | None]:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, CorralError)]
    return {one.__name__: None if one is CorralError else one.__bases__[0].__name__ for one in classes}


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    assert len(_built()) >= 11
    assert _drawn() == _built()


def test_a_refused_job_is_a_value_error_too() -> None:
    assert issubclass(InvalidJob, ValueError)
    assert not issubclass(ConfigurationError, ValueError)


def test_an_outage_says_whether_the_call_may_have_been_carried_out() -> None:
    assert not RedisUnavailable("away").maybe_done
    assert RedisUnavailable("away", maybe_done=True).maybe_done


def test_an_outage_tells_what_happened_and_what_to_do_and_the_first_alone_too() -> None:
    error = RedisUnavailable("it is away", "is it running?", code="unreachable")
    assert (str(error), error.what, error.code) == ("it is away; is it running?", "it is away", "unreachable")
    assert (str(RedisUnavailable("away")), RedisUnavailable("away").code) == ("away", "")


def test_a_refusal_carries_redis_word_and_was_never_carried_out() -> None:
    error = RedisRefused("its memory is full", "OOM")
    assert (error.code, error.maybe_done, str(error)) == ("OOM", False, "its memory is full")
