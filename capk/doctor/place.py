"""The facts about the place where the provider runs. None and empty texts mean unknown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capk.api.rights import Access
from capk.diagnosis.failures import Failure
from capk.engine.info import EngineInfo
from capk.engine.kind import Build


@dataclass(frozen=True)
class KindFacts:
    """The kind command. build: the kind that answers; failure: why it does not answer."""

    command: tuple[str, ...]
    build: Build | None = None
    failure: Failure | None = None

    @property
    def is_fake(self) -> bool:
        """Whether a fake kind answers, which starts no containers."""
        return self.build is not None and self.build.is_fake


@dataclass(frozen=True)
class EngineFacts:
    """The container engine.

    command: None if none is on the PATH, empty if the provider is configured to use none.
    info: of the engine that answers; failure: why it does not answer.
    """

    command: tuple[str, ...] | None
    info: EngineInfo | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class ImageFacts:
    """The node image for objects that request none.

    image: empty if only kind knows. present: whether the engine has it. pullable: whether its registry has it.
    """

    image: str = ""
    present: bool | None = None
    pullable: bool | None = None


@dataclass(frozen=True)
class MachineFacts:
    """The machine that this process runs on.

    host: its name, which identifies an engine on the same machine.
    free_disk_bytes: on the disk of the engine's data root.
    """

    host: str
    inotify_instances: int | None = None
    inotify_watches: int | None = None
    free_memory_bytes: int | None = None
    free_disk_bytes: int | None = None


@dataclass(frozen=True)
class WorkDirFacts:
    """The work directory.

    flaw: why it cannot hold private files. exists: if not, the provider creates it.
    explicit: whether a person chose it. The provider replaces a default one that is not private.
    """

    path: Path
    exists: bool
    explicit: bool
    flaw: str = ""


@dataclass(frozen=True)
class ManagementFacts:
    """The management cluster.

    login: source of the credentials. failure: why the API server does not answer.
    definitions: fingerprints of the provider's CRDs that are installed, by name; None if they may not be read.
    groups: those of the provider's API groups that are served.
    missing: rights that the account lacks. missing_to_lead: the same for leader election.
    core_version: of Cluster API's objects; None if it is not installed. core_release: of Cluster API itself.
    pod_classes: names of the KINDEngineClasses whose engines are Pods. engine_namespace: of these Pods.
    missing_for_engines: rights that the account lacks there.
    """

    login: str
    server: str = ""
    failure: str = ""
    namespace: str = ""
    leader_elect: bool = False
    definitions: Mapping[str, str] | None = None
    groups: frozenset[str] = frozenset()
    missing: tuple[Access, ...] = ()
    missing_to_lead: tuple[Access, ...] = ()
    core_version: str | None = None
    core_release: str = ""
    pod_classes: tuple[str, ...] = ()
    engine_namespace: str = ""
    missing_for_engines: tuple[Access, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All facts. management: None if only the machine is checked. shared_engine: whether the provider has one."""

    kind: KindFacts
    engine: EngineFacts
    machine: MachineFacts
    work_dir: WorkDirFacts
    image: ImageFacts = field(default_factory=ImageFacts)
    management: ManagementFacts | None = None
    shared_engine: bool = True

    @property
    def engine_is_here(self) -> bool:
        """Whether the engine runs on this machine, so that measurements here apply to it."""
        return self.engine.info is not None and self.engine.info.host == self.machine.host
