"""The Tiltfile, run by a Starlark interpreter with Tilt's functions replaced by ones that record their calls.

Tilt does not run here: that it accepts these arguments is taken from its documentation.
"""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from test.packaging.packaged import ROOT, Bundle

starlark = pytest.importorskip("starlark", reason="starlark-pyo3 is not installed")

FUNCTIONS = [
    "docker_build",
    "fall_back_on",
    "k8s_resource",
    "k8s_yaml",
    "local_resource",
    "run",
    "sync",
]
PREAMBLE = """
os = struct(getenv = getenv)
TRIGGER_MODE_MANUAL = "manual"
"""
Calls = Mapping[str, list[tuple[list[Any], dict[str, Any]]]]


@pytest.fixture
def calls(default_bundle: Bundle) -> Calls:
    """The calls of the Tiltfile by function, as positional and named arguments."""
    recorded: dict[str, list[tuple[list[Any], dict[str, Any]]]] = defaultdict(list)
    module = starlark.Module()

    def recorder(name: str) -> Any:
        def record(*positional: Any, **named: Any) -> Any:
            recorded[name].append((list(positional), named))
            return {"function": name, "arguments": list(positional)}

        return record

    for name in FUNCTIONS:
        module.add_callable(name, recorder(name))
    module.add_callable("getenv", lambda _name, default: default)
    module.add_callable("kustomize", lambda _folder: "rendered")

    def local(command: str, **options: Any) -> str:
        recorded["local"].append(([command], options))
        return json.dumps(default_bundle.objects)

    module.add_callable("local", local)
    module.add_callable("decode_yaml_stream", json.loads)
    module.add_callable("encode_yaml_stream", lambda manifests: manifests)
    module.add_callable(
        "listdir", lambda folder: [str(ROOT / folder / path.name) for path in (ROOT / folder).iterdir()]
    )
    source = PREAMBLE + (ROOT / "Tiltfile").read_text()
    library = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
    starlark.eval(module, starlark.parse("Tiltfile", source), library)
    return recorded


def test_image_is_the_one_that_the_deployment_runs(calls: Calls) -> None:
    ((image, context), _options) = calls["docker_build"][0]
    source = yaml.safe_load((ROOT / "config" / "manager" / "deployment.yaml").read_text())
    (container,) = source["spec"]["template"]["spec"]["containers"]
    assert container["image"].rpartition(":")[0] == image
    assert context == "."


def test_build_sees_every_file_that_the_dockerfile_copies(calls: Calls) -> None:
    (_positional, options) = calls["docker_build"][0]
    lines = [line.split() for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    copied = {word for line in lines if not line[1].startswith("--") for word in line[1:-1]}
    assert copied
    assert copied | {"Dockerfile"} == set(options["only"])


def test_command_that_tilt_runs_at_loading_brings_its_program_along(calls: Calls) -> None:
    (((command,), _options),) = calls["local"]
    builds, runs = command.split(" && ")
    assert builds.split()[:3] == ["make", "--silent", runs.split()[0]]


def test_saved_sources_win_over_the_installed_ones(calls: Calls) -> None:
    (_positional, options) = calls["docker_build"][0]
    source, target = next(one["arguments"] for one in options["live_update"] if one["function"] == "sync")
    assert (ROOT / source / "__init__.py").exists()
    ((manifests,), _options) = calls["k8s_yaml"][0]
    (deployment,) = (one for one in manifests if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    paths = [one["value"] for one in container["env"] if one["name"] == "PYTHONPATH"]
    assert paths == [str(PurePosixPath(target).parent)]
    assert "securityContext" not in container
    assert calls["k8s_resource"][0][0] == [deployment["metadata"]["name"]]


def test_restart_loop_starts_the_manager_again_and_ends_with_its_container(calls: Calls, tmp_path: Path) -> None:
    (_positional, options) = calls["docker_build"][0]
    manager = tmp_path / "manager"
    manager.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/starts\nexec sleep 60\n')
    manager.chmod(0o755)
    command = [
        one.replace("/manager ", f"{manager} ").replace("/tmp/manager.pid", f"{tmp_path}/pid")
        for one in options["entrypoint"]
    ]
    update = next(one["arguments"][0] for one in options["live_update"] if one["function"] == "run")
    with subprocess.Popen([*command, "--leader-elect"]) as loop:
        try:
            wait_for_lines(tmp_path / "starts", 1)
            subprocess.run(["sh", "-c", update.replace("/tmp/manager.pid", f"{tmp_path}/pid")], check=True)
            assert wait_for_lines(tmp_path / "starts", 2) == ["--leader-elect", "--leader-elect"]
        finally:
            loop.terminate()
        assert loop.wait(10) == 0


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Wait until a file has so many lines."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        lines: list[str] = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    raise AssertionError(f"{path} has fewer than {count} lines")


def test_every_sample_and_template_has_its_buttons(calls: Calls) -> None:
    names = [positional[0] for positional, _options in calls["local_resource"]]
    assert len(names) == len(set(names))
    for folder in ("config/samples", "templates"):
        for path in (ROOT / folder).glob("*.yaml"):
            if path.name != "kustomization.yaml":
                assert {f"apply {path.stem}", f"delete {path.stem}"} <= set(names)


def test_buttons_wait_for_a_click(calls: Calls) -> None:
    for positional, options in calls["local_resource"]:
        if positional[0].startswith(("apply ", "delete ")):
            assert options["auto_init"] is False
            assert options["trigger_mode"] == "manual"
            assert options["env"]["CLUSTER_NAME"] == "tilt"
