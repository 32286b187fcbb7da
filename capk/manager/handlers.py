"""kopf's part: it lists and watches, and hands every event to the application. Nothing else (kopf-facts, pattern 3).

No handler of another kind than `on.event` may be registered: kopf would put annotations or finalizers on the objects
(K13, K18, K33).
"""

from typing import Any

import kopf

from capk.api import names
from capk.api.names import Resource
from capk.manager.application import Application
from capk.settings import Settings


def registry() -> kopf.OperatorRegistry:
    """Return the event handlers for every kind that the provider watches."""
    handlers = kopf.OperatorRegistry()
    for resource in (names.KIND_CLUSTERS, names.KIND_CONTROL_PLANES):
        _watch(handlers, resource, resource.group, resource.version, resource.plural)
    # No version: the server's preferred one, so that old and new cores are served alike (K32, C12).
    _watch(handlers, names.CLUSTERS, names.CORE_GROUP, "clusters")
    # Server-side label selector, see kopf_settings: only our own Secrets are watched.
    _watch(handlers, names.SECRETS, "v1", "secrets")
    kopf.on.login(registry=handlers)(_log_in)
    return handlers


def _watch(handlers: kopf.OperatorRegistry, resource: Resource, *selector: str) -> None:
    async def on_event(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(resource, event["type"], event["object"])

    kopf.on.event(*selector, id=f"on-{resource.plural}", registry=handlers)(on_event)


async def _log_in(memo: Application, **_: Any) -> kopf.AiohttpSession:
    return await memo.kopf_connection()


class _NothingRemembered(kopf.DiffBaseStorage):
    """Spares a deep copy of every object of every event: only handlers that react to changes need the last state."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings (kopf-facts, section 13)."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NothingRemembered()
    chosen.peering.standalone = True
    chosen.networking.request_timeout = 30
    # About five minutes in all, so that a rollout of the API server does not end the process (K29).
    chosen.networking.error_backoffs = [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60, 60]
    chosen.process.ultimate_exiting_timeout = 25
    chosen.watching.label_selectors["v1", "secrets"] = names.CLUSTER_LABEL
    if settings.watch_filter:
        selector = f"{names.WATCH_FILTER_LABEL}={settings.watch_filter}"
        chosen.watching.label_selectors[names.INFRASTRUCTURE_GROUP, "kindclusters"] = selector
        chosen.watching.label_selectors[names.CONTROL_PLANE_GROUP, "kindcontrolplanes"] = selector
    return chosen
