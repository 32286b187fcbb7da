"""The kopf handlers: kopf lists and watches, and passes every event to the application (docs/kopf.md, "The pattern").

Register only `on.event` handlers: for any other kind, kopf adds annotations or finalizers to the objects (K13, K18,
K33).
"""

from typing import Any, Final

import kopf

from capk.api import names
from capk.api.names import (
    CLUSTERS,
    KIND_CLUSTERS,
    KIND_CONFIGS,
    KIND_CONTROL_PLANES,
    KIND_ENGINE_CLASSES,
    KIND_MACHINES,
    NAMESPACES,
    SECRETS,
)
from capk.kube.client import PAGE_SIZE
from capk.manager.application import Application
from capk.settings import Settings

NO_FINALIZER: Final = "no finalizer"
"""kopf removes this one from every object that it watches (K13). Its default is that of all other operators that use
kopf, whose objects would go without them. The API server stores no finalizer with a space."""
_IDLE_SECONDS: Final = 0.2
"""How long kopf keeps the latest event of an object, with the worker that handled it. With 0, its workers spin."""


def handlers(*, cluster_wide: bool) -> kopf.OperatorRegistry:
    """Return the handlers of a process; cluster_wide: whether it also watches what belongs to no namespace."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(memo: Application, **_: Any) -> kopf.AiohttpSession:
        """Give kopf the connection that the provider's own client uses."""
        return await memo.kopf_connection()

    @kopf.on.event(KIND_CLUSTERS.group, KIND_CLUSTERS.version, KIND_CLUSTERS.plural, registry=registry)
    async def on_kindcluster(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(KIND_CLUSTERS, event["type"], event["object"])

    @kopf.on.event(
        KIND_CONTROL_PLANES.group, KIND_CONTROL_PLANES.version, KIND_CONTROL_PLANES.plural, registry=registry
    )
    async def on_kindcontrolplane(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(KIND_CONTROL_PLANES, event["type"], event["object"])

    @kopf.on.event(KIND_MACHINES.group, KIND_MACHINES.version, KIND_MACHINES.plural, registry=registry)
    async def on_kindmachine(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(KIND_MACHINES, event["type"], event["object"])

    @kopf.on.event(KIND_CONFIGS.group, KIND_CONFIGS.version, KIND_CONFIGS.plural, registry=registry)
    async def on_kindconfig(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(KIND_CONFIGS, event["type"], event["object"])

    # Without a version kopf uses the one that the server prefers, which supports old and new cores (K32, C12).
    @kopf.on.event(CLUSTERS.group, CLUSTERS.plural, registry=registry)
    async def on_cluster(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(CLUSTERS, event["type"], event["object"])

    # The watch has a label selector, see `kopf_settings`: only our own Secrets arrive here.
    @kopf.on.event(SECRETS.version, SECRETS.plural, registry=registry)
    async def on_secret(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(SECRETS, event["type"], event["object"])

    if cluster_wide:
        _watch_cluster_wide(registry)
    return registry


def _watch_cluster_wide(registry: kopf.OperatorRegistry) -> None:
    @kopf.on.event(
        KIND_ENGINE_CLASSES.group, KIND_ENGINE_CLASSES.version, KIND_ENGINE_CLASSES.plural, registry=registry
    )
    async def on_kindengineclass(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(KIND_ENGINE_CLASSES, event["type"], event["object"])

    @kopf.on.event(NAMESPACES.version, NAMESPACES.plural, registry=registry)
    async def on_namespace(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(NAMESPACES, event["type"], event["object"])


class _NothingRemembered(kopf.DiffBaseStorage):
    """Avoids a deep copy of the object of every event: only change handlers need the last state."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings (docs/kopf.md, "Settings")."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NothingRemembered()
    chosen.persistence.finalizer = NO_FINALIZER
    chosen.peering.standalone = True
    chosen.networking.request_timeout = 30
    # About five minutes in total, so that a rollout of the API server does not end the process (K29).
    chosen.networking.error_backoffs = [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60, 60]
    chosen.process.ultimate_exiting_timeout = 25
    chosen.watching.chunk_size = PAGE_SIZE
    chosen.queueing.idle_timeout = _IDLE_SECONDS
    chosen.watching.label_selectors["v1", "secrets"] = names.SECRET_CLUSTER_LABEL
    if settings.watch_filter:
        selector = f"{names.WATCH_FILTER_LABEL}={settings.watch_filter}"
        for resource in names.FILTERED:
            chosen.watching.label_selectors[resource.group, resource.plural] = selector
    return chosen
