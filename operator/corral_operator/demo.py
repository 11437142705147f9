"""`corral demo`: the main job of Corral on this machine, from start to end, with nothing to set up.

Every `corral` command imports this file, so what the demo needs is imported when it runs.
"""

import argparse

from corral.errors import ConfigurationError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to `corral`."""
    demo = commands.add_parser(
        "demo",
        help="watch workers run jobs, and one of them die, on a server of its own",
        description="Starts a Valkey server and two workers, adds about a thousand jobs (with Node at hand some of them "
        "through BullMQ), kills one worker in the middle of its jobs, and counts at the end what became of each. "
        "Needs no Redis, leaves nothing behind, and ends by itself within a minute: exit code 0, or 1 when a job was lost.",
    )
    demo.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """`corral demo`. Raises ConfigurationError when something it needs is not installed."""
    try:
        from corral_operator.demo_run import perform  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the demo needs {error.name!r}: pip install 'corral[operator]'") from error
    return perform()
