"""`corral demo`: the main job of Corral on this machine, from start to end, with nothing to set up.

Every `corral` command imports this file, so what the demo needs is imported when it runs.
"""

import argparse

from corral.errors import ConfigurationError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to `corral`."""
    demo = commands.add_parser(
        "demo",
        help="watch two pools of workers follow their queues, from zero and back",
        description="Starts a Valkey server and keeps two pools of workers, one that waits for others and one that "
        "computes. Adds more than a thousand jobs (with Node at hand some of them through BullMQ), kills a worker in the "
        "middle of its jobs, lets a delayed job wake a pool at zero, and counts at the end what became of each job. "
        "Needs no Redis, leaves nothing behind, and ends by itself within 90 s: exit code 0, or 1 when a job was lost.",
    )
    demo.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """`corral demo`. Raises ConfigurationError when something it needs is not installed."""
    try:
        from corral_operator import demo_run  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"corral demo needs {error.name!r}: pip install 'corral[operator]'") from error
    return demo_run.perform()
