import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.engineclasses import DockerHost
from capk.engine.remote import RemoteFiles
from capk.engine.remotekeys import BadKeys
from capk.engine.workdir import WorkDir
from test.unit.engine.test_remotekeys import HOST, ssh_data, tls_data

TLS = DockerHost("tcp://10.0.0.7:2376", "lab", "10.0.0.7", "10.0.0.7")
SSH = DockerHost("ssh://kind@10.0.0.7", "lab", "10.0.0.7", "10.0.0.7")


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteFiles]:
    work_dir = WorkDir(tmp_path / "work")
    files = RemoteFiles(work_dir)
    yield files
    files.close()
    work_dir.close()
    assert list((tmp_path / "work").rglob("*")) == []


def test_docker_finds_its_keys_and_nothing_of_the_providers_own_engine(remote: RemoteFiles) -> None:
    variables = remote.write("lab", TLS, tls_data())
    directory = Path(variables["DOCKER_CERT_PATH"])
    assert {file.name for file in directory.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert (variables["DOCKER_HOST"], variables["DOCKER_TLS_VERIFY"]) == ("tcp://10.0.0.7:2376", "1")
    assert variables["DOCKER_CONTEXT"] == variables["SSH_AUTH_SOCK"] == ""
    assert variables["KIND_EXPERIMENTAL_PROVIDER"] == "docker"


@pytest.mark.parametrize(("docker", "data"), [(TLS, tls_data()), (SSH, ssh_data())])
def test_logins_and_proxies_of_the_providers_own_docker_are_not_sent_to_another_engine(
    remote: RemoteFiles, docker: DockerHost, data: dict[str, str], tmp_path: Path
) -> None:
    """docker sends the login for a registry with each pull, and the image is the user's choice."""
    variables = remote.write("lab", docker, data)
    directory = Path(variables["DOCKER_CONFIG"])
    assert directory.is_relative_to(tmp_path / "work")
    assert not (directory / "config.json").exists()
    # A CI job has its logins in the first one; docker sends the second one with every request.
    assert variables["DOCKER_AUTH_CONFIG"] == variables["DOCKER_CUSTOM_HEADERS"] == ""


def test_only_the_provider_can_read_the_files(remote: RemoteFiles) -> None:
    for name, docker, data in (("a", TLS, tls_data()), ("b", SSH, ssh_data())):
        variables = remote.write(name, docker, data)
        directory = Path(variables["DOCKER_CERT_PATH"] or Path(variables["PATH"].partition(":")[0]).parent)
        for path in (directory, *directory.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_new_keys_replace_the_old_ones_at_the_same_place(remote: RemoteFiles) -> None:
    before = remote.write("lab", TLS, tls_data())
    key = Path(before["DOCKER_CERT_PATH"], "key.pem")
    old = key.read_text()
    assert remote.write("lab", TLS, tls_data()) == before
    assert key.read_text() != old
    assert len(list(key.parent.iterdir())) == 3


def test_wrong_keys_leave_the_former_ones(remote: RemoteFiles) -> None:
    before = remote.write("lab", TLS, tls_data())
    files = {file: file.read_text() for file in Path(before["DOCKER_CERT_PATH"]).iterdir()}
    with pytest.raises(BadKeys):
        remote.write("lab", TLS, {**tls_data(), "tls.key": ""})
    assert {file: file.read_text() for file in Path(before["DOCKER_CERT_PATH"]).iterdir()} == files


def test_ssh_that_docker_finds_uses_the_keys_of_the_engine(
    remote: RemoteFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "ssh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (own / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", f"{own}:{os.environ['PATH']}")
    variables = remote.write("lab", SSH, ssh_data())
    assert variables["DOCKER_TLS_VERIFY"] == variables["DOCKER_CERT_PATH"] == ""
    called = subprocess.run(
        ["ssh", "-l", "kind", "--", "10.0.0.7"], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    option, config, *rest = called.stdout.splitlines()
    assert (option, rest) == ("-F", ["-l", "kind", "--", "10.0.0.7"])
    lines = Path(config).read_text().splitlines()
    folder = Path(config).parent
    assert f'  IdentityFile "{folder}/identity"' in lines
    assert "  StrictHostKeyChecking yes" in lines
    assert (folder / "known_hosts").read_text() == f"{HOST}\n"


def test_real_ssh_reads_the_configuration(remote: RemoteFiles) -> None:
    variables = remote.write("lab", SSH, ssh_data())
    shown = subprocess.run(
        ["ssh", "-G", "kind@10.0.0.7"], env=os.environ | variables, capture_output=True, text=True, check=True
    ).stdout
    folder = Path(variables["PATH"].partition(":")[0]).parent
    assert f"identityfile {folder}/identity" in shown
    assert f"userknownhostsfile {folder}/known_hosts" in shown
    assert "stricthostkeychecking true" in shown
    assert "batchmode yes" in shown


def test_missing_ssh_is_named(remote: RemoteFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capk.engine.remote.shutil.which", lambda command: None)
    with pytest.raises(BadKeys, match="ssh is not installed where the provider runs"):
        remote.write("lab", SSH, ssh_data())


def test_files_of_a_class_that_is_gone_are_removed(remote: RemoteFiles) -> None:
    directory = Path(remote.write("lab", TLS, tls_data())["DOCKER_CERT_PATH"])
    remote.drop("lab")
    remote.drop("lab")
    assert not directory.exists()


def test_failed_write_leaves_no_part_of_a_key(remote: RemoteFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            remote.write("lab", TLS, tls_data())
    monkeypatch.undo()
    directory = Path(remote.write("lab", TLS, tls_data())["DOCKER_CERT_PATH"])
    assert {file.name for file in directory.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
