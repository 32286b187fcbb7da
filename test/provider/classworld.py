"""A World with a second engine, which a KINDEngineClass describes."""

from pathlib import Path
from typing import Any, cast

from capk.api import names
from capk.api.names import KIND_ENGINE_CLASSES, NAMESPACES, SECRETS
from capk.engine.place import Place
from capk.manager.engineclasses import place_key
from capk.manager.engines import Commands
from test.provider.world import Engine, FakeContainers, FakeKind, World, kubeconfig
from test.unit.engine.test_remotekeys import tls_data

ON_LAB = {"engine": {"className": "lab"}}
ADDRESS = "10.0.0.7"


class ClassWorld(World):
    """`engine`, `kind` and `containers` are the provider's own; `lab` is the engine of the class of that name."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.lab = Engine()
        self.lab.id = "engine-lab"
        self.lab_kind = FakeKind(self.lab)
        self.lab_kind.text = kubeconfig(f"https://{ADDRESS}:20001", ca="lab")
        self.lab_containers = FakeContainers(self.lab, ("docker",))
        self.lab_places: list[Place] = []
        """The places for which commands were made, oldest first."""
        self.configs: list[Any] = []
        """What kind was given for the engine of the class."""
        create = self.lab_kind.create_cluster

        async def noted(name: str, config: Any, **options: Any) -> str:
            self.configs.append(config)
            return await create(name, config, **options)

        self.lab_kind.create_cluster = noted  # type: ignore[method-assign]
        self.add_namespace("default", kind="allowed")

    def add_namespace(self, name: str, **labels: str) -> None:
        self.kube.put(NAMESPACES, {"metadata": {"name": name, "labels": labels}})

    def add_secret(self, name: str = "lab", data: Any = None) -> None:
        """Create the Secret with the keys to an engine in the provider's namespace."""
        metadata = {"name": name, "namespace": self.settings.lease_namespace}
        self.kube.put(SECRETS, {"metadata": metadata, "data": data or tls_data()})

    def add_class(
        self, name: str = "lab", *, default: bool = False, docker: Any = None, selector: Any = None, **spec: Any
    ) -> None:
        host = {"host": f"tcp://{ADDRESS}:2376", "secretRef": {"name": name}, **(docker or {})}
        allowed = {"matchLabels": {"kind": "allowed"}} if selector is None else selector
        annotations = {names.DEFAULT_CLASS_ANNOTATION: "true"} if default else {}
        metadata = {"name": name, "annotations": annotations}
        self.kube.put(
            KIND_ENGINE_CLASSES, {"metadata": metadata, "spec": {"docker": host, "namespaceSelector": allowed, **spec}}
        )

    def offer(self, name: str = "lab", **spec: Any) -> None:
        """Create a class with its Secret."""
        self.add_secret(name)
        self.add_class(name, **spec)

    def edit_class(self, patch: Any, name: str = "lab") -> None:
        self.kube.edit(KIND_ENGINE_CLASSES, name, patch, cast(Any, None))

    def remove_class(self, name: str = "lab") -> None:
        del self.kube.objects[KIND_ENGINE_CLASSES.plural, None, name]

    def class_status(self, name: str = "lab") -> dict[str, Any]:
        found = self.kube.objects[KIND_ENGINE_CLASSES.plural, None, name].get("status") or {}
        return cast(dict[str, Any], found)

    def class_ready(self, name: str = "lab") -> tuple[str, str, str]:
        """Return status, reason and message of the class."""
        (ready,) = self.class_status(name).get("conditions") or [{"status": "", "reason": "", "message": ""}]
        return ready["status"], ready["reason"], ready["message"]

    def _commands(self, place: Place) -> Commands:
        if place.key != place_key("lab"):
            return super()._commands(place)
        self.lab_places.append(place)
        return Commands(cast(Any, self.lab_kind), cast(Any, self.lab_containers))
