"""The schema of a Kubernetes version, which KINDCluster and KINDControlPlane share."""

from hack.crds.schema import Schema, rule, text


def version(doc: str) -> Schema:
    """Return the schema of a full or minor Kubernetes version that the current kind can run."""
    return text(
        doc,
        max_length=32,
        rules=[
            rule(
                r"self.matches(r'^v?1\.(?:19|[2-9][0-9]|[1-9][0-9]{2})(?:\.(?:0|[1-9][0-9]{0,3}))?$')",
                """must be a version from 1.19 on, full as in v1.34.3 or minor as in 1.34; for any other build set
                spec.image of the KINDCluster""",
            )
        ],
    )
