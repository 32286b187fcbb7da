"""The kopf handlers: kopf lists and watches, and passes every event to the application (docs/kopf.md, "The pattern").

Register only `on.event` handlers: for any other kind, kopf adds annotations or finalizers to the objects (K13, K18,
K33).
"""

from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from capk.api import names
from capk.api.names import CLUSTERS, SECRETS, Resource
from capk.manager.application import Application
from capk.settings import Settings


async def log_in(memo: Application, **_: Any) -> kopf.AiohttpSession:
    """Give kopf the connection that the provider's own client uses."""
    return await memo.kopf_connection()


def handlers(*, cluster_wide: bool) -> kopf.OperatorRegistry:
    """Return the handlers of a process; cluster_wide: whether it also watches what belongs to no namespace."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(log_in)
    for resource in (*names.RECONCILED, *(names.CLUSTER_WIDE if cluster_wide else ())):
        kopf.on.event(*_selector(resource), id=resource.plural, registry=registry)(_pass_on(resource))
    # Without a version kopf uses the one that the server prefers, which supports old and new cores (K32, C12).
    kopf.on.event(CLUSTERS.group, CLUSTERS.plural, id=CLUSTERS.plural, registry=registry)(_pass_on(CLUSTERS))
    # The watch has a label selector, see `kopf_settings`: only our own Secrets arrive here.
    kopf.on.event(*_selector(SECRETS), id=SECRETS.plural, registry=registry)(_pass_on(SECRETS))
    return registry


def _selector(resource: Resource) -> tuple[str, ...]:
    return tuple(part for part in (resource.group, resource.version, resource.plural) if part)


def _pass_on(resource: Resource) -> Callable[..., Coroutine[Any, Any, None]]:
    async def pass_on(event: Any, memo: Application, **_: Any) -> None:
        memo.cache.on_event(resource, event["type"], event["object"])

    return pass_on


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
    chosen.peering.standalone = True
    chosen.networking.request_timeout = 30
    # About five minutes in total, so that a rollout of the API server does not end the process (K29).
    chosen.networking.error_backoffs = [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60, 60]
    chosen.process.ultimate_exiting_timeout = 25
    chosen.watching.label_selectors["v1", "secrets"] = names.SECRET_CLUSTER_LABEL
    if settings.watch_filter:
        selector = f"{names.WATCH_FILTER_LABEL}={settings.watch_filter}"
        for resource in names.FILTERED:
            chosen.watching.label_selectors[resource.group, resource.plural] = selector
    return chosen
