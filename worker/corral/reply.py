"""The answer to a call on a job: to be awaited in async code, there already in a thread."""

from abc import abstractmethod
from collections.abc import Coroutine, Generator
from typing import Any, Generic, NoReturn, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_HINT = "this is the answer of a call on a job: await it in async code, or take .result() of it in a thread"


class Reply(Coroutine[Any, Any, T_co], Generic[T_co]):
    """The answer to a call on a job: `await job.get_state()` in async code.

    In a plain processor, which runs in a thread, and with `corral.sync`, the call itself waits until it is done;
    `job.get_state().result()` is its value. A reply is never mistaken for its value: to compare it, to ask whether it is
    true, or to read anything else of it is an error that says so.
    """

    @abstractmethod
    def result(self) -> T_co:
        """The value, in a thread. Raises RuntimeError in async code, where it must be awaited."""

    def __bool__(self) -> NoReturn:
        raise TypeError(_HINT)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(_HINT)

    def __hash__(self) -> int:
        return id(self)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"no {name!r} here; {_HINT}")


class Coming(Reply[T]):
    """A reply in async code: await it, once."""

    def __init__(self, call: Coroutine[Any, Any, T]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, T]:
        return self._call.__await__()

    def send(self, value: Any) -> Any:
        return self._call.send(value)

    def throw(self, *error: Any) -> Any:
        return self._call.throw(*error)

    def close(self) -> None:
        self._call.close()

    def result(self) -> T:
        self._call.close()
        raise RuntimeError("in async code, await the call; result() is for plain processors, which run in threads")


class Done(Reply[T]):
    """A reply that is there already."""

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, T]:
        yield from ()
        return self._value

    def send(self, value: Any) -> Any:
        raise StopIteration(self._value)

    def throw(self, *error: Any) -> Any:
        raise error[0]

    def close(self) -> None:
        """Nothing is under way."""

    def result(self) -> T:
        return self._value

    def __repr__(self) -> str:
        return f"Done({self._value!r})"
