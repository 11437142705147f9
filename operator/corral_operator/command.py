"""`corral operator`: watch the WorkerPools of a cluster and size their Deployments.

Every `corral` command imports this file, so what the operator needs is imported when it runs.
"""

import argparse
import os

from corral.errors import ConfigurationError


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to `corral`."""
    operator = commands.add_parser(
        "operator",
        help="size the WorkerPools of a Kubernetes cluster",
        description="Watch WorkerPools, read their queues, and set the replicas of their Deployments, until SIGTERM. "
        "Settings come from the environment: KUBECONFIG, CORRAL_NAMESPACES, CORRAL_LEASE, CORRAL_PORT, "
        "CORRAL_LOG_FORMAT, CORRAL_LOG_LEVEL.",
    )
    operator.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="only the pools of this namespace; may be given several times (default: all, or CORRAL_NAMESPACES)",
    )
    operator.add_argument("--once", action="store_true", help="look at every pool one time, print a line each, and end")
    operator.add_argument("--dry-run", action="store_true", help="decide and tell in the log, but write nothing")
    operator.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`corral operator`: exit code 0 at an ordinary end, 1 when something broke or (once) a pool could not be served.

    Raises ConfigurationError for a wrong set-up, or when the package is not installed whole.
    """
    try:
        from corral_operator import process, settings  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the operator needs {error.name!r}: pip install 'corral[operator]'") from error
    read = settings.OperatorSettings.read(os.environ, namespaces=options.namespace, dry_run=options.dry_run)
    return process.once(read) if options.once else process.serve(read)
