"""What the provider is known not to bear yet: left out of lives by seed until it is mended.

Each entry says why. `python -m test.simulation --everything` leaves nothing out.
"""

from typing import Final

NOT_YET: Final[frozenset[str]] = frozenset(
    {
        # A Secret that is someone else's: the condition and an event alternate with "Reading the kubeconfig." for ever.
        "foreign-secret",
        "retype-secret",
        # Without a list of containers an API server is asked for a minute only, so Ready is what it was then.
        "world:lists",
        # Annotations that a user has edited decide over marks: complete kind clusters are removed, or not found.
        "forge-name",
        "empty-identity",
        "forge-identity",
        # Containers that were restarted while no provider looked are taken as they are: an etcd may be empty since.
        "plane-empty",
        # A provider that starts while the engine hangs is restarted by its liveness probe.
        "engine-hangs",
        # What is listed after a switch back is taken for the other engine's, whose id was asked before.
        "another-engine",
        # What kind has completed while the object is paused is not stored, so another process takes it for half made.
        "pause",
        "pause-cluster",
        # Several control planes do not get their addresses again where lower ones are free.
        "restart-engine",
        "stop-nodes",
        "exits",
    }
)
"""Kinds of steps of `generate.KINDS`, and `world:` with an option of the world."""
SILENT: Final[frozenset[str]] = frozenset()
"""Checks of `invariants.CHECKS`."""
UNMENDED: Final[frozenset[str]] = frozenset(
    {
        "an API server is asked for as long as its cluster lives, without a list of containers",
        "a foreign Secret is reported for as long as it is there",
        "an emptied identity costs no complete cluster",
        "a claim of another name hides no cluster that bears the mark",
        "a claim of another name keeps no deletion from its cluster",
        "a pause in the middle of a creation and a restart cost no complete cluster",
        "what was created belongs to the engine that has it",
        "an etcd that came back empty while no provider ran is noticed",
        "a provider that starts while the engine hangs is let be",
        "several control planes survive a reboot after an older cluster was deleted",
        "a load balancer that comes to light late is removed, without a list of containers",
    }
)
"""Scripts of `scripts_known` that fail."""
