"""The options of the `capk` command: names, environment variables and help texts."""

from typing import Annotated, Any, Final

import typer

from capk.settings import Endpoint, LogFormat, LogLevel

CONNECTION: Final = "Management cluster"
SCOPE: Final = "Objects to manage"
ENGINE: Final = "kind and the container engine"
LIMITS: Final = "Limits and intervals"
LEADER: Final = "Leader election"
PROCESS: Final = "Process"


def _option(panel: str, help: str, *flags: str, env: str | None = None, **options: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, envvar=env, show_envvar=env is not None, **options)


def _duration(panel: str, help: str) -> Any:
    return _option(panel, help, metavar="DURATION")


Kubeconfig = Annotated[
    str | None,
    _option(
        CONNECTION,
        "Kubeconfig of the management cluster.",
        metavar="PATH",
        show_default="$KUBECONFIG, or the service account of the pod, or ~/.kube/config",
    ),
]
Context = Annotated[
    str | None,
    _option(CONNECTION, "Context in the kubeconfig.", metavar="NAME", show_default="the current context"),
]
Namespace = Annotated[
    str | None, _option(SCOPE, "Manage objects in this namespace only.", metavar="NAME", show_default="all namespaces")
]
WatchFilter = Annotated[
    str | None,
    _option(
        SCOPE,
        "Manage only objects whose label cluster.x-k8s.io/watch-filter has this value.",
        metavar="VALUE",
        show_default="all objects",
    ),
]
KindCommand = Annotated[
    str,
    _option(
        ENGINE,
        "Command that runs kind. It may include leading arguments, and is split as a shell would.",
        env="CAPK_KIND_COMMAND",
        metavar="COMMAND",
    ),
]
EngineCommand = Annotated[
    str | None,
    _option(
        ENGINE,
        "Command of the container engine. If it is empty, the provider uses only kind: it cannot restart stopped "
        "nodes, and keeps fewer logs.",
        env="CAPK_ENGINE_COMMAND",
        metavar="COMMAND",
        show_default="docker, nerdctl or podman, as kind chooses",
    ),
]
SharedEngine = Annotated[
    bool,
    _option(
        ENGINE,
        "Whether the provider has a container engine of its own, for KINDClusters without a KINDEngineClass. Without "
        "one, it looks for neither socket nor command.",
        "--shared-engine/--no-shared-engine",
    ),
]
EngineNamespace = Annotated[
    str,
    _option(
        ENGINE,
        "Namespace of the management cluster for engines in Pods, which KINDEngineClasses describe.",
        metavar="NAME",
    ),
]
NodeImage = Annotated[
    str | None,
    _option(
        ENGINE,
        "Node image for objects that set neither an image nor a version.",
        env="CAPK_NODE_IMAGE",
        metavar="IMAGE",
        show_default="the default of kind",
    ),
]
WorkloadEndpoint = Annotated[
    Endpoint,
    _option(
        ENGINE,
        "Address of a workload cluster that the provider reports to Cluster API: that of the node container on the "
        "engine's network (internal), or the published port on the engine's machine (external). auto means internal if "
        "the provider runs in a pod, otherwise external.",
    ),
]
AllowedHostPaths = Annotated[
    str | None,
    _option(
        ENGINE,
        "Paths on the engine's machine that nodes may mount, separated by commas. Everything below them is allowed.",
        metavar="PATHS",
        show_default="none in a pod, otherwise all",
    ),
]
WaitForNodes = Annotated[
    str,
    _duration(
        ENGINE,
        "How long a creation waits for the control-plane nodes to be Ready. With 0, it does not wait.",
    ),
]
MaxConcurrentCreates = Annotated[
    int | None,
    _option(
        LIMITS,
        "Maximum number of kind clusters created in parallel on each engine. The others wait in a queue.",
        metavar="NUMBER",
        show_default="one per core and per GiB of memory, at least 2, within the container's memory limit",
    ),
]
MaxConcurrentPodCreates = Annotated[
    int | None,
    _option(
        LIMITS,
        "Maximum number of kind clusters created in parallel on all engines in Pods. The others wait in a queue.",
        metavar="NUMBER",
        show_default="32, within the container's memory limit",
    ),
]
MaxConcurrentWorkers = Annotated[
    int,
    _option(
        LIMITS,
        "Maximum number of workers (KINDMachines) that join in parallel on each engine. The others wait in a queue.",
        metavar="NUMBER",
    ),
]
CreateTimeout = Annotated[
    str, _duration(LIMITS, "Maximum time for one creation, before the provider cleans up and tries again.")
]
DeleteTimeout = Annotated[str, _duration(LIMITS, "Maximum time for one deletion, before the provider tries again.")]
Workers = Annotated[int, _option(LIMITS, "Maximum number of objects reconciled in parallel.", metavar="NUMBER")]
SyncPeriod = Annotated[str, _duration(LIMITS, "Interval between full resyncs, which reconcile every object.")]
InventoryPeriod = Annotated[str, _duration(LIMITS, "Interval between inventories of the container engine.")]
HealthPeriod = Annotated[
    str, _duration(LIMITS, "Interval between health checks of each workload cluster's API server.")
]
LeaderElect = Annotated[
    bool,
    _option(
        LEADER,
        "Work only while this process holds the Lease. Use it if more than one provider may run.",
        "--leader-elect",
    ),
]
LeaderElectionNamespace = Annotated[
    str | None,
    _option(
        LEADER,
        "Namespace of the Lease.",
        metavar="NAME",
        show_default="the namespace of the pod, otherwise default",
    ),
]
WorkDir = Annotated[
    str | None,
    _option(
        PROCESS,
        "Directory for private files and for the logs of failed creations. Only you may have access to it.",
        env="CAPK_WORK_DIR",
        metavar="PATH",
        show_default="capk-UID in the directory for temporary files",
    ),
]
LogFormatOption = Annotated[LogFormat, _option(PROCESS, "Format of the log.")]
LogLevelOption = Annotated[LogLevel, _option(PROCESS, "Minimum severity of the messages to log.", case_sensitive=False)]
HealthAddress = Annotated[
    str,
    _option(
        PROCESS,
        "Address that serves the probes /healthz and /readyz, and /metrics. An empty value disables them.",
        metavar="ADDRESS",
    ),
]
DiagnosticsAddress = Annotated[
    str,
    _option(PROCESS, "Another address that serves /metrics.", metavar="ADDRESS", show_default="none"),
]
