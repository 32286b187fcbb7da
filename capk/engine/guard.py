"""Kills the running commands if this process dies without cleanup (SIGKILL, out of memory).

A small shell, in a session of its own, reads from a pipe which process groups are running. The kernel closes the pipe
when this process ends for any reason; the shell then kills the groups that are still registered (K37). PR_SET_PDEATHSIG
would not suffice: it reaches kind, but not the container engine's commands below kind, needs code between fork and
exec, and exists only on Linux.
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

    The shell starts with the first group, and again if it was killed. Without a shell the groups are not watched, which
    is logged.
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
        """Register a process group, to be killed if this process dies."""
        self._groups.add(group)
        if self._shell is None or not self._tell(f"+ {group}\n"):
            self._start()

    def release(self, group: int) -> None:
        """Unregister a process group that has ended or may outlive this process."""
        if group in self._groups:
            self._groups.remove(group)
            self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the shell, which kills the groups that are still watched."""
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
            # It does not use our directory and output, so nothing waits for the shell. In a session of its own, it does
            # not get a Ctrl-C that is meant for us.
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
                _log.warning(
                    "Cannot start %s (%s): child processes will survive if the provider is killed.",
                    self._program,
                    error,
                )
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
