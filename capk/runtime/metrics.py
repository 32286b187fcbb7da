"""The Prometheus series of the provider. Label values come from closed lists, never from names of objects."""

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from capk.version import version

_CREATION_BUCKETS: Final = (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200)
_SHORT_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All series, in their own registry; also the observer of the work queue."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Info("capk_build", "The version of the provider.", registry=self.registry).info({"version": version()})
        self._kind = Info("capk_kind", "The version of the kind command.", registry=self.registry)
        self.creation_step_seconds = Histogram(
            "capk_creation_step_seconds",
            "Duration of a step of a kind cluster's creation, or of a worker's join.",
            ("step",),
            buckets=_CREATION_BUCKETS,
            registry=self.registry,
        )
        self.operation_seconds = Histogram(
            "capk_operation_seconds",
            "Duration of an operation on the engine, by lane (create, delete, …) and outcome.",
            ("lane", "outcome"),
            buckets=_CREATION_BUCKETS,
            registry=self.registry,
        )
        self.operations_running = Gauge(
            "capk_operations_running", "Running operations on the engine.", ("lane",), registry=self.registry
        )
        self.operations_queued = Gauge(
            "capk_operations_queued", "Queued operations on the engine.", ("lane",), registry=self.registry
        )
        self.failures = Counter(
            "capk_failures",
            "Failures that a condition reported, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.queue_depth = Gauge("capk_queue_depth", "Objects that wait to be reconciled.", registry=self.registry)
        self.queue_wait_seconds = Histogram(
            "capk_queue_wait_seconds",
            "Time that an object waited to be reconciled.",
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "capk_reconcile_seconds",
            "Duration of one reconcile.",
            ("kind", "outcome"),
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self.api_requests = Counter(
            "capk_api_requests",
            "Requests to the API server of the management cluster; code none: no answer.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.clusters = Gauge("capk_clusters", "KINDClusters by state.", ("state",), registry=self.registry)
        self.engines = Gauge("capk_engines", "Engines in Pods by state.", ("state",), registry=self.registry)
        self.engine_start_seconds = Histogram(
            "capk_engine_start_seconds",
            "Time from the creation of an engine's Pod until its Docker daemon answers.",
            buckets=_CREATION_BUCKETS,
            registry=self.registry,
        )
        self.inventory_seconds = Histogram(
            "capk_inventory_seconds",
            "Duration of one inventory of all kind clusters.",
            ("outcome",),
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self.last_resync = Gauge(
            "capk_last_resync_timestamp_seconds", "When the last complete resync ended.", registry=self.registry
        )

    def watch_lane(self, lane: str, count: Callable[[], tuple[int, int]]) -> None:
        """Count the operations of a lane at each scrape. count: returns the numbers of queued and running ones."""
        self.operations_queued.labels(lane).set_function(lambda: count()[0])
        self.operations_running.labels(lane).set_function(lambda: count()[1])

    def depth(self, keys: int) -> None:
        """Record the length of the work queue."""
        self.queue_depth.set(keys)

    def waited(self, seconds: float) -> None:
        """Record how long a key waited for a worker."""
        self.queue_wait_seconds.observe(seconds)

    def requested(self, verb: str, resource: str, code: str) -> None:
        """Count a request to the API server."""
        self.api_requests.labels(verb, resource, code).inc()

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """Record one reconcile."""
        self.reconcile_seconds.labels(kind, outcome).observe(seconds)

    def counted(self, clusters_by_state: Mapping[str, int]) -> None:
        """Set the number of KINDClusters in each state; it is 0 for states that are not given."""
        self.clusters.clear()
        for state, count in clusters_by_state.items():
            self.clusters.labels(state).set(count)

    def engines_counted(self, by_state: Mapping[str, int]) -> None:
        """Set the number of engines in Pods in each state; it is 0 for states that are not given."""
        self.engines.clear()
        for state, count in by_state.items():
            self.engines.labels(state).set(count)

    def show_kind_version(self, version: str) -> None:
        """Set the version of kind that answers."""
        self._kind.info({"version": version})

    def exposition(self) -> tuple[bytes, str]:
        """Return all series in Prometheus' text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
