"""Applies each mutation to a scratch copy and runs the test that has to fail: `python -m hack.mutations [WORD ...]`.

Words select the mutations whose guarantee or file contains one of them. The exit status is 1 if a mutation survives.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutations.yaml")
TEST_SECONDS = 600
PASSED, FAILED = 0, 1
"""pytest's exit statuses; any other one means that no test has given a verdict."""


@dataclass(frozen=True)
class Mutation:
    """One way to break a guarantee.

    find: text that occurs exactly once in the file. put: its replacement. test: arguments of pytest.
    """

    guarantee: str
    file: str
    find: str
    put: str
    test: str

    @contextmanager
    def applied(self, copy: Path) -> Iterator[None]:
        """Break the guarantee in a copy of the repository, within the context; raises ValueError if code changed."""
        file = copy / self.file
        text = file.read_text(encoding="utf-8")
        if text.count(self.find) != 1:
            raise ValueError(f"{self.file} contains {text.count(self.find)} times the text to replace:\n{self.find}")
        file.write_text(text.replace(self.find, self.put), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(text, encoding="utf-8")


def main(words: Sequence[str]) -> int:
    mutations = [Mutation(**entry) for entry in yaml.safe_load(LIST.read_text(encoding="utf-8"))]
    chosen = [one for one in mutations if not words or any(word in one.guarantee + one.file for word in words)]
    with tempfile.TemporaryDirectory(prefix="capk-mutations-") as directory:
        copy = scratch_copy(Path(directory))
        sound = passing(copy, {one.test for one in chosen})
        outcomes = [judge(copy, one) if one.test in sound else without_verdict(one) for one in chosen]
    print(f"{outcomes.count('killed')} of {len(outcomes)} mutations were noticed")
    return 0 if set(outcomes) <= {"killed"} else 1


def judge(copy: Path, mutation: Mutation) -> str:
    """Return and print `killed` if the test failed, otherwise the actual outcome."""
    began = time.monotonic()
    with mutation.applied(copy):
        status = run(copy, mutation.test)
    outcome = {FAILED: "killed", PASSED: "SURVIVED"}.get(status, f"no verdict: pytest ended with {status}")
    print(f"{outcome:9} {time.monotonic() - began:5.1f} s  {mutation.guarantee}  [{mutation.test}]", flush=True)
    return outcome


def passing(copy: Path, tests: Set[str]) -> set[str]:
    """Return the tests that pass without any mutation. Runs the quick ones together, by whole files."""
    quick = {test for test in tests if all(word.startswith("test/unit/") for word in test.split() if "/" in word)}
    files = {word for test in quick for word in test.split() if "/" in word}
    passed = {test for test in sorted(tests - quick) if run(copy, test) == PASSED}
    return passed | quick if not files or run(copy, " ".join(sorted(files))) == PASSED else passed


def without_verdict(mutation: Mutation) -> str:
    """Report that the test cannot judge, because it fails without the mutation too."""
    print(f"no verdict: fails without it too  {mutation.guarantee}  [{mutation.test}]", flush=True)
    return "no verdict"


def scratch_copy(directory: Path) -> Path:
    """Return a copy of all files of the repository, with the tools of this one."""
    copy = directory / "repository"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in files:
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    (copy / "bin").symlink_to(ROOT / "bin")
    return copy


def run(copy: Path, test: str) -> int:
    """Run tests on the copy and return pytest's exit status."""
    # A mutation may write to the user's home.
    home = copy.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout=120"]
    command = [sys.executable, "-m", "pytest", *options, *shlex.split(test)]
    return subprocess.run(
        command,
        cwd=copy,
        env=environment,
        timeout=TEST_SECONDS,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
