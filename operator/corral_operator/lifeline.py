"""Ends a process when this one dies without having ended it itself (SIGKILL, no memory left).

A shell waits at a pipe whose other end only this process holds. However it dies, the kernel closes that end.
"""

import subprocess

_PROGRAM = 'read -r _; kill -TERM "$0"'


class Lifeline:
    """`pid` gets SIGTERM when this process dies. `release` as soon as that one has ended: its number may come again."""

    def __init__(self, pid: int) -> None:
        try:
            self._shell: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - every word is ours
                ["/bin/sh", "-c", _PROGRAM, str(pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self._shell = None  # no shell, no lifeline: nothing else depends on it

    def release(self) -> None:
        """Nobody is to be ended any more."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.kill()
            shell.wait()
            if shell.stdin is not None:
                shell.stdin.close()
