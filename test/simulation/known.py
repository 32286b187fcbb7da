"""What the provider is known not to bear yet: left out of lives by seed until it is mended.

Each entry says why. `python -m test.simulation --everything` leaves nothing out.
"""

from typing import Final

NOT_YET: Final[frozenset[str]] = frozenset(
    {
        # A Secret that is someone else's: the condition and an event alternate with "Reading the kubeconfig." for ever.
        "foreign-secret",
        "retype-secret",
        # Two writers of Secrets wake each other where a webhook edits what they write.
        "webhook",
        # Without a list of containers an API server is asked for a minute only, so Ready is what it was then.
        "world:lists",
        # Annotations that a user has edited decide over marks: complete kind clusters are removed, or not found.
        "forge-name",
        "empty-identity",
        "forge-identity",
    }
)
"""Kinds of steps of `generate.KINDS`, and `world:` with an option of the world."""
SILENT: Final[frozenset[str]] = frozenset()
"""Checks of `invariants.CHECKS`."""
UNMENDED: Final[frozenset[str]] = frozenset(
    {
        "a webhook that edits Secrets starts no loop, beside a control plane",
        "an API server is asked for as long as its cluster lives, without a list of containers",
        "a foreign Secret is reported for as long as it is there",
        "an emptied identity costs no complete cluster",
        "a claim of another name hides no cluster that bears the mark",
        "a claim of another name keeps no deletion from its cluster",
        "a load balancer that comes to light late is removed, without a list of containers",
    }
)
"""Scripts of `scripts_known` that fail."""
