"""The `corral` command. Other packages add commands through the entry-point group `corral.commands`.

Exit codes: 0 done, 1 failed, 2 used or set up wrongly.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import entry_points

from corral import logs
from corral.errors import ConfigurationError, CorralError
from corral.loading import load_workers
from corral.process import serve
from corral.settings import Settings
from corral.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if not hasattr(options, "run"):
        parser.print_help()
        return 2
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        print(f"corral: {error}", file=sys.stderr)
        return 2
    except CorralError as error:
        print(f"corral: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `corral ... | head`: without a sink the flush at exit fails once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command that is installed."""
    parser = argparse.ArgumentParser("corral", description="Background jobs on Redis queues, shared with BullMQ.")
    parser.add_argument("--version", action="version", version=f"corral {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    work = commands.add_parser(
        "work",
        help="run the jobs of queues",
        description="Run workers until SIGTERM or Ctrl-C; a second one hands running jobs back at once. "
        "Settings come from the environment: REDIS_URL (or REDIS_HOST, or REDIS_SENTINELS), CORRAL_QUEUES, "
        "CORRAL_CONCURRENCY, CORRAL_PREFIX, CORRAL_GRACE, CORRAL_PORT, CORRAL_LOG_FORMAT, CORRAL_LOG_LEVEL.",
    )
    work.add_argument(
        "workers",
        nargs="*",
        metavar="MODULE:WORKER",
        help="the worker objects, like emails:worker; default CORRAL_WORKER",
    )
    work.set_defaults(run=run_work)
    for entry in sorted(entry_points(group="corral.commands"), key=lambda entry: entry.name):
        try:
            register = entry.load()
        except ModuleNotFoundError as error:
            # The worker image is the runtime alone. Such a command is not listed, and says why when somebody names it.
            commands.add_parser(entry.name).set_defaults(run=partial(_not_installed, entry.name, error))
        else:
            register(commands)
    return parser


def _not_installed(command: str, error: ModuleNotFoundError, _: argparse.Namespace) -> int:
    raise ConfigurationError(f"`corral {command}` needs {error.name!r}: install it, or run this elsewhere") from error


def run_work(options: argparse.Namespace) -> int:
    """`corral work`."""
    settings = Settings.from_env(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    # As a container's first process we would not hear a SIGTERM while the user's module is imported.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    references = tuple(options.workers) or settings.workers
    if not references:
        raise ConfigurationError("name a worker, like `corral work emails:worker`, or set CORRAL_WORKER")
    return serve(load_workers(references), settings)
