"""The schema of kind's network settings."""

from hack.crds.kindaddress import address
from hack.crds.schema import Schema, choice, flag, integer, listing, record, rule, text


def _subnet(doc: str) -> Schema:
    return text(
        doc,
        max_length=100,
        rules=[
            rule(
                "self.split(',').all(c, isCIDR(c))",
                """must be a CIDR such as 10.244.0.0/16 or fd00:10:244::/56, or for ipFamily dual one of each family
                with a comma and no blank between them""",
            )
        ],
    )


def _family_rule(field: str) -> Schema:
    subnets = f"self.{field}.split(',')"
    return rule(
        f"""
        !has(self.{field}) || !{subnets}.all(s, isCIDR(s)) || (
          has(self.ipFamily) && self.ipFamily == 'dual'
          ? {subnets}.size() == 1 || {subnets}.size() == 2 && {subnets}.exists_one(s, cidr(s).ip().family() == 4)
          : {subnets}.size() == 1 && {subnets}.all(s,
              cidr(s).ip().family() == (has(self.ipFamily) && self.ipFamily == 'ipv6' ? 6 : 4))
        )
        """,
        """must fit ipFamily: one IPv4 CIDR for ipv4 (as without ipFamily), one IPv6 CIDR for ipv6, one of either or
        one of each for dual; change the subnet or set networking.ipFamily""",
        at=f".{field}",
    )


def networking() -> Schema:
    """Return the schema of `networking`."""
    return record(
        """Network settings of the kind cluster. Pod and service subnets default to those of the owner Cluster's
        `clusterNetwork`.""",
        {
            "ipFamily": choice(
                "IP family of the cluster: `ipv4` (the default), `ipv6` or `dual`.", "ipv4", "ipv6", "dual"
            ),
            "apiServerPort": integer(
                """Port on the machine that runs the container engine where the API server can be reached. By
                default, or with 0, kind picks a free port and keeps it. With -1 the engine picks another port each time
                the node starts; only a `standalone` object may use that.""",
                minimum=-1,
                maximum=65535,
            ),
            "apiServerAddress": address(
                """IP address of that machine where the API server can be reached. Default: `127.0.0.1`, or `::1`
                for `ipFamily: ipv6`, so that only that machine itself can reach it. The API server's certificate is
                valid for this address. `0.0.0.0` and `::` listen on all addresses. A Cluster with an endpoint outside
                of kind's network needs an address that clients can connect to."""
            ),
            "podSubnet": _subnet("CIDR of the pods. Default: `10.244.0.0/16`, `fd00:10:244::/56`, or both for `dual`."),
            "serviceSubnet": _subnet(
                "CIDR of the Services. Default: `10.96.0.0/16`, `fd00:10:96::/112`, or both for `dual`."
            ),
            "disableDefaultCNI": flag(
                """Whether to omit kind's own network plugin (kindnet). The nodes stay NotReady until you
                install another one, such as Calico or Cilium."""
            ),
            "kubeProxyMode": choice(
                """Mode of kube-proxy: `iptables` (the default), `ipvs`, `nftables`, or `none` for no kube-proxy
                at all.""",
                "iptables",
                "ipvs",
                "nftables",
                "none",
            ),
            "dnsSearch": listing(
                "DNS search domains of the nodes. Default: those of the engine's machine. An empty list means none.",
                text("A domain, such as `corp.example`.", max_length=253),
                max_items=32,
            ),
        },
        rules=[_family_rule("podSubnet"), _family_rule("serviceSubnet")],
    )
