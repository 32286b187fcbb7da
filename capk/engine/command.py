"""Runs one external command: own process group, deadline, streamed output, typed failure.

The only module that starts processes, but for the shell of `capk.engine.guard`. It knows nothing about the commands.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capk.engine.guard import Guard
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut

GRACE_SECONDS: Final = 5.0
"""Time between SIGTERM and SIGKILL."""
DRAIN_SECONDS: Final = 1.0
"""How long output is awaited after the command's end: a child that it left behind may hold the pipes open for ever."""
MAX_TAIL: Final = 64 * 1024
"""Bytes of output kept for a failure."""
MAX_STDOUT: Final = 8 * 1024 * 1024
"""Bytes of standard output; a command that prints more is ended and fails, as half an answer is a wrong one."""
MAX_LINE: Final = 4 * 1024
"""Bytes of a line given to `on_line`; the rest of a longer line is dropped."""

_guard = Guard()


@dataclass(frozen=True)
class Output:
    """What a command printed, undecodable bytes replaced.

    stderr: at most the last 64 KiB.
    exit_status: 0, unless failures were allowed; negative for a signal.
    """

    stdout: str
    stderr: str
    exit_status: int = 0


async def run(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    check: bool = True,
) -> Output:
    """Run a command to its end and return what it printed.

    env: the whole environment; None passes ours on.
    on_line: called with each line of standard error as it arrives; must not raise.
    check: False returns a failure's output too, with its exit status.
    At the deadline and when cancelled, the whole process group gets SIGTERM, 5 s later SIGKILL, and is awaited. What a
    failed command left running is killed; what a successful one left may live.
    Raises CommandFailed (last 64 KiB of output), CommandTimedOut, CommandMissing.
    """
    child = _Child(on_line)
    try:
        async with asyncio.timeout(timeout_seconds):
            await _start(child, command, stdin, env)
            await child.exited.wait()
            await child.drained()
    except TimeoutError:
        await child.end()
        raise CommandTimedOut(command, child.tail, timeout_seconds) from None
    except BaseException:
        await child.end()
        raise
    finally:
        child.close()
    if child.exit_status != 0:
        # kind gives up at the first failure and leaves the engine's commands that it runs at the same time.
        child.kill()
    if child.overflow:
        raise CommandFailed(command, f"{child.tail}\nstandard output exceeds {MAX_STDOUT} bytes", child.exit_status)
    if check and child.exit_status != 0:
        raise CommandFailed(command, child.tail, child.exit_status)
    return Output(_text(child.stdout), _text(child.stderr), child.exit_status)


async def _start(child: "_Child", command: Sequence[str], stdin: str | None, env: Mapping[str, str] | None) -> None:
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: child,
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else pipe,
            stdout=pipe,
            stderr=pipe,
            env=env,
            start_new_session=True,
        )
    )
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio would kill the new process at once, and not what it has started by now; `end` does it properly.
        with contextlib.suppress(OSError, ValueError):
            await starting
        raise
    except OSError as error:
        raise CommandMissing(command, error.strerror or str(error)) from error
    except ValueError as error:
        # A zero byte or a lone surrogate in an argument: no process can be given that.
        raise CommandMissing(command, str(error)) from error
    if stdin is not None:
        child.send(stdin.encode())


class _Child(asyncio.SubprocessProtocol):
    """One running command: collects what it prints, in bounded memory, and can end its process group."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.exited = asyncio.Event()
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.overflow = False
        self._closed = asyncio.Event()
        self._tail = bytearray()
        self._line = b""
        self._on_line = on_line
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def tail(self) -> str:
        """The last part of both outputs, in the order in which they arrived."""
        return _text(self._tail)

    @property
    def exit_status(self) -> int:
        """0 for success, negative for a signal."""
        status = self._transport.get_returncode() if self._transport else None
        return -signal.SIGKILL if status is None else status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is called by asyncio as soon as the process runs."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        _guard.watch(transport.get_pid())

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Is called by asyncio for each piece of output."""
        _append(self._tail, data)
        if fd == 2:
            _append(self.stderr, data)
            self._split(data)
        elif len(self.stdout) + len(data) > MAX_STDOUT:
            self.overflow = True
            self.kill()
        else:
            self.stdout += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Is called by asyncio when the command closes one of its pipes."""
        if fd == 2 and self._line:
            self._split(b"\n")

    def process_exited(self) -> None:
        """Is called by asyncio when the process has ended and was reaped."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Is called by asyncio when the process has ended and its pipes are closed."""
        self._closed.set()

    def send(self, content: bytes) -> None:
        """Write to standard input and close it."""
        if self._transport and isinstance(pipe := self._transport.get_pipe_transport(0), asyncio.WriteTransport):
            pipe.write(content)
            pipe.close()

    async def drained(self) -> None:
        """Wait until everything that was printed has arrived."""
        await _within(DRAIN_SECONDS, self._closed)

    async def end(self) -> None:
        """End the process group and wait for it. A second cancellation only cuts the grace short."""
        if self._transport is None:
            return
        try:
            if not self.exited.is_set():
                self._signal(signal.SIGTERM)
                await _within(GRACE_SECONDS, self.exited)
        finally:
            self.kill()
            # Bounded, because a process that hangs in the kernel does not even end by SIGKILL.
            await _within(GRACE_SECONDS, self.exited)
            await self.drained()

    def kill(self) -> None:
        """End what is left of the process group, at once."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the pipes."""
        if self._transport:
            _guard.release(self._transport.get_pid())
            self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._transport:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), number)

    def _split(self, data: bytes) -> None:
        if self._on_line is None:
            return
        *lines, rest = re.split(rb"[\r\n]+", self._line + data)
        self._line = rest[:MAX_LINE]
        for line in lines:
            if line:
                self._on_line(_text(line[:MAX_LINE]))


def _append(kept: bytearray, data: bytes) -> None:
    kept += data
    if len(kept) > MAX_TAIL:
        del kept[:-MAX_TAIL]


def _text(printed: bytes | bytearray) -> str:
    return printed.decode(errors="replace")


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
