"""The command `capkdev-fake-kind`: behaves like `kind` v0.33.0, without containers.

A cluster is a real etcd and a real kube-apiserver, as local processes, with a real Node object for each requested node.
There is no scheduler, kubelet or controller-manager: pods never start and nothing is garbage-collected. Several control
planes still share one etcd and one kube-apiserver. The Kubernetes version is that of the local kube-apiserver, for any
node image.

    CAPK_LOCAL_KIND_HOME            directory of the clusters
    CAPK_LOCAL_KIND_MODE=instant    no processes: only a directory and a well-formed kubeconfig without a server
    CAPK_LOCAL_KIND_CREATE_SECONDS  minimum time of a creation
    CAPK_LOCAL_KIND_ABSENT_IMAGES   shell patterns of node images that cannot be pulled (default: `*:v[02-9].*`, and
                                    minor versions that are newer than that of kind's default image)
    CAPK_BIN                        directory of etcd and kube-apiserver, searched before `bin/` and PATH

Tests start this command hundreds of times, so only imports that every call needs are at the top.
`capkdev.fakekind.listing` answers the most frequent calls without this module.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from capk.errors import CapkError
from capkdev.fakekind import listing
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.steps import Console, KindError


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with 0 or 1, as kind does."""
    sys.stderr.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    console = Console(quiet="-q" in argv or "--quiet" in argv)
    try:
        arguments = _parser(argv).parse_args(argv)
        arguments.run(arguments, Home.from_environment(), console)
    except KindError as failure:
        if "engine" in argv[:1]:
            print(failure, file=sys.stderr)
        else:
            console.error(failure)
        return failure.exit_status
    except (CapkError, OSError) as failure:
        console.error(failure)
        return 1
    return 0


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # One is made for each argument. Without a width, each asks for the terminal's, and imports shutil for that.
        super().__init__(prog, width=100)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        # Neither kind nor engines accept abbreviations, and the arguments of `exec` are not ours.
        super().__init__(**{**settings, "allow_abbrev": False, "formatter_class": _Formatter})

    def error(self, message: str) -> NoReturn:
        raise KindError(message)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="silence all stderr output")
    common.add_argument("-v", "--verbosity", type=int, default=0, help="accepted without effect")
    parser = _Parser(prog="capkdev-fake-kind", description=__doc__, parents=[common])
    parser.add_argument("--version", action="version", version=f"kind version {listing.KIND_VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    # Only the wanted half, because a parser takes as long as most calls take for their work.
    if "engine" in argv[:1]:
        _add_engine(commands)
    else:
        _add_kind(commands, common)
        commands.add_parser("engine", help="behave like the container engine's command")
    return parser


def _add_kind(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add kind's calls. common: the arguments of all of them."""
    named = _Parser(add_help=False)
    named.add_argument("-n", "--name", default=os.environ.get("KIND_CLUSTER_NAME", ""), help="the cluster name")
    file = _Parser(add_help=False)
    file.add_argument("--kubeconfig", default="", help="the file to use instead of $KUBECONFIG or $HOME/.kube/config")

    def add(group: Any, name: str, action: Any, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = group.add_parser(name, help=action.__doc__, parents=[common, *parents])
        command.set_defaults(run=action)
        return command

    def group(name: str) -> Any:
        return commands.add_parser(name).add_subparsers(required=True, metavar="what", parser_class=_Parser)

    add(commands, "version", _version)
    create = add(group("create"), "cluster", _create, named, file)
    create.add_argument("--config", default="", help="path to a kind config file, - for standard input")
    create.add_argument("--image", default="", help="node image; used only to decide whether it can be pulled")
    create.add_argument("--retain", action="store_true", help="keep the nodes of a failed creation")
    create.add_argument("--wait", type=_seconds, default=0, help="wait for the control plane, as in 2m30s")
    delete = group("delete")
    add(delete, "cluster", _delete, named, file)
    many = add(delete, "clusters", _delete_many, file)
    many.add_argument("-A", "--all", action="store_true")
    many.add_argument("names", nargs="*")
    get = group("get")
    add(get, "clusters", _get_clusters)
    add(get, "nodes", _get_nodes, named).add_argument("-A", "--all-clusters", action="store_true")
    add(get, "kubeconfig", _get_kubeconfig, named).add_argument("--internal", action="store_true")
    add(group("export"), "logs", _export_logs, named).add_argument("directory", nargs="?", default="")


def _add_engine(commands: Any) -> None:
    """Add the container engine's calls."""
    from capkdev.fakekind import engine

    def run_engine(arguments: argparse.Namespace, home: Home, console: Console) -> None:
        for line in engine.run(home, arguments):
            print(line)

    parser = commands.add_parser("engine", help="answer as the container engine's command does")
    parser.set_defaults(run=run_engine)
    engine.add_commands(parser.add_subparsers(dest="verb", required=True, parser_class=_Parser))


def _version(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """print the version of kind that this command imitates"""
    print(listing.KIND_VERSION if arguments.quiet else listing.version())


def _create(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """create a cluster"""
    from capkdev.fakekind import create, kindconfig

    try:
        config = kindconfig.parse(_read(arguments.config)) if arguments.config else {}
        config = kindconfig.with_defaults(config, arguments.name, arguments.image)
        creation = create.Creation(config, arguments.wait, arguments.kubeconfig, arguments.retain)
        create.create_cluster(home, console, creation, os.environ)
    except (CapkError, OSError) as failure:
        raise KindError(f"failed to create cluster: {failure}", getattr(failure, "output", "")) from failure


def _delete(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """delete a cluster"""
    from capkdev.fakekind.create import delete_cluster

    delete_cluster(home, console, arguments.name or "kind", arguments.kubeconfig)


def _delete_many(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """delete several clusters"""
    from capkdev.fakekind.create import delete_cluster

    if not arguments.all and not arguments.names:
        raise KindError("no cluster names provided")
    names = home.names() if arguments.all else arguments.names
    for name in names:
        delete_cluster(home, console, name, arguments.kubeconfig)
    console.print(f"Deleted clusters: [{' '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]")


def _get_clusters(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """list clusters"""
    names = home.names()
    if not names:
        console.print(listing.NO_CLUSTERS)
    for name in names:
        print(name)


def _get_nodes(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """list nodes"""
    name = arguments.name or "kind"
    clusters = list(home.clusters()) if arguments.all_clusters else [found for found in [home.find(name)] if found]
    if not clusters:
        missing = (
            "No kind nodes for any cluster." if arguments.all_clusters else f'No kind nodes found for cluster "{name}".'
        )
        console.print(missing)
    for cluster in clusters:
        for node in cluster.nodes:
            print(node.name)


def _get_kubeconfig(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """print a cluster's kubeconfig"""
    from capkdev.fakekind.create import render_kubeconfig

    name = arguments.name or "kind"
    cluster = home.find(name)
    if cluster is None:
        raise KindError(
            f"could not locate any control plane nodes for cluster named '{name}'. "
            "Use the --name option to select a different cluster"
        )
    print(render_kubeconfig(cluster, internal=arguments.internal))


def _export_logs(arguments: argparse.Namespace, home: Home, console: Console) -> None:
    """copy the logs of a cluster to a directory"""
    from capkdev.fakekind.logs import export_logs

    name = arguments.name or "kind"
    cluster = home.find(name)
    if cluster is None:
        raise KindError(f'unknown cluster "{name}"')
    export_logs(cluster, arguments.directory, console)


def _read(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text()
    except OSError as failure:
        raise KindError(f"error reading file: open {path}: {str(failure.strerror).lower()}") from failure


def _seconds(text: str) -> int:
    import durationpy

    try:
        return round(durationpy.from_str(text).total_seconds())
    except durationpy.DurationError:
        raise KindError(f'invalid argument "{text}" for "--wait" flag: time: invalid duration "{text}"') from None
