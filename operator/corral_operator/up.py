"""`corral up pools.yaml`: WorkerPools without a cluster, with local processes as replicas.

Every `corral` command imports this file, so what it needs is imported when it runs.
"""

import argparse

from corral.errors import ConfigurationError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to `corral`."""
    up = commands.add_parser(
        "up",
        help="run WorkerPools on this machine, without a cluster",
        description="Read WorkerPools from a file, and run as many worker processes in the current folder as their "
        "queues need: command and args of the container called worker, without its image. The first Ctrl-C lets "
        "running jobs finish, a second one hands them back.",
    )
    up.add_argument("pools", metavar="POOLS.YAML", help="the manifests; - is standard input")
    up.add_argument(
        "--redis",
        metavar="URL",
        help="the Redis of all pools, whatever their Secrets say (default REDIS_URL, else a Valkey server of its own)",
    )
    up.add_argument("--dry-run", action="store_true", help="decide and show, but start no worker")
    up.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`corral up`. Raises ConfigurationError for a file that cannot be used, or when something is not installed."""
    try:
        from corral_operator import up_run  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"corral up needs {error.name!r}: pip install 'corral[operator]'") from error
    return up_run.perform(options.pools, redis=options.redis, dry_run=options.dry_run)
