from pathlib import Path

import pytest
import yaml

from capkdev.fakekind import kubeconfig
from capkdev.fakekind.cli import run

CREDENTIALS = (b"authority", b"certificate", b"key")


def rendered(name: str) -> str:
    return kubeconfig.render(f"kind-{name}", "https://127.0.0.1:6443", CREDENTIALS)


def names(path: Path) -> list[str]:
    return [context["name"] for context in yaml.safe_load(path.read_text())["contexts"]]


def test_rendered_kubeconfig_has_kinds_order_and_names() -> None:
    document = yaml.safe_load(rendered("dev"))
    assert list(document) == ["apiVersion", "clusters", "contexts", "current-context", "kind", "users"]
    assert document["current-context"] == "kind-dev"
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert document["users"][0]["user"] == {"client-certificate-data": "Y2VydGlmaWNhdGU=", "client-key-data": "a2V5"}


def test_merging_keeps_other_entries_and_removing_takes_only_ours(tmp_path: Path) -> None:
    file = tmp_path / "nested" / "config"
    for name in ("one", "two", "one"):
        kubeconfig.write_merged(rendered(name), str(file))
    assert sorted(names(file)) == ["kind-one", "kind-two"]
    assert yaml.safe_load(file.read_text())["current-context"] == "kind-one"
    assert file.stat().st_mode & 0o077 == 0
    kubeconfig.remove("one", str(file))
    assert names(file) == ["kind-two"]
    assert yaml.safe_load(file.read_text())["current-context"] == ""
    assert list(file.parent.iterdir()) == [file]


def test_a_held_lock_is_an_error_after_a_few_quick_tries(tmp_path: Path) -> None:
    file = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(kubeconfig.KubeconfigLocked, match="failed to lock config file"):
        kubeconfig.write_merged(rendered("dev"), str(file))
    assert not file.exists()


def test_the_users_file_is_chosen_as_kubectl_chooses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    kubeconfig.write_merged(rendered("dev"), "")
    assert not first.exists()
    assert names(second) == ["kind-dev"]
    kubeconfig.remove("dev", "")
    assert names(second) == []
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    kubeconfig.write_merged(rendered("dev"), "")
    assert names(tmp_path / ".kube" / "config") == ["kind-dev"]


def test_internal_kubeconfig_names_the_node_or_the_load_balancer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "kind.yaml"
    nodes = "nodes: [{role: control-plane}, {role: control-plane}]\n"
    config.write_text(f"kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n{nodes}")
    assert run(["create", "cluster", "--name=one", "-q"]) == 0
    assert run(["create", "cluster", "--name=ha", f"--config={config}", "-q"]) == 0
    for name, host in (("one", "one-control-plane"), ("ha", "ha-external-load-balancer")):
        assert run(["get", "kubeconfig", f"--name={name}", "--internal"]) == 0
        document = yaml.safe_load(capsys.readouterr().out)
        assert document["clusters"][0]["cluster"]["server"] == f"https://{host}:6443"


def test_delete_removes_the_context_and_deletes_even_where_it_cannot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    assert run(["create", "cluster", "--name=dev", "-q"]) == 0
    assert names(file) == ["kind-dev"]
    (tmp_path / "kubeconfig.lock").touch()
    assert run(["delete", "cluster", "--name=dev"]) == 1
    assert 'Deleted nodes: ["dev-control-plane"]' in capsys.readouterr().err
    assert run(["get", "clusters"]) == 0
    assert capsys.readouterr().out == ""
