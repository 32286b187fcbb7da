"""The kustomize bundles: requirements of clusterctl and Kubernetes, and no unnecessary right or mount."""

import copy
import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from capk import cli
from capk.api.rights import LEASE
from test.packaging.packaged import IMAGE, ROOT, Bundle

PROVIDER_LABEL = ("cluster.x-k8s.io/provider", "infrastructure-kind")
CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
CONTRACT_FLAGS = {
    "--namespace",
    "--watch-filter",
    "--leader-elect",
    "--sync-period",
    "--diagnostics-address",
    "--health-addr",
}

ENGINE_OBJECTS = {"pods", "services", "persistentvolumeclaims"}


def run_command() -> Any:
    """The command of /manager, as built by typer."""
    return typer.main.get_command(cli.app).commands["run"]  # type: ignore[attr-defined]


def rules(bundle: Bundle) -> list[tuple[str, str, str]]:
    """Every right of the provider as (group, resource, verb)."""
    roles = [
        one
        for kind in ("Role", "ClusterRole")
        for one in bundle.of_kind(kind)
        if "viewer" not in one["metadata"]["name"]
    ]
    return [
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def test_objects_satisfy_the_schemas_of_kubernetes(each_bundle: Bundle) -> None:
    for one in each_bundle.objects:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_schemas_refuse_a_wrong_field(default_bundle: Bundle) -> None:
    deployment = copy.deepcopy(default_bundle.deployment)
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.rule("C34")
def test_one_namespace_holds_every_namespaced_object(each_bundle: Bundle) -> None:
    (namespace,) = each_bundle.of_kind("Namespace")
    name = namespace["metadata"]["name"]
    assert name == "capkind-system"
    for one in each_bundle.objects:
        expected = None if one["kind"] in CLUSTER_SCOPED else name
        assert one["metadata"].get("namespace") == expected, one["metadata"]["name"]


@pytest.mark.rule("C34")
def test_every_object_carries_the_label_of_the_provider(each_bundle: Bundle) -> None:
    assert all(PROVIDER_LABEL in one["metadata"]["labels"].items() for one in each_bundle.objects)
    template = each_bundle.deployment["spec"]["template"]
    assert PROVIDER_LABEL in template["metadata"]["labels"].items()


@pytest.mark.rule("C34")
def test_cluster_wide_names_let_clusterctl_delete_them(each_bundle: Bundle) -> None:
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        assert each_bundle.of_kind(kind)
        assert all(one["metadata"]["name"].startswith("capkind-system-") for one in each_bundle.of_kind(kind))


@pytest.mark.rule("C35")
def test_manager_runs_the_command_that_tilt_insists_on(each_bundle: Bundle) -> None:
    assert each_bundle.manager["command"] == ["/manager"]
    assert each_bundle.manager["image"] == IMAGE
    assert each_bundle.manager["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.rule("C35")
def test_arguments_of_the_deployment_are_understood(each_bundle: Bundle) -> None:
    arguments = [one.replace("$(POD_NAMESPACE)", "capkind-system") for one in each_bundle.manager["args"]]
    assert "--leader-elect" in arguments
    parameters = run_command().make_context("manager", arguments).params
    assert parameters["leader_election_namespace"] == "capkind-system"


@pytest.mark.rule("C35")
def test_flags_of_the_contract_are_accepted() -> None:
    offered = {name for parameter in run_command().params for name in parameter.opts}
    assert offered >= CONTRACT_FLAGS


@pytest.mark.rule("C34")
def test_pod_learns_its_namespace_from_the_downward_api(each_bundle: Bundle) -> None:
    """clusterctl can install into another namespace and does not rewrite arguments."""
    arguments = each_bundle.manager["args"]
    assert not any("capkind-system" in one for one in arguments)
    (variable,) = (one for one in each_bundle.manager["env"] if one["name"] == "POD_NAMESPACE")
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


@pytest.mark.rule("C34")
@pytest.mark.parametrize(
    ("overlay", "required"), [("default", []), ("podman", []), ("pods", []), ("remote", ["CAPKIND_DOCKER_HOST"])]
)
def test_variables_have_defaults(bundle: Callable[[str], Bundle], overlay: str, required: list[str]) -> None:
    text = bundle(overlay).text
    assert sorted(set(re.findall(r"\$\{(\w+)\}", text))) == required
    assert all(name.startswith("CAPKIND_") for name in re.findall(r"\$\{\s*(\w+)", text))


@pytest.mark.rule("C2", "C36")
def test_metadata_and_labels_of_the_crds_name_the_same_contract(default_bundle: Bundle) -> None:
    metadata = yaml.safe_load((ROOT / "metadata.yaml").read_text())
    assert metadata["apiVersion"] == "clusterctl.cluster.x-k8s.io/v1alpha3"
    contracts = {one["contract"] for one in metadata["releaseSeries"]}
    assert contracts == {"v1beta2"}
    for crd in default_bundle.of_kind("CustomResourceDefinition"):
        served = {one["name"] for one in crd["spec"]["versions"] if one["served"]}
        labels = crd["metadata"]["labels"]
        for contract in contracts:
            assert set(labels[f"cluster.x-k8s.io/{contract}"].split("_")) <= served


@pytest.mark.rule("C1", "C31", "C38", "C40", "C44")
def test_names_of_the_crds_are_those_that_core_computes(default_bundle: Bundle) -> None:
    crds = {one["spec"]["names"]["kind"]: one for one in default_bundle.of_kind("CustomResourceDefinition")}
    kinds = {"KINDCluster", "KINDConfig", "KINDControlPlane", "KINDMachine"}
    assert set(crds) == kinds | {f"{kind}Template" for kind in kinds} | {"KINDEngineClass"}
    for kind, crd in crds.items():
        ending, scope = ("es", "Cluster") if kind == "KINDEngineClass" else ("s", "Namespaced")
        assert crd["metadata"]["name"] == f"{kind.lower()}{ending}.{crd['spec']['group']}"
        assert crd["spec"]["names"]["listKind"] == f"{kind}List"
        assert crd["spec"]["scope"] == scope


@pytest.mark.rule("C28", "C39")
def test_provider_may_read_clusters_and_never_write_them(each_bundle: Bundle) -> None:
    verbs = {verb for group, resource, verb in rules(each_bundle) if group == "cluster.x-k8s.io"}
    assert verbs == {"get", "list", "watch"}


@pytest.mark.rule("C39")
def test_provider_has_no_right_to_anything_else(each_bundle: Bundle) -> None:
    assert {(group, resource) for group, resource, _ in rules(each_bundle)} == {
        ("", "configmaps"),
        ("", "events"),
        ("", "namespaces"),
        ("", "secrets"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("bootstrap.cluster.x-k8s.io", "kindconfigs"),
        ("bootstrap.cluster.x-k8s.io", "kindconfigs/status"),
        ("cluster.x-k8s.io", "clusters"),
        ("cluster.x-k8s.io", "machines"),
        ("controlplane.cluster.x-k8s.io", "kindcontrolplanes"),
        ("controlplane.cluster.x-k8s.io", "kindcontrolplanes/finalizers"),
        ("controlplane.cluster.x-k8s.io", "kindcontrolplanes/status"),
        ("coordination.k8s.io", "leases"),
        ("infrastructure.cluster.x-k8s.io", "kindclusters"),
        ("infrastructure.cluster.x-k8s.io", "kindclusters/finalizers"),
        ("infrastructure.cluster.x-k8s.io", "kindclusters/status"),
        ("infrastructure.cluster.x-k8s.io", "kindengineclasses"),
        ("infrastructure.cluster.x-k8s.io", "kindengineclasses/status"),
        ("infrastructure.cluster.x-k8s.io", "kindmachines"),
        ("infrastructure.cluster.x-k8s.io", "kindmachines/status"),
    }
    assert not any("*" in right for right in rules(each_bundle))


@pytest.mark.rule("C39")
def test_leases_are_a_right_in_the_own_namespace_only(each_bundle: Bundle) -> None:
    (role,) = each_bundle.of_kind("Role")
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"leases"}
    names = {rule["verbs"][0]: rule.get("resourceNames") for rule in role["rules"]}
    assert names == {"create": None, "get": [LEASE]}
    wide = [
        resource
        for role in each_bundle.of_kind("ClusterRole")
        for rule in role["rules"]
        for resource in rule["resources"]
    ]
    assert "leases" not in wide


def test_no_role_for_writing_is_handed_to_all_editors(each_bundle: Bundle) -> None:
    """A KINDCluster can mount any path of the engine's machine."""
    labels = {label for role in each_bundle.of_kind("ClusterRole") for label in role["metadata"]["labels"]}
    assert "rbac.authorization.k8s.io/aggregate-to-view" in labels
    assert not labels & {f"rbac.authorization.k8s.io/aggregate-to-{who}" for who in ("edit", "admin")}


def host_paths(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["hostPath"] for one in pod["volumes"] if "hostPath" in one]


@pytest.mark.parametrize(
    ("overlay", "path"), [("default", "/var/run/docker.sock"), ("podman", "/run/podman/podman.sock")]
)
def test_socket_is_the_only_path_of_the_node(bundle: Callable[[str], Bundle], overlay: str, path: str) -> None:
    assert host_paths(bundle(overlay).pod) == [{"path": path, "type": "Socket"}]


@pytest.mark.parametrize(
    "overlay",
    [
        "default",
        "podman",
        "pods",
        "remote",
        "engine/docker-socket",
        "engine/podman-socket",
        "engine/pods",
        "engine/remote",
        "engine-namespace",
    ],
)
def test_way_to_the_engine_says_what_it_means(overlay: str) -> None:
    assert "# WHAT THIS MEANS: " in (ROOT / "config" / overlay / "kustomization.yaml").read_text()


def test_released_components_keep_the_warning(default_bundle: Bundle) -> None:
    assert "# WHAT THIS MEANS: " in default_bundle.text.split("apiVersion:")[0]


def test_remote_engine_needs_nothing_of_the_node(bundle: Callable[[str], Bundle]) -> None:
    remote = bundle("remote")
    assert host_paths(remote.pod) == []
    assert remote.pod["securityContext"]["runAsNonRoot"] is True
    assert "DOCKER_CERT_PATH" in {one["name"] for one in remote.manager["env"]}


def test_provider_without_an_engine_needs_nothing_of_the_node(bundle: Callable[[str], Bundle]) -> None:
    pods = bundle("pods")
    assert host_paths(pods.pod) == []
    assert pods.pod["securityContext"]["runAsNonRoot"] is True
    assert not any(one["name"].startswith("DOCKER_") for one in pods.manager["env"])
    assert "--no-shared-engine" in pods.manager["args"]


def test_namespace_of_engines_is_privileged_and_the_only_one_of_its_file(engine_namespace: Bundle) -> None:
    (namespace,) = engine_namespace.of_kind("Namespace")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}
    for one in engine_namespace.objects:
        assert one["metadata"].get("namespace", "capkind-engines") == "capkind-engines"
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_rights_to_engines_are_the_providers_and_hold_in_their_namespace_only(
    engine_namespace: Bundle, default_bundle: Bundle
) -> None:
    (binding,) = engine_namespace.of_kind("RoleBinding")
    assert binding["roleRef"]["kind"] == "Role"
    (account,) = default_bundle.of_kind("ServiceAccount")
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], account["metadata"]["namespace"])
    assert {(resource, verb) for _, resource, verb in rules(engine_namespace)} == {
        *((one, verb) for one in ENGINE_OBJECTS for verb in ("get", "list", "watch", "create", "delete")),
        ("events", "list"),
    }
    assert not {resource for _, resource, _ in rules(default_bundle)} & ENGINE_OBJECTS
    assert engine_namespace.of_kind("ClusterRole") == []


