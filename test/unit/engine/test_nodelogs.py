"""The scripts that read a node's logs print a bounded part of them, with an ordinary shell."""

import os
import subprocess
from pathlib import Path

import pytest

from capk.engine.containers import LOG_BYTES, LOG_LINES, Containers
from capk.engine.nodelogs import last_words, node_logs
from capk.engine.nodescripts import NODE_LOGS, PODS_SCRIPT

JOURNALS = [script for script in NODE_LOGS.values() if script != PODS_SCRIPT]


def printed(script: str, **environment: str) -> str:
    ended = subprocess.run(["sh", "-c", script], env={**os.environ, **environment}, capture_output=True, check=True)
    assert ended.stderr == b""
    return ended.stdout.decode()


def pods_script(folder: Path) -> str:
    assert "/var/log/containers" in PODS_SCRIPT
    return PODS_SCRIPT.replace("/var/log/containers", str(folder))


def executable(file: Path, script: str) -> Path:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_end_of_each_pods_log_is_printed_under_its_name(tmp_path):
    (tmp_path / "etcd_kube-system.log").write_text("a" * 100_000 + "the end")
    (tmp_path / "$(touch here) x.log").write_text("odd")
    text = printed(pods_script(tmp_path))
    assert f"--- {tmp_path}/etcd_kube-system.log\naaa" in text
    assert "the end" in text
    assert f"--- {tmp_path}/$(touch here) x.log\nodd" in text
    assert len(text) < 20_000


def test_many_pods_logs_stay_bounded_and_the_latest_are_among_them(tmp_path):
    for number in range(40):
        (tmp_path / f"pod-{number}.log").write_text("x" * 50_000)
        os.utime(tmp_path / f"pod-{number}.log", (number, number))
    text = printed(pods_script(tmp_path))
    assert len(text) <= 262_144
    assert "pod-38.log" in text
    assert "pod-5.log" not in text


def test_node_without_pods_prints_nothing(tmp_path):
    assert printed(pods_script(tmp_path)) == ""


@pytest.mark.parametrize("script", JOURNALS)
def test_journal_is_bounded_by_its_length_too(tmp_path, script):
    executable(tmp_path / "journalctl", "head -c 1000000 /dev/zero | tr '\\0' x; echo the end; echo complaint >&2")
    text = printed(script, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert len(text) <= 131_072
    assert text.endswith("the end\ncomplaint\n")


@pytest.mark.parametrize("script", NODE_LOGS.values())
def test_node_without_journalctl_says_so(tmp_path, script):
    assert "\n" not in printed(script.replace("journalctl", "no-journalctl")).rstrip("\n")


async def test_node_that_prints_without_end_costs_one_heading_and_the_reason(tmp_path):
    engine = executable(tmp_path / "engine", "exec yes hostile")
    text = await node_logs(Containers([str(engine)]), "f00d")
    assert [f"==> {what} <==" in text for what in NODE_LOGS] == [True] * len(NODE_LOGS)
    assert text.count("could not be read") == len(NODE_LOGS)
    assert len(text) < 10_000


async def test_node_that_prints_megabytes_does_not_fill_the_memory(tmp_path):
    """Each of dozens of nodes may do so at the same moment, whatever the script says that it runs."""
    engine = executable(tmp_path / "engine", "head -c 2000000 /dev/zero")
    assert len(await node_logs(Containers([str(engine)]), "f00d")) < 10_000


async def test_nothing_of_the_object_or_the_node_is_in_the_commands(tmp_path):
    engine = executable(tmp_path / "engine", 'printf "%s|" "$@"')
    text = await node_logs(Containers([str(engine)]), "f00d")
    for script in NODE_LOGS.values():
        assert f"exec|f00d|sh|-c|{script}|" in text


async def test_last_lines_of_a_container_that_has_ended_are_read_by_the_engine(tmp_path):
    engine = executable(tmp_path / "engine", 'printf "%s|" "$@"; echo complaint >&2')
    text = await last_words(Containers([str(engine)]), "f00d")
    assert text.splitlines()[1:] == [f"logs|--tail|{LOG_LINES}|f00d|complaint"]


@pytest.mark.parametrize("stream", ["", " >&2"])
async def test_container_that_has_printed_without_end_costs_a_bounded_part_of_it(tmp_path, stream):
    script = f"head -c {LOG_BYTES + 100_000} /dev/zero | tr '\\0' x{stream}; echo the end{stream}"
    engine = executable(tmp_path / "engine", script)
    text = await last_words(Containers([str(engine)]), "f00d")
    assert 1000 < len(text) <= 64 * 1024 + 200
    assert ("could not be read to its end" in text) is (stream == "")


async def test_container_that_is_gone_leaves_the_reason(tmp_path):
    engine = executable(tmp_path / "engine", "echo no such container >&2; exit 1")
    assert "no such container" in await last_words(Containers([str(engine)]), "f00d")


async def test_without_an_engine_there_are_no_last_words():
    assert "could not" not in await last_words(Containers(None), "f00d")
