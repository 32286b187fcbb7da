"""Runs one external command: own process group, deadline, streamed output, typed failure.

Only this module starts processes, except the shell of `capk.engine.guard`. It knows nothing about the commands.
"""

import asyncio
import contextlib
import errno
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from capk.engine.guard import Guard
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut, TooMuchOutput

GRACE_SECONDS: Final = 5.0
"""Time between SIGTERM and SIGKILL."""
DRAIN_SECONDS: Final = 1.0
"""How long to wait for output after the command's end: a child of the command may hold the pipes open for ever."""
MAX_TAIL: Final = 64 * 1024
"""Bytes of output kept for a failure."""
MAX_STDOUT: Final = 8 * 1024 * 1024
"""Limit of standard output in bytes. More is a failure, because truncated output would be misread."""
MAX_LINES: Final = 10_000
"""Lines passed to `on_line`. kind prints some dozens, and the output of a command that failed, which may be endless."""
MAX_LINE: Final = 4 * 1024
"""Bytes of a line passed to `on_line`; the rest of a longer line is dropped."""

_guard = Guard()


@dataclass(frozen=True)
class Output:
    """The output of a command, with undecodable bytes replaced.

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
    max_stdout: int = MAX_STDOUT,
    encoding: str = "utf-8",
) -> Output:
    """Run a command and return its output.

    env: the whole environment; None passes ours on.
    on_line: called with each of the first MAX_LINES lines of standard error as it arrives; must not raise.
    check: False also returns the output of a failure, with its exit status.
    max_stdout: limit of standard output in bytes; a command that prints more is killed and fails.
    encoding: of standard output; with latin-1, each byte is one character.
    At the deadline and on cancellation, the whole process group gets SIGTERM, 5 s later SIGKILL, and is awaited.
    Processes that a failed command left are killed; those of a successful one keep running.
    Raises CommandFailed (last 64 KiB of output; TooMuchOutput is one), CommandTimedOut, CommandMissing.
    """
    child = _Child(on_line, max_stdout)
    try:
        async with asyncio.timeout(timeout_seconds):
            await child.start(command, stdin, env)
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
        # kind exits at the first failure and leaves its concurrent engine commands running.
        child.kill()
    if child.overflow:
        raise TooMuchOutput(command, f"{child.tail}\nstandard output exceeds {max_stdout} bytes", child.exit_status)
    if check and child.exit_status != 0:
        raise CommandFailed(command, child.tail, child.exit_status)
    return Output(child.stdout.decode(encoding, errors="replace"), _text(child.stderr), child.exit_status)


class _Child:
    """One running command: collects its output in bounded memory and can end its process group."""

    def __init__(self, on_line: Callable[[str], None] | None, max_stdout: int) -> None:
        self.exited = asyncio.Event()
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.overflow = False
        self._tail = bytearray()
        self._line = b""
        self._lines_left = MAX_LINES
        self._on_line = on_line
        self._max_stdout = max_stdout
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes = contextlib.ExitStack()
        self._open: set[int] = set()
        self._closed = asyncio.Event()
        self._closed.set()

    async def start(self, command: Sequence[str], stdin: str | None, env: Mapping[str, str] | None) -> None:
        """Start the process and read its output; raises CommandMissing."""
        try:
            process = self._spawn(command, has_input=stdin is not None, env=env)
        except OSError as error:
            raise CommandMissing(command, error.strerror or str(error)) from error
        except ValueError as error:
            # An argument has a zero byte or a lone surrogate, which no process accepts.
            raise CommandMissing(command, str(error)) from error
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                self._pipes.callback(pipe.close)
        try:
            await self._connect(process, stdin)
        except OSError as error:
            raise CommandMissing(command, f"it cannot be watched: {error.strerror or error}") from error

    async def _connect(self, process: subprocess.Popen[bytes], stdin: str | None) -> None:
        """Read the output of the process, write its input, and notice its end; raises OSError."""
        loop = asyncio.get_running_loop()
        _notice_end(process, self.exited, loop)
        for number, output in ((1, process.stdout), (2, process.stderr)):
            reader, _ = await loop.connect_read_pipe(partial(_Pipe, self, number), output)
            self._pipes.callback(reader.close)
        if process.stdin and stdin is not None:
            writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
            self._pipes.callback(_abandon, writer)
            writer.write(stdin.encode())
            writer.close()

    def _spawn(
        self, command: Sequence[str], *, has_input: bool, env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        """Start the process under the guard.

        asyncio's own API returns the process only after it has connected the pipes. Until then, nothing would end the
        process if we were killed.
        """
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=pipe if has_input else nothing,
            stdout=pipe,
            stderr=pipe,
            env=env,
            start_new_session=True,
        )
        _guard.watch(self._process.pid)
        return self._process

    @property
    def tail(self) -> str:
        """The end of both outputs, in order of arrival."""
        return _text(self._tail)

    @property
    def exit_status(self) -> int:
        """0 for success, negative for a signal."""
        status = self._process.returncode if self._process else None
        return -signal.SIGKILL if status is None else status

    def begin_output(self, number: int) -> None:
        """Record that one of the outputs is being read."""
        self._open.add(number)
        self._closed.clear()

    def receive(self, number: int, data: bytes) -> None:
        """Process a chunk of output."""
        _append(self._tail, data)
        if number == 2:
            _append(self.stderr, data)
            self._split(data)
        elif len(self.stdout) + len(data) > self._max_stdout:
            self.overflow = True
            self.kill()
        else:
            self.stdout += data

    def end_output(self, number: int) -> None:
        """Record the end of one of the outputs."""
        if number == 2 and self._line:
            self._split(b"\n")
        self._open.discard(number)
        if not self._open:
            self._closed.set()

    async def drained(self) -> None:
        """Wait until all output has arrived."""
        await _within(DRAIN_SECONDS, self._closed)

    async def end(self) -> None:
        """End the process group and wait for it. A second cancellation only shortens the grace period."""
        if self._process is None:
            return
        try:
            if not self.exited.is_set():
                self._signal(signal.SIGTERM)
                await _within(GRACE_SECONDS, self.exited)
        finally:
            self.kill()
            # Bounded, because even SIGKILL does not end a process that hangs in the kernel.
            await _within(GRACE_SECONDS, self.exited)
            await self.drained()

    def kill(self) -> None:
        """Kill the rest of the process group immediately."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the pipes."""
        if self._process:
            _guard.release(self._process.pid)
            # One whose end could not be noticed would stay a zombie.
            self._process.poll()
        self._pipes.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _split(self, data: bytes) -> None:
        if self._on_line is None or not self._lines_left:
            return
        *lines, rest = re.split(rb"[\r\n]+", self._line + data)
        self._line = rest[:MAX_LINE]
        lines = lines[: self._lines_left]
        self._lines_left -= len(lines)
        for line in lines:
            if line:
                self._on_line(_text(line[:MAX_LINE]))


class _Pipe(asyncio.Protocol):
    """Passes on one of a command's outputs, 1 or 2."""

    def __init__(self, child: _Child, number: int) -> None:
        self._child = child
        self._number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio first."""
        self._child.begin_output(self._number)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio for each chunk."""
        self._child.receive(self._number, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the last writer has closed the pipe, or we have."""
        self._child.end_output(self._number)


def _notice_end(process: subprocess.Popen[bytes], ended: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Reap a process when it ends, and set the event; a thread waits if the system has no pidfd."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        _start(threading.Thread(target=_wait, args=(process, ended, loop), daemon=True))
        return

    def reap() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        process.wait()
        ended.set()

    loop.add_reader(handle, reap)


def _start(thread: threading.Thread) -> None:
    """Start a thread; raises OSError if the system allows no more."""
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error


def _wait(process: subprocess.Popen[bytes], ended: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    process.wait()
    with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
        loop.call_soon_threadsafe(ended.set)


def _abandon(writer: asyncio.WriteTransport) -> None:
    if writer.get_write_buffer_size():
        writer.abort()


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