def test_only_the_provider_reaches_docker_in_a_pod(engine_namespace: Bundle, default_bundle: Bundle) -> None:
    (policy,) = engine_namespace.of_kind("NetworkPolicy")
    assert policy["spec"]["podSelector"] == {}
    to_docker = [
        rule
        for rule in policy["spec"]["ingress"]
        if any(one["protocol"] == "TCP" and _spans(one, 2376) for one in rule["ports"])
    ]
    (rule,) = to_docker
    (peer,) = rule["from"]
    (namespace,) = default_bundle.of_kind("Namespace")
    assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace["metadata"]["name"]
    labels = default_bundle.deployment["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(("port", "protocol"), [(6443, "TCP"), (80, "TCP"), (65535, "UDP"), (30080, "SCTP")])
def test_everyone_reaches_api_servers_and_published_ports(engine_namespace: Bundle, port: int, protocol: str) -> None:
    (policy,) = engine_namespace.of_kind("NetworkPolicy")
    open_to_all = [one for rule in policy["spec"]["ingress"] if "from" not in rule for one in rule["ports"]]
    assert any(one["protocol"] == protocol and _spans(one, port) for one in open_to_all)


def test_engine_does_not_reach_the_credentials_of_its_node(engine_namespace: Bundle) -> None:
    (policy,) = engine_namespace.of_kind("NetworkPolicy")
    assert "Egress" in policy["spec"]["policyTypes"]
    for rule in policy["spec"]["egress"]:
        if "to" not in rule:
            assert {one["port"] for one in rule["ports"]} == {53}
            continue
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            assert any(one in ("169.254.0.0/16", "fd00:ec2::254/128") for one in block["except"])


def _spans(port: dict[str, Any], number: int) -> bool:
    first: int = port["port"]
    return first <= number <= port.get("endPort", first)


def test_pod_security_level_is_as_strict_as_the_mounts_allow(each_bundle: Bundle) -> None:
    (namespace,) = each_bundle.of_kind("Namespace")
    level = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == ("privileged" if host_paths(each_bundle.pod) else "restricted")


def test_container_cannot_gain_rights_or_write_to_its_image(each_bundle: Bundle) -> None:
    context = each_bundle.manager["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert "privileged" not in context


def test_kubeconfigs_of_running_calls_never_reach_a_disk(each_bundle: Bundle) -> None:
    (work,) = (one for one in each_bundle.pod["volumes"] if one["name"] == "work")
    assert work["emptyDir"]["medium"] == "Memory"
    (mount,) = (one for one in each_bundle.manager["volumeMounts"] if one["name"] == "work")
    directories = {one.get("value") for one in each_bundle.manager["env"] if one["name"] in ("HOME", "TMPDIR")}
    assert directories == {mount["mountPath"]}
    # Below the mount, which belongs to root: the provider rejects a directory of another user.
    assert f"--work-dir={mount['mountPath']}/work" in each_bundle.manager["args"]


def test_probes_and_metrics_use_the_ports_of_the_arguments(each_bundle: Bundle) -> None:
    ports = {one["name"]: one["containerPort"] for one in each_bundle.manager["ports"]}
    assert f"--health-addr=:{ports['healthz']}" in each_bundle.manager["args"]
    assert f"--diagnostics-address=:{ports['metrics']}" in each_bundle.manager["args"]
    annotations = each_bundle.deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
