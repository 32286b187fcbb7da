"""Which engine the kind cluster of an object is on."""

from collections.abc import Callable

from capk.api.objects import Key, KINDCluster
from capk.diagnosis.failures import Failure
from capk.engine.place import Place
from capk.manager.engineclasses import EngineClasses, place_key
from capk.plan.claims import Claim
from capk.plan.engineclass import OWN_ENGINE

ClaimOf = Callable[[Key], Claim | None]
"""Returns the valid claim of a KINDCluster."""


class Placement:
    """The places of kind clusters.

    shared: the place of the provider's own engine. classes: the other places. claim: see `capk.manager.relations`.
    """

    def __init__(self, shared: Place, classes: EngineClasses, claim: ClaimOf) -> None:
        self.shared = shared
        self._classes = classes
        self._claim = claim

    def class_of(self, cluster: KINDCluster) -> str:
        """Return the KINDEngineClass of a KINDCluster; OWN_ENGINE for the provider's own engine."""
        return self._classes.class_of(cluster, self._claim(cluster.key))

    def key_of(self, cluster: KINDCluster) -> str:
        """Return the key of the place where the kind cluster of a KINDCluster is, whether or not it can be used.

        It changes with an event of the KINDCluster, and as long as nothing was created for it with one of a
        KINDEngineClass or of its Namespace.
        """
        name = self.class_of(cluster)
        return self.shared.key if name == OWN_ENGINE else place_key(name)

    def of(self, cluster: KINDCluster) -> Place | None:
        """Return where the kind cluster of a KINDCluster is; its KINDMachines are there too.

        None if the engine of its class cannot be used, or if its keys were not read yet.
        """
        name = self.class_of(cluster)
        return self.shared if name == OWN_ENGINE else self._classes.place(name)

    def failure(self, cluster: KINDCluster) -> Failure | None:
        """Return why there is no such place; None if there is one, or if that is not known yet."""
        name = self.class_of(cluster)
        return None if name == OWN_ENGINE else self._classes.failure(name)

    def allows(self, cluster: KINDCluster) -> bool:
        """Return whether the namespace of a KINDCluster may use the engine at its place, whatever exists there."""
        name = self.class_of(cluster)
        return name == OWN_ENGINE or self._classes.allows(cluster, name)

    def refusal(self, cluster: KINDCluster, others: Callable[[], int]) -> Failure | None:
        """Return why nothing new may be created for a KINDCluster at its place; None if it may.

        others: counts the KINDClusters of its namespace that come first there.
        """
        name = self.class_of(cluster)
        return None if name == OWN_ENGINE else self._classes.refusal(cluster, name, others)
