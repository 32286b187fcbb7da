"""The schema of kind's configuration, `kind.x-k8s.io/v1alpha4`, field for field.

The rules reject what kind rejects. Comments explain rules that are stricter.
Source: kind pkg/apis/config/v1alpha4/{types,default}.go, pkg/internal/apis/config/validate.go.
"""

from hack.crds.kindnetworking import networking
from hack.crds.kindnodes import nodes
from hack.crds.kindpatches import containerd_patches, kubeadm_patches
from hack.crds.schema import Schema, mapping, rule

# The API server limits the cost of a rule, and comparing all ports with each other costs the square of their number.
_MOST_PORTS = 256
_HAS_HOST_PORT = "has(p.hostPort) && p.hostPort > 0"
_TOO_MANY_PORTS = f"""self.nodes.map(n, has(n.extraPortMappings),
          n.extraPortMappings.filter(p, {_HAS_HOST_PORT}).size()).sum() > {_MOST_PORTS}"""


def fields() -> dict[str, Schema]:
    """Return the schemas of all fields of kind's configuration but its name."""
    return {
        "nodes": nodes(),
        "networking": networking(),
        "featureGates": mapping(
            'Kubernetes feature gates for all components, such as `{"InPlacePodVerticalScaling": true}`.',
            {"type": "boolean"},
            max_properties=256,
        ),
        "runtimeConfig": mapping(
            """API groups and versions that the API server serves or not, such as `{"api/alpha": "true"}`. Values
            must be quoted.""",
            {"type": "string", "maxLength": 253},
            max_properties=256,
        ),
        **kubeadm_patches("all nodes"),
        **containerd_patches(),
    }


def rules() -> list[Schema]:
    """Return the rules about the configuration as a whole."""
    return [_port_count_rule(), _published_ports_rule()]


def _port_count_rule() -> Schema:
    return rule(
        f"!has(self.nodes) || !({_TOO_MANY_PORTS})",
        f"""a cluster must not have more than {_MOST_PORTS} extraPortMappings with a hostPort; omit hostPort if any free
        port suffices""",
        at=".nodes",
    )


def _published_ports_rule() -> Schema:
    """Return the rule that published ports of a cluster do not conflict.

    kind checks each node alone, and the container engine rejects other conflicts in the middle of the creation. As in
    kind, 0.0.0.0 and :: are the same: all addresses, written as '' here.
    """

    def entry(port: str, protocol: str, owner: str, field: str, otherwise: str) -> str:
        known = f"has({owner}.{field}) && isIP({owner}.{field})"
        address = f"ip({owner}.{field}).isUnspecified() ? '' : string(ip({owner}.{field}))"
        return f"{{'port': string({port}), 'protocol': {protocol}, 'address': {known} ? ({address}) : {otherwise}}}"

    mapping = entry("p.hostPort", "(has(p.protocol) ? p.protocol.upperAscii() : 'TCP')", "p", "listenAddress", "''")
    localhost = "has(self.networking.ipFamily) && self.networking.ipFamily == 'ipv6' ? '::1' : '127.0.0.1'"
    api_server = entry(
        "self.networking.apiServerPort", "'TCP'", "self.networking", "apiServerAddress", f"({localhost})"
    )
    meet = (
        "p.port == q.port && p.protocol == q.protocol && (p.address == '' || q.address == '' || p.address == q.address)"
    )
    return rule(
        f"""
        !has(self.nodes) || {_TOO_MANY_PORTS} || [
          self.nodes.map(n, has(n.extraPortMappings), n.extraPortMappings.map(p, {_HAS_HOST_PORT},
            {mapping}))
          + [has(self.networking) && has(self.networking.apiServerPort) && self.networking.apiServerPort > 0
            ? [{api_server}] : []]
        ].all(owners, owners.all(own, own.all(p,
          own.exists_one(q, {meet})
          && owners.exists_one(other, other.exists(q, {meet})))))
        """,
        """two extraPortMappings, or one of them and networking.apiServerPort, take the same port of the engine's
        machine. A hostPort may come twice in a cluster only with different protocols, or with different
        listenAddresses of which none is unset, 0.0.0.0 or ::. Choose another hostPort, or leave it out for a free
        one""",
        at=".nodes",
    )
