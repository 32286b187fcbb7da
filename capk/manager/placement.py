"""Which engine the kind cluster of an object is on."""

from capk.api.objects import KINDCluster
from capk.engine.place import Place


class Placement:
    """The places of kind clusters; shared: the place of the provider's own engine, where all of them are today."""

    def __init__(self, shared: Place) -> None:
        self.shared = shared

    def of(self, cluster: KINDCluster) -> Place:
        """Return where the kind cluster of a KINDCluster is; its KINDMachines are there too.

        The key of the place depends on the KINDCluster alone, so that it changes only with an event of the KINDCluster.
        """
        return self.shared
