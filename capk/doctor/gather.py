"""Collects the facts: asks kind, the engine, the kernel and the API server, each for a few seconds at most."""

import asyncio
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from capk.api import names
from capk.api.definitions import DEFINITIONS, PROVIDER, PROVIDER_LABEL, fingerprint
from capk.api.engineclasses import KINDEngineClass
from capk.api.names import Resource
from capk.api.rights import Access, needed, needed_for_engines, needed_to_lead
from capk.diagnosis.failures import diagnose
from capk.diagnosis.output import clean
from capk.doctor.place import EngineFacts, Facts, ImageFacts, KindFacts, MachineFacts, ManagementFacts, WorkDirFacts
from capk.engine.containers import Containers
from capk.engine.enginecli import chosen_engine
from capk.engine.info import EngineInfo
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir, flaw
from capk.errors import ApiError, CommandError, Forbidden, NotFound
from capk.kindconfig.images import default_image, kind_release
from capk.kube.client import KubeClient
from capk.kube.credentials import Credentials
from capk.redaction import redact
from capk.settings import Settings

COMMAND_SECONDS: Final = 8.0
"""Maximum time of a command; a slow but working engine answers in less."""
REGISTRY_SECONDS: Final = 8.0
REQUEST_SECONDS: Final = 5.0
MANAGEMENT_SECONDS: Final = 12.0
"""Maximum time of all requests to the API server together."""
_INOTIFY: Final = Path("/proc/sys/fs/inotify")
_MEMORY: Final = Path("/proc/meminfo")
_PROVIDERS: Final = Resource("clusterctl.cluster.x-k8s.io", "v1alpha3", "providers", "Provider")
"""clusterctl's record of the providers that it installed."""


async def gather(settings: Settings, *, machine_only: bool) -> Facts:
    """Return all facts that can be collected within seconds. It changes, creates and pulls nothing."""
    asking = asyncio.create_task(_management(settings)) if not machine_only else None
    kind = await _kind(settings)
    engine = await _engine(settings, kind)
    return Facts(
        kind=kind,
        engine=engine,
        image=await _image(settings, kind, engine),
        machine=_machine(engine.info),
        work_dir=_work_dir(settings),
        management=await asking if asking else None,
        shared_engine=settings.shared_engine,
    )


async def _kind(settings: Settings) -> KindFacts:
    kind = Kind(settings.kind_command, work_dir=WorkDir(settings.work_dir), query_timeout_seconds=COMMAND_SECONDS)
    try:
        return KindFacts(settings.kind_command, build=await kind.build())
    except CommandError as error:
        return KindFacts(settings.kind_command, failure=diagnose(error))


async def _engine(settings: Settings, kind: KindFacts) -> EngineFacts:
    command = chosen_engine(settings.engine_command, os.environ)
    if not command or kind.is_fake or not settings.shared_engine:
        return EngineFacts(command)
    try:
        return EngineFacts(command, info=await _containers(command, COMMAND_SECONDS).info())
    except CommandError as error:
        return EngineFacts(command, failure=diagnose(error))


async def _image(settings: Settings, kind: KindFacts, engine: EngineFacts) -> ImageFacts:
    image = settings.node_image or _default_of(kind)
    if engine.info is None or not image:
        return ImageFacts(image)
    try:
        if await _containers(engine.command or (), COMMAND_SECONDS).has_image(image):
            return ImageFacts(image, present=True)
        pullable = await _containers(engine.command or (), REGISTRY_SECONDS).can_pull(image)
    except CommandError:
        return ImageFacts(image)
    return ImageFacts(image, present=False, pullable=pullable)


def _default_of(kind: KindFacts) -> str:
    """Return kind's default node image, which is known only for the catalogue's release."""
    return default_image() if kind.build and kind.build.version == kind_release() else ""


def _containers(command: Sequence[str], seconds: float) -> Containers:
    return Containers(command, query_timeout_seconds=seconds)


def _machine(info: EngineInfo | None) -> MachineFacts:
    return MachineFacts(
        host=socket.gethostname(),
        inotify_instances=_number(_INOTIFY / "max_user_instances"),
        inotify_watches=_number(_INOTIFY / "max_user_watches"),
        free_memory_bytes=free_memory(_text(_MEMORY)),
        free_disk_bytes=_free_disk(info.data_root) if info else None,
    )


