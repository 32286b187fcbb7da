"""From settings to a running process: log in, lead if asked to, let kopf watch, stop."""

import logging

import kopf

from capk.kube.client import KubeClient
from capk.manager.application import Application
from capk.manager.handlers import kopf_settings, registry
from capk.runtime import logs
from capk.settings import Settings

log = logging.getLogger(__name__)


async def run_provider(settings: Settings) -> None:
    """Run the provider until SIGTERM or SIGINT.

    Raises CapkError when it cannot start; anything else that ends it is for the supervisor to restart (K29).
    """
    logs.configure(format=settings.log_format.value, level=settings.log_level)
    client = await KubeClient.connect(kubeconfig=settings.kubeconfig, context=settings.context)
    try:
        app = Application(settings, client)
        async with app.running():
            await _watch(app)
    finally:
        await client.close()


async def _watch(app: Application) -> None:
    namespace = app.settings.namespace
    scope = {"namespaces": [namespace]} if namespace else {"clusterwide": True}
    await kopf.operator(
        registry=registry(),
        settings=kopf_settings(app.settings),
        memo=app,
        standalone=True,
        **scope,
    )
