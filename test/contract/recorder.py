"""A container engine's command that creates nothing: it records its calls and answers as kind needs to go on.

So the calls of `kind create cluster` can be compared with ours in a second, for each release and without an engine.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capk.kindconfig import yamlio

IMAGE = "docker.io/kindest/node:v1"
SCRIPT = r"""#!/bin/sh
# The node is the first word after the options of `exec`. It starts no program that the shell can do without: kind calls
# it fifty times.
here=${0%/*}
printf '%s\0' "$@" >"$here/calls/$$"
all="$*"
name_of() { for word; do case $word in --privileged | -i) ;; *) echo "$word"; return ;; esac; done; }
case $all in
  -v | --version) echo "ENGINE version 5.0.0" ;;
  info*SecurityOptions*) echo "[]" ;;
  info*DriverStatus*) echo "[]" ;;
  info*.Driver*) echo overlay2 ;;
  info*) echo 'INFO' ;;
  *--type=image*) ;;
  network\ ls*) echo 0123456789ab ;;
  network\ inspect*) echo 'NETWORK' ;;
  volume\ create*) echo volume-of-a-node ;;
  ps\ *) ls "$here/nodes" ;;
  run\ *)
    role=worker
    case $all in
      *role=control-plane*) role=control-plane ;;
      *role=external-load-balancer*) role=external-load-balancer ;;
    esac
    echo "$role" >"$here/nodes/$3" ;;
  logs\ *) echo "detected cgroup v1" ;;
  inspect*io.x-k8s.kind.role*) for node; do :; done; read -r role <"$here/nodes/$node"; echo "$role" ;;
  inspect*IPAddress*)
    for node; do :; done
    case $node in *control-plane) echo "172.18.0.2,fc00::2" ;; *) echo "172.18.0.3,fc00::3" ;; esac ;;
  exec*/kind/version) echo "VERSION" ;;
  exec*cp\ /dev/stdin\ /kind/kubeadm.conf) shift; cat >"$here/$(name_of "$@").conf" ;;
  exec\ *-i*) cat >/dev/null ;;
  exec*/manifests/*) echo "kind: List" ;;
esac
exit 0
"""
INFO = (
    '{"CgroupDriver":"systemd","CgroupVersion":"2","MemoryLimit":true,"PidsLimit":true,"CPUShares":true,'
    '"ServerVersion":"28.0.0","host":{"cgroupVersion":"v2","cgroupControllers":["cpu","memory","pids"],'
    '"security":{"rootless":false}}}'
)
NETWORK = '[{"name":"kind","subnets":[{"subnet":"172.18.0.0/16"},{"subnet":"fc00::/64"}]}]'


class Recording(NamedTuple):
    """What kind asked of the engine. calls: without the engine's name. configurations: kubeadm's, by node."""

    calls: list[list[str]]
    configurations: Mapping[str, str]
    printed: str

    def runs(self) -> dict[str, list[str]]:
        """Return the arguments of `run` by the name of the container."""
        return {call[call.index("--name") + 1]: call[1:] for call in self.calls if call[0] == "run"}

    def executed(self, node: str) -> list[list[str]]:
        """Return the commands that ran in a node."""
        calls = [[word for word in call[1:] if word not in ("--privileged", "-i")] for call in self.calls]
        in_node = [
            words for call, words in zip(self.calls, calls, strict=True) if call[0] == "exec" and words[0] == node
        ]
        return [words[1:] for words in in_node]


def record(
    kind: str, engine: str, directory: Path, config: Mapping[str, Any], *, version: str, **environment: str
) -> Recording:
    """Run `kind create cluster` for a cluster named `dev`, and return what it asked of the engine.

    version: of Kubernetes, in the node image. environment: beside ours, which is used without proxies.
    """
    for folder in ("calls", "nodes", "home"):
        (directory / folder).mkdir(parents=True)
    script = SCRIPT.replace("VERSION", version).replace("ENGINE", engine)
    (directory / engine).write_text(script.replace("'INFO'", f"'{INFO}'").replace("'NETWORK'", f"'{NETWORK}'"))
    (directory / engine).chmod(0o700)
    without = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and "KIND_" not in name}
    ended = subprocess.run(
        [kind, "create", "cluster", "--name=dev", "--config=-", f"--image={IMAGE}", "--retain"],
        input=yamlio.dump(dict(config)),
        env={
            **without,
            "HOME": str(directory / "home"),
            "PATH": os.pathsep.join([str(directory), os.environ["PATH"]]),
            "KIND_EXPERIMENTAL_PROVIDER": engine,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    files = sorted((directory / "calls").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    calls: list[list[str]] = [_words(file) for file in files]
    configurations = {file.stem: file.read_text() for file in directory.glob("*.conf")}
    return Recording(calls, configurations, ended.stdout + ended.stderr)


def _words(file: Path) -> list[str]:
    return file.read_text().split("\0")[:-1]