def free_memory(text: str) -> int | None:
    """Return the bytes of memory that the kernel could give to new programs. text: of /proc/meminfo."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemAvailable" and len(words) == 2 and words[0].isdecimal() and words[1] == "kB":
            return int(words[0]) * 1024
    return None


def _free_disk(path: str) -> int | None:
    """Return the free bytes of the disk that holds a path, which apply only to an engine on this machine."""
    try:
        return shutil.disk_usage(path).free if path.startswith("/") else None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _work_dir(settings: Settings) -> WorkDirFacts:
    path = settings.work_dir.absolute()
    try:
        return WorkDirFacts(path, True, settings.names_work_dir, flaw(path) or _not_writable(path))
    except FileNotFoundError:
        parent = next(parent for parent in path.parents if parent.exists())
        return WorkDirFacts(path, False, settings.names_work_dir, _not_writable(parent))
    except OSError as error:
        return WorkDirFacts(path, True, settings.names_work_dir, error.strerror or str(error))


def _not_writable(path: Path) -> str:
    return "" if os.access(path, os.W_OK | os.X_OK) else f"this user may not write to {path}"


async def _management(settings: Settings) -> ManagementFacts:
    credentials = Credentials(settings.kubeconfig, settings.context)
    try:
        async with asyncio.timeout(MANAGEMENT_SECONDS):
            client = await KubeClient.connect(
                kubeconfig=settings.kubeconfig, context=settings.context, request_timeout_seconds=REQUEST_SECONDS
            )
            try:
                return await _asked(client, settings, str(credentials))
            finally:
                await client.close()
    except TimeoutError:
        failure = f"the API server did not answer all questions within {MANAGEMENT_SECONDS:.0f} s"
    except ApiError as error:
        failure = clean(redact(error.message))
    return ManagementFacts(str(credentials), failure=f"{failure[:1].upper()}{failure[1:].rstrip('.')}.")


async def _asked(client: KubeClient, settings: Settings, login: str) -> ManagementFacts:
    namespace = settings.namespace or ""
    served = {
        group: await client.serves(group)
        for group in (names.INFRASTRUCTURE_GROUP, names.CONTROL_PLANE_GROUP, names.CORE_GROUP)
    }
    # A provider that manages one namespace reads no classes.
    classes = () if namespace else await _pod_classes(client)
    return ManagementFacts(
        login,
        server=client.server,
        namespace=namespace,
        leader_elect=settings.leader_elect,
        definitions=await _definitions(client),
        groups=frozenset(group for group, version in served.items() if version),
        missing=await _missing(client, needed(namespace)),
        missing_to_lead=await _missing(client, needed_to_lead(settings.lease_namespace)),
        core_version=served[names.CORE_GROUP],
        core_release=await _core_release(client) if served[names.CORE_GROUP] else "",
        pod_classes=classes,
        engine_namespace=settings.engine_namespace,
        missing_for_engines=await _missing(client, needed_for_engines(settings.engine_namespace)) if classes else (),
    )


async def _pod_classes(client: KubeClient) -> tuple[str, ...]:
    """Return the KINDEngineClasses whose engines are Pods; none for an account that may not read them."""
    try:
        found = [KINDEngineClass(one) for one in (await client.list(names.KIND_ENGINE_CLASSES)).items]
    except (Forbidden, NotFound):
        return ()
    return tuple(sorted(one.name for one in found if one.pods is not None))


async def _definitions(client: KubeClient) -> dict[str, str] | None:
    """Return the fingerprints of our CRDs by name; None for an account that may not read them."""
    try:
        found = await client.list(DEFINITIONS, label_selector=f"{PROVIDER_LABEL}={PROVIDER}")
    except Forbidden:
        return None
    return {str(one["metadata"]["name"]): fingerprint(one) for one in found.items}


async def _missing(client: KubeClient, accesses: Sequence[Access]) -> tuple[Access, ...]:
    granted = await asyncio.gather(*(client.may(access) for access in accesses))
    return tuple(access for access, is_granted in zip(accesses, granted, strict=True) if not is_granted)


async def _core_release(client: KubeClient) -> str:
    """Return the release of Cluster API that clusterctl installed; empty without one, or without permission."""
    # The provider's own account has no permission. An attempt would appear in the management cluster's audit log.
    if not await client.may(Access("list", _PROVIDERS.group, _PROVIDERS.plural)):
        return ""
    try:
        found = await client.list(_PROVIDERS)
    except ApiError:
        return ""
    core = (one for one in found.items if one.get("type") == "CoreProvider")
    return clean(redact(str(next(core, {}).get("version") or "")))[:40]
