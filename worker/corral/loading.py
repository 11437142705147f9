"""Finds the worker objects that `corral work` is to run."""

import importlib
import os
import sys
from collections.abc import Sequence

from corral.errors import ConfigurationError
from corral.worker import Worker


def load_workers(references: Sequence[str]) -> list[Worker]:
    """Import `module:attribute` references (attribute default: worker), modules of the current folder included.

    Raises ConfigurationError that names what was not found; an error inside a module shows where it was raised.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return [_load(reference) for reference in references]


def _load(reference: str) -> Worker:
    module_name, _, attribute = reference.partition(":")
    attribute = attribute or "worker"
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"module {module_name!r} needs {error.name!r}, which is not installed") from error
        raise ConfigurationError(
            f"there is no module {module_name!r} in {os.getcwd()} or on PYTHONPATH; "
            "a worker is named like emails:worker, for `worker` in emails.py"
        ) from None
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"module {module_name!r} cannot be imported: {_where(error)}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Worker):
        return found
    there = [name for name, value in vars(sys.modules[module_name]).items() if isinstance(value, Worker)]
    hint = f"it has {', '.join(f'{module_name}:{name}' for name in there)}" if there else "it has no Worker at all"
    what = "does not exist" if found is None else f"is {type(found).__name__}, not a Worker"
    raise ConfigurationError(f"{reference!r}: {attribute!r} {what} in module {module_name!r}; {hint}")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{place}"
