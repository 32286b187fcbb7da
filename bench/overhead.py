"""Measures the provider's overhead over a bare `kind create cluster`, in pairs, and for several together.

It needs the real kind with a container engine, and takes about a minute per pair. The provider's own share is the
time from the apply to Ready minus the time of the kind call, so that it does not depend on the random duration of two
creations.
"""

import os
import shlex
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.results import Row
from bench.rig import KIND_CLUSTER_PATH as PATH
from bench.rig import is_ready, kindcluster
from capk.errors import NotFound
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.engines import EngineChoice
from capkdev.managementcluster.options import Options
from capkdev.rest import Rest

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 900
TIMED_KIND = """#!/bin/sh
for word; do
  case "$word" in --name=*) name=${{word#--name=}} ;; esac
done
case "$*" in
  "create cluster"*)
    date +%s.%N >{times}/"$name"
    {kind} "$@" || exit
    date +%s.%N >>{times}/"$name" ;;
  *) exec {kind} "$@" ;;
esac
"""


class Pairs:
    """A management cluster with a provider whose kind command records the begin and end of its creations."""

    def __init__(self, choice: EngineChoice, directory: Path) -> None:
        self._kind = shlex.split(choice.kind)
        self._image = choice.node_image or DEFAULT_IMAGE
        self._directory = directory
        self._times = directory / "times"
        self._times.mkdir()
        script = directory / "kind"
        script.write_text(TIMED_KIND.format(kind=shlex.join(self._kind), times=shlex.quote(str(self._times))))
        script.chmod(stat.S_IRWXU)
        arguments = [*choice.provider_arguments, "--kind-command", str(script)]
        self.management = LocalManagementCluster(directory / "management", Options(core=False, provider=arguments))

    def bare(self, name: str) -> float:
        """Return the seconds of a bare kind call."""
        began = time.monotonic()
        self._run("create", "cluster", f"--name={name}", "--image", self._image, "--wait", "120s")
        took = time.monotonic() - began
        self._run("delete", "cluster", "--name", name)
        return took

    def applied(self, rest: Rest, name: str) -> tuple[float, float]:
        """Return the seconds from the apply to Ready, and the seconds of the kind call in between."""
        began = time.monotonic()
        rest.request("POST", PATH, kindcluster(name))
        while not is_ready(rest.request("GET", f"{PATH}/{name}")):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TimeoutError(f"{name} was not Ready after {PATIENCE_SECONDS} s")
            time.sleep(POLL_SECONDS)
        took = time.monotonic() - began
        first, last = self._call(name)
        self._delete(rest, name)
        return took, last - first

    def together(self, rest: Rest, names: Sequence[str]) -> Iterator[tuple[str, float, float, float]]:
        """Apply so many in one moment, and yield of each its name and three times.

        They are the begin of its kind call, its end, and Ready, in seconds from the apply.
        """
        began, ready = time.time(), dict[str, float]()
        for name in names:
            rest.request("POST", PATH, kindcluster(name))
        while len(ready) < len(names):
            if time.time() - began > PATIENCE_SECONDS:
                raise TimeoutError(f"only {', '.join(ready) or 'none'} Ready after {PATIENCE_SECONDS} s")
            for name in names:
                if name not in ready and is_ready(rest.request("GET", f"{PATH}/{name}")):
                    ready[name] = time.time()
            time.sleep(POLL_SECONDS)
        for name in names:
            first, last = self._call(name)
            yield name, first - began, last - began, ready[name] - began
            self._delete(rest, name)

    def _call(self, name: str) -> tuple[float, float]:
        first, last = map(float, (self._times / name).read_text().split())
        return first, last

    def _delete(self, rest: Rest, name: str) -> None:
        rest.request("DELETE", f"{PATH}/{name}")
        while True:
            try:
                rest.request("GET", f"{PATH}/{name}")
            except NotFound:
                return
            time.sleep(POLL_SECONDS)

    def _run(self, *arguments: str) -> None:
        command = [*self._kind, *arguments, "--kubeconfig", str(self._directory / "kubeconfig")]
        subprocess.run(command, check=True, capture_output=True)


def overhead(pairs: int, choice: EngineChoice | None) -> Iterator[Row]:
    """Yield the measured pairs; none without the real kind."""
    if choice is None:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        pair_maker = Pairs(choice, Path(directory))
        with pair_maker.management as management, management.rest() as rest:
            for number in range(1, pairs + 1):
                name = f"bench-{os.getpid()}-{number}"
                # In alternating order, so that neither always has the warmer caches.
                if number % 2:
                    bare, (ready, inside) = pair_maker.bare(f"{name}-bare"), pair_maker.applied(rest, name)
                else:
                    (ready, inside), bare = pair_maker.applied(rest, name), pair_maker.bare(f"{name}-bare")
                seconds = {"bare_s": bare, "ready_s": ready, "kind_call_s": inside, "share_s": ready - inside}
                yield {"pair": number, **{column: round(value, 3) for column, value in seconds.items()}}


def together(size: int, choice: EngineChoice | None) -> Iterator[Row]:
    """Yield a row for each of so many KINDClusters that are applied in one moment; none without the real kind.

    after_s: from the end of its own kind call to Ready.
    """
    if choice is None:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        maker = Pairs(choice, Path(directory))
        names = [f"bench-{os.getpid()}-together-{number}" for number in range(1, size + 1)]
        with maker.management as management, management.rest() as rest:
            for number, (_, began, ended, ready) in enumerate(maker.together(rest, names), 1):
                seconds = {"call_begins_s": began, "call_ends_s": ended, "ready_s": ready, "after_s": ready - ended}
                yield {"cluster": number, **{column: round(value, 3) for column, value in seconds.items()}}
