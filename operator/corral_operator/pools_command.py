"""`corral pools`, `corral explain POOL` and `corral auto POOL`: what a user asks of the WorkerPools of a cluster.

Every `corral` command imports this file, so what they need is imported when one of them runs.
"""

import argparse
from types import ModuleType

from corral.errors import ConfigurationError


def register_pools(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `corral pools`."""
    pools = commands.add_parser(
        "pools",
        help="list the WorkerPools of a cluster",
        description="A row for each WorkerPool: the replicas that are wanted, ready pods, active jobs, jobs that a "
        "worker could take now, how long the oldest of them has been waiting, and why. Of a cluster, the numbers are at "
        "most about 30 s old. A question mark is what is not known.",
    )
    where = pools.add_mutually_exclusive_group()
    _add_namespace(where)
    where.add_argument("-A", "--all-namespaces", action="store_true", help="those of all namespaces")
    _add_up(pools)
    pools.add_argument("-w", "--watch", action="store_true", help="go on telling what changes, until Ctrl-C")
    pools.add_argument("-o", "--output", choices=("wide", "json"), help="more columns, or a list for programs")
    pools.set_defaults(run=run_pools)


def register_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `corral explain`."""
    explain = commands.add_parser(
        "explain",
        help="say why a WorkerPool has so many replicas, and what would change it",
        description="The last decision of the operator in a sentence, the numbers that were weighed, the rule that "
        "chose, what was learned of the jobs, the conditions that are not as they should be, and what would change it.",
    )
    _add_pool(explain)
    _add_up(explain)
    explain.set_defaults(run=run_explain)


def register_auto(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `corral auto`."""
    auto = commands.add_parser(
        "auto",
        help="let the operator size a WorkerPool again whose replicas were set by hand",
        description="Removes spec.replicas, which `kubectl scale workerpool` sets: from then on the operator decides. "
        "With --up, what the file says of it counts no more while that `corral up` runs.",
    )
    _add_pool(auto)
    _add_up(auto)
    auto.set_defaults(run=run_auto)


def _add_namespace(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="default: that of the kubeconfig's context")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pool", metavar="POOL", help="its name")
    _add_namespace(parser)


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--up",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="ask the `corral up` that runs on this machine and not a cluster; of several, by the folder of its logs",
    )


def run_pools(options: argparse.Namespace) -> int:
    """`corral pools`. Raises CorralError; ConfigurationError for options that do not go together."""
    if options.watch and options.output == "json":
        raise ConfigurationError("--watch tells rows; without it, -o json tells a list")
    run = _whole("pools")
    where = run.Where(options.namespace, options.all_namespaces, options.up)
    return int(run.pools(where, watch=options.watch, form=options.output))


def run_explain(options: argparse.Namespace) -> int:
    """`corral explain`. Raises CorralError."""
    run = _whole("explain")
    return int(run.explain(options.pool, run.Where(options.namespace, up=options.up)))


def run_auto(options: argparse.Namespace) -> int:
    """`corral auto`. Raises CorralError."""
    run = _whole("auto")
    return int(run.auto(options.pool, run.Where(options.namespace, up=options.up)))


def _whole(command: str) -> ModuleType:
    """What runs the commands, where the package is installed whole."""
    try:
        from corral_operator import pools_run  # noqa: PLC0415  (see above)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"corral {command} needs {error.name!r}: pip install 'corral[operator]'") from error
    return pools_run
