"""The schema of kind's patches: kubeadm configuration of a cluster or a node, containerd configuration of a cluster."""

from hack.crds.schema import Schema, listing, record, rule, text

_KUBEADM_KINDS = """\
`ClusterConfiguration`, `InitConfiguration`, `JoinConfiguration`, `KubeletConfiguration` or `KubeProxyConfiguration`"""


def kubeadm_patches(scope: str) -> dict[str, Schema]:
    """Return the schemas of both kubeadm patch lists, for all nodes or one."""
    return {
        "kubeadmConfigPatches": listing(
            f"""Merge patches (RFC 7386), each a YAML text, for the kubeadm configuration that kind generates for
            {scope}. `kind` in a patch selects the document, {_KUBEADM_KINDS}; kind ignores a patch without it. Without
            `apiVersion`, a patch fits every Kubernetes version. Patches of the cluster are applied before
            those of a node. Example: `"kind: ClusterConfiguration\\napiServer:\\n certSANs: [dev.example]\\n"`.""",
            text("A merge patch as YAML text.", max_length=65536),
            max_items=64,
        ),
        "kubeadmConfigPatchesJSON6902": listing(
            f"""JSON patches (RFC 6902) for the kubeadm configuration that kind generates for {scope}; applied after
            the merge patches of the same place.""",
            record(
                "A JSON patch and the document that it is for.",
                {
                    "group": text(
                        "API group of the document, such as `kubeadm.k8s.io`. Omit it together with `version`.",
                        max_length=253,
                    ),
                    "version": text(
                        """API version of the document, such as `v1beta3`. Without group and version, only the kind
                        selects it.""",
                        max_length=63,
                    ),
                    "kind": text(f"Kind of the document: {_KUBEADM_KINDS}.", max_length=63),
                    "patch": text(
                        """The operations as a YAML or JSON list in one text, such as
                        `[{"op": "add", "path": "/apiServer/certSANs/-", "value": "dev.example"}]`.""",
                        max_length=65536,
                    ),
                },
                required=["kind", "patch"],
            ),
            max_items=64,
        ),
    }


def containerd_patches() -> dict[str, Schema]:
    """Return the schemas of both containerd patch lists."""
    return {
        "containerdConfigPatches": listing(
            """Merge patches, each a TOML text, for the containerd configuration of all nodes, such as
            `"[debug]\\n level = 'debug'\\n"`. For registry mirrors use `registries.mirrors`. A patch that sets
            `version` is applied only if containerd's configuration has that version.""",
            text("A merge patch as TOML text.", max_length=65536),
            max_items=64,
        ),
        "containerdConfigPatchesJSON6902": listing(
            """JSON patches (RFC 6902), each a JSON text, for the containerd configuration of all nodes; applied
            after the merge patches.""",
            text(
                """A JSON list of operations, such as `[{"op": "replace", "path":
                "/plugins/io.containerd.grpc.v1.cri/sandbox_image", "value": "pause:3.10"}]`.""",
                max_length=65536,
                rules=[
                    rule(
                        "self.trim().startsWith('[')",
                        """must be a JSON list of operations, such as [{"op": "add", "path": "/a", "value": "b"}];
                        YAML is not accepted here""",
                    )
                ],
            ),
            max_items=64,
        ),
    }
