"""KINDEngineClass: a container engine, where it is, and who may use it."""

from hack.crds.kindaddress import address
from hack.crds.kindenginepods import pods
from hack.crds.schema import Schema, choice, integer, listing, mapping, record, rule, text
from hack.crds.status import conditions, observed_generation

CLASS_NAME = r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$"
MOST_OF_A_NAME = 40
"""Directories with logs of failed creations have the class in their names."""
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_NAME}(?:\.{_NAME})*|\[[0-9A-Fa-f:.]+\])"
_PORT = r":[0-9]{1,5}"
_USER = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ENGINE = rf"^(?:tcp://{_HOST}{_PORT}|ssh://{_USER}@{_HOST}(?:{_PORT})?)$"
_ENDPOINT = rf"^{_NAME}(?:\.{_NAME})*$"
# The host of the URL, without user, port and brackets.
_BARE_HOST = r"self.host.replace('tcp://', '').replace('ssh://', '').split('@')"
_BARE_HOST = f"{_BARE_HOST}[{_BARE_HOST}.size() - 1]"
_LABEL_KEY = text("Key of a label.", max_length=317)


def spec() -> Schema:
    """Return the schema of `KINDEngineClass.spec`."""
    return record(
        "The container engine and its users.",
        {
            "namespaceSelector": _namespace_selector(),
            "limits": record(
                "Limits for each namespace.",
                {
                    "clustersPerNamespace": integer(
                        "How many kind clusters of one namespace the engine may have. Default: any number.", minimum=1
                    )
                },
            ),
            "docker": _docker(),
            "pods": pods(),
        },
        rules=[
            rule(
                "has(self.docker) != has(self.pods)",
                "must have exactly one of docker, for an engine on another machine, and pods, for engines in Pods",
            ),
            rule(
                "has(self.docker) == has(oldSelf.docker)",
                """cannot change between docker and pods, because kind clusters may exist on the engine. Create another
                class""",
            ),
        ],
    )


def root_rules() -> list[Schema]:
    """Return the CEL rules of the KINDEngineClass as a whole."""
    return [
        rule(
            f"self.metadata.name.size() <= {MOST_OF_A_NAME}",
            f"the name must have at most {MOST_OF_A_NAME} characters; choose a shorter one",
        )
    ]


def _namespace_selector() -> Schema:
    """Return the schema of a label selector, as Kubernetes defines it."""
    expression = record(
        "A condition on one label.",
        {
            "key": _LABEL_KEY,
            "operator": choice("How the label is compared.", "In", "NotIn", "Exists", "DoesNotExist"),
            "values": listing(
                "Values for `In` and `NotIn`; must be left out otherwise.",
                {"description": "A value.", "type": "string", "maxLength": 63},
                max_items=64,
            ),
        },
        required=["key", "operator"],
        rules=[
            rule(
                "self.operator in ['In', 'NotIn'] == (has(self.values) && self.values.size() > 0)",
                "must have values for In and NotIn, and cannot have any for Exists and DoesNotExist",
                at=".values",
            )
        ],
    )
    return record(
        """Namespaces whose KINDClusters may use the engine, by their labels. Without it no namespace may; `{}` selects
        every one. Everyone who may create a KINDCluster there is root on the engine's machine.""",
        {
            "matchLabels": mapping(
                "Labels that a namespace must have, with these values.",
                {"type": "string", "maxLength": 63},
                max_properties=64,
            ),
            "matchExpressions": listing("Further conditions, which all must hold.", expression, max_items=64),
        },
    )


def _docker() -> Schema:
    return record(
        "A Docker engine on another machine. The provider reaches it over TLS or SSH.",
        {
            "host": text(
                """Address of the engine, as in DOCKER_HOST: `tcp://HOST:PORT` for TLS, `ssh://USER@HOST` or
                `ssh://USER@HOST:PORT` for SSH.""",
                max_length=512,
                rules=[
                    rule(
                        f"self.matches(r'{_ENGINE}')",
                        """must be tcp://HOST:PORT, as in tcp://10.0.0.7:2376, or ssh://USER@HOST, as in
                        ssh://kind@10.0.0.7; put an IPv6 address in brackets""",
                    )
                ],
            ),
            "secretRef": record(
                """Secret in the provider's namespace with the keys to the engine. For TLS: `ca.crt`, `tls.crt` and
                `tls.key`. For SSH: `ssh-privatekey` and `known_hosts`.""",
                {
                    "name": text(
                        "Name of the Secret.",
                        max_length=253,
                        rules=[rule(f"self.matches(r'{CLASS_NAME}')", "must be the name of a Secret")],
                    )
                },
                required=["name"],
            ),
            "apiServerAddress": address(
                """IP address of the engine's machine where the API servers of its kind clusters listen. Default: the
                address in `host`. `0.0.0.0` and `::` listen on all addresses and need `endpointHost`."""
            ),
            "endpointHost": text(
                """Host name or IP address under which the provider and the users of the kind clusters reach the API
                servers. Their certificates are valid for it. Default: `apiServerAddress`.""",
                max_length=253,
                rules=[
                    rule(
                        f"isIP(self) || self.matches(r'{_ENDPOINT}')",
                        "must be a host name or an IP address, without https:// and port",
                    )
                ],
            ),
            "ports": record(
                """Ports of the engine's machine for API servers, and for `extraPortMappings` without a `hostPort`. A
                firewall in between has to let them through. Default: 20000 to 29999.""",
                {
                    "first": integer("First port.", minimum=1, maximum=65535),
                    "last": integer("Last port.", minimum=1, maximum=65535),
                },
                required=["first", "last"],
                rules=[rule("self.first <= self.last", "must not be smaller than first", at=".last")],
            ),
            "allowedHostPaths": listing(
                """Paths of the engine's machine that nodes may mount with `extraMounts`, and all below them. Default:
                none.""",
                text(
                    "Absolute path, such as `/srv/cache`.",
                    max_length=4096,
                    rules=[rule("self.startsWith('/')", "must be an absolute path, such as /srv/cache")],
                ),
                max_items=64,
            ),
        },
        required=["host", "secretRef"],
        rules=[
            rule(
                f"has(self.apiServerAddress) || isIP({_unbracketed()})",
                """must be set if host names the machine: the API servers need an IP address of the machine to listen
                on""",
                at=".apiServerAddress",
            ),
            rule(
                "!has(self.apiServerAddress) || !isIP(self.apiServerAddress) || "
                "!ip(self.apiServerAddress).isUnspecified() || has(self.endpointHost)",
                """must be set if apiServerAddress is 0.0.0.0 or ::, because clients cannot connect to these""",
                at=".endpointHost",
            ),
        ],
    )


def _unbracketed() -> str:
    """Return the CEL expression of the host in `host` without brackets and port."""
    host = f"({_BARE_HOST})"
    return f"({host}.startsWith('[') ? {host}.split(']')[0].substring(1) : {host}.split(':')[0])"


def status() -> Schema:
    """Return the schema of `KINDEngineClass.status`."""
    return record(
        "What the provider observed.",
        {
            "conditions": conditions("`Ready` reports whether the engine can be used."),
            "clusters": integer("KINDClusters that use the engine, or wait for it.", minimum=0),
            "observedGeneration": observed_generation(),
        },
    )
