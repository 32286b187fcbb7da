"""The schema of `registries`, from which the nodes pull images. It is ours; kind's configuration has no such field."""

from hack.crds.kindnodes import REGISTRY_HOST
from hack.crds.schema import Schema, flag, listing, record, rule, text

_PORT = "(?::[0-9]{1,5})?"
_HOST = rf"^(?:\*|{REGISTRY_HOST}{_PORT})$"
# Without user, password, query and fragment: a credential must not be stored in an object that everyone may read.
_ENDPOINT = rf"^https?://{REGISTRY_HOST}{_PORT}(?:/[A-Za-z0-9._~/-]*)?$"
_CONFIG_MAP = r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$"


def registries() -> Schema:
    """Return the schema of `registries`."""
    return record(
        """Registries that the nodes pull images from. The provider configures every node before Kubernetes starts
        there. Cannot change once the cluster is created.""",
        {"mirrors": _mirrors()},
    )


def _mirrors() -> Schema:
    mirror = record(
        "Mirrors of one registry, or of all other registries.",
        {
            "host": text(
                """Registry whose images are pulled from the endpoints, as in image names: `docker.io`,
                `registry.example:5000`, or `*` for every registry without its own mirror.""",
                max_length=253,
                rules=[
                    rule(
                        f"self.matches(r'{_HOST}')",
                        """must be a registry as in image names, such as docker.io or localhost:5001, or * for all
                        others; without https:// and path""",
                    )
                ],
            ),
            "endpoints": _endpoints(),
            "only": flag(
                """Whether the images come only from the endpoints. By default the nodes try the registry itself if no
                endpoint has the image."""
            ),
            "caConfigMapRef": record(
                """ConfigMap in the same namespace. Its key `ca.crt` contains the certificates, in PEM, that verify the
                https endpoints. The nodes also trust the usual authorities.""",
                {
                    "name": text(
                        "Name of the ConfigMap.",
                        max_length=253,
                        rules=[
                            rule(
                                f"self.matches(r'{_CONFIG_MAP}')",
                                "must be the name of a ConfigMap: lower-case letters, digits, '-' and '.'",
                            )
                        ],
                    )
                },
                required=["name"],
            ),
        },
        required=["host", "endpoints"],
        rules=[
            rule(
                "!has(self.caConfigMapRef) || self.endpoints.exists(e, e.startsWith('https://'))",
                """cannot be used without an https endpoint, because it would verify nothing. Write https:// in
                endpoints, or omit caConfigMapRef""",
                at=".caConfigMapRef",
            )
        ],
    )
    return listing(
        """Mirrors of registries, one per host. Example: `[{host: docker.io, endpoints: ["http://mirror:5000"]}]`.
        Use it instead of registry mirrors in `containerdConfigPatches`, because some node images do not start
        with those.""",
        mirror,
        max_items=16,
        keys=["host"],
    )


def _endpoints() -> Schema:
    return listing(
        """Addresses of registries to ask, in this order, such as `http://kind-registry:5000`. The nodes must be able
        to resolve the name: a container on kind's network, or a host of your network. A path below `/v2/`, as in
        `https://harbor.example/v2/cache`, is used unchanged.""",
        text(
            "Address of a registry, such as `https://mirror.example`.",
            max_length=512,
            rules=[
                rule(
                    f"self.matches(r'{_ENDPOINT}')",
                    """must be a URL such as http://kind-registry:5000 or https://mirror.example/cache, without user,
                    password, ? and #""",
                )
            ],
        ),
        min_items=1,
        max_items=8,
        rules=[
            rule(
                "self.all(e, self.exists_one(other, other == e))",
                "must not have an endpoint twice, because the nodes ask each of them once",
            )
        ],
    )
