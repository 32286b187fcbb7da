import time
from pathlib import Path

import pytest

from capk.api.names import Reason
from capk.engine import progress
from capk.engine.progress import Step

RECORDED = Path(__file__).parents[2] / "fixtures" / "kind"
RELEASES = ("v0.33.0", "v0.32.0")

STEPS_OF_ONE_NODE = [
    Step(Reason.ENSURING_NODE_IMAGE, "Ensuring node image (kindest/node:v1.36.3)"),
    Step(Reason.PREPARING_NODES, "Preparing nodes"),
    Step(Reason.WRITING_CONFIGURATION, "Writing configuration"),
    Step(Reason.STARTING_CONTROL_PLANE, "Starting control-plane"),
    Step(Reason.INSTALLING_CNI, "Installing CNI"),
    Step(Reason.INSTALLING_STORAGE_CLASS, "Installing StorageClass"),
    Step(Reason.WAITING_FOR_READY, "Waiting ≤ 2m0s for control-plane = Ready"),
]


@pytest.fixture(params=RELEASES)
def steps(request):
    """Return the steps in a recording, for each release of kind."""

    def read(recording: str) -> list[Step]:
        lines = (RECORDED / request.param / f"{recording}.txt").read_text().splitlines()
        return [step for line in lines if (step := progress.step(line))]

    return read


def test_steps_of_one_node(steps):
    assert steps("create-one-node") == STEPS_OF_ONE_NODE


def test_steps_of_two_nodes_join_the_worker(steps):
    joining = Step(Reason.JOINING_WORKERS, "Joining worker nodes")
    assert steps("create-two-nodes") == [*STEPS_OF_ONE_NODE[:-1], joining, STEPS_OF_ONE_NODE[-1]]


def test_steps_of_several_control_planes(steps):
    assert [step.reason for step in steps("create-two-control-planes")] == [
        Reason.ENSURING_NODE_IMAGE,
        Reason.PREPARING_NODES,
        Reason.CONFIGURING_LOAD_BALANCER,
        Reason.WRITING_CONFIGURATION,
        Reason.STARTING_CONTROL_PLANE,
        Reason.INSTALLING_CNI,
        Reason.INSTALLING_STORAGE_CLASS,
        Reason.JOINING_CONTROL_PLANE_NODES,
        Reason.JOINING_WORKERS,
        Reason.WAITING_FOR_READY,
    ]


@pytest.mark.parametrize("picture", ["🖼", "🖼\ufe0f", ""])
def test_image_step_is_known_with_the_pictures_of_kind_0_32_and_0_33(picture):
    line = f" • Ensuring node image (kindest/node:v1.36.3) {picture}  ..."
    assert progress.step(line) == STEPS_OF_ONE_NODE[0]


@pytest.mark.parametrize("report", ["create-docker-bidirectional", "create-podman-without-names-at-the-end"])
def test_steps_of_kind_0_33(report):
    text = (RECORDED / "reported" / f"{report}.txt").read_text()
    assert "🖼\ufe0f" in text
    steps_of_it = [step for line in text.splitlines() if (step := progress.step(line))]
    assert [step.reason for step in steps_of_it[:2]] == [Reason.ENSURING_NODE_IMAGE, Reason.PREPARING_NODES]


def test_a_wait_in_vain_is_a_warning(steps):
    assert steps("create-wait-timeout")[-1] == progress.NOT_READY
    assert progress.NOT_READY.warning


def test_steps_of_a_terminal_are_the_same():
    line = " \x1b[32m✓\x1b[0m Ensuring node image (kindest/node:v1.36.3) 🖼"
    assert progress.step(line) is None
    frame = "\x1b[?7l ⠈⠑ Starting control-plane 🕹️ \x1b[?7h"
    assert progress.step(frame) == Step(Reason.STARTING_CONTROL_PLANE, "Starting control-plane")
    assert progress.step("\x1b[?7l⢎⡰ Waiting ≤ 1m0s for control-plane = Ready ⏳ \x1b[?7h") == Step(
        Reason.WAITING_FOR_READY, "Waiting ≤ 1m0s for control-plane = Ready"
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "•",
        " • ",
        " • Ready after 5s 💚",
        " ✓ Installing CNI 🔌",
        " ✗ Preparing nodes 📦",
        " • something new that kind may say one day  ...",
        "ERROR: Preparing nodes",
        "Installing CNI",
        "\x1b[?7l",
        "\ufffd\ufffd",
    ],
)
def test_other_lines_are_no_steps(line):
    assert progress.step(line) is None


@pytest.mark.parametrize("sign", [" ", "\t", ".", ". ", "•", "• ", "x ", "\x1b[", "\x1b[0"])
def test_line_that_a_node_prints_costs_no_more_than_its_length(sign):
    """kind passes on what a node's programs print, and while a line is read, nothing else runs."""
    line = f"• x{sign * (1500 // len(sign))}x"
    began = time.process_time()
    assert progress.step(line) is None
    assert time.process_time() - began < 0.5
