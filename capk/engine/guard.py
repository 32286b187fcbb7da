"""Ends the running commands when this process dies without a chance to do so itself (SIGKILL, out of memory).

A small shell, in a session of its own, reads from a pipe which process groups are running. The kernel closes the pipe
when this process ends, however it ends; the shell then kills the groups that are still named (K37). PR_SET_PDEATHSIG
could not do this: it reaches kind, but not the container engine's commands below kind, needs code between fork and
exec, and exists on Linux only.
"""

import atexit
import contextlib
import logging
import os
import subprocess

_SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"""

_log = logging.getLogger(__name__)


class Guard:
    """Kills the watched process groups as soon as this process is gone.

    It starts with the first group, and again if somebody ends it. Without a shell the groups go unwatched, which is
    logged.
    """

    def __init__(self, shell: str = "/bin/sh") -> None:
        self._program = shell
        self._groups: set[int] = set()
        self._shell: subprocess.Popen[bytes] | None = None
        self._refused = False

    @property
    def pid(self) -> int | None:
        """Process id of the shell, while there is one."""
        return self._shell.pid if self._shell else None

    def watch(self, group: int) -> None:
        """Have this process group killed should this process die."""
        self._groups.add(group)
        if self._shell is None or not self._tell(f"+ {group}\n"):
            self._start()

    def release(self, group: int) -> None:
        """Forget a process group: it has ended, or may outlive this process."""
        if group in self._groups:
            self._groups.remove(group)
            self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the shell; groups that are still watched are killed."""
        if (shell := self._shell) is None:
            return
        self._shell = None
        if shell.stdin:
            with contextlib.suppress(BrokenPipeError):
                shell.stdin.close()
        shell.wait()

    def _start(self) -> None:
        self.close()
        try:
            # Away from our directory and output, so that nothing waits for the shell; in a session of its own, so that
            # a Ctrl-C meant for us does not reach it.
            self._shell = subprocess.Popen(
                [self._program, "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            if not self._refused:
                _log.warning("commands would outlive a killed provider: %s cannot be started: %s", self._program, error)
            self._refused = True
            return
        atexit.register(self.close)
        self._tell("".join(f"+ {group}\n" for group in self._groups))

    def _tell(self, lines: str) -> bool:
        if self._shell is None or self._shell.stdin is None:
            return False
        try:
            os.write(self._shell.stdin.fileno(), lines.encode())
        except BrokenPipeError:
            return False
        return True
