"""Starts child processes that die with their parent, also when the parent is killed with SIGKILL.

A killed parent runs no clean-up, so on Linux the kernel does it: the child asks for SIGKILL at its parent's death
(`prctl(PR_SET_PDEATHSIG)`) and only then becomes the command. This file is also that tiny launcher: it is run by its
path, without site-packages. Elsewhere the launcher only becomes the command, and an orderly stop must do.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, NoReturn

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_COMMAND_NOT_FOUND = 127  # as shells say it


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` so that it cannot outlive this process; the pid is the command's own.

    Call it from a thread that lives as long as the child should, at best the main thread: the kernel sends the
    signal when the parent THREAD that forked ends, not when the process does (prctl(2)).

    The child reads nothing and is in a process group of its own, so that Ctrl-C reaches the parent alone, which then
    stops its children in the right order. A command that cannot be run ends with status 127 and a line on stderr.
    Children of the child are its own affair.
    """
    launcher = [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]
    return subprocess.Popen(launcher, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, process_group=0)


def follow(parent_pid: int) -> None:
    """From here on this process is killed when its parent's forking thread ends; on Linux only, elsewhere nothing.

    Ends at once with status 1 when `parent_pid` is no longer the parent.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the request: the signal will never come
        sys.exit("the parent process is gone")


def _become(argv: list[str], parent_pid: int) -> NoReturn:
    follow(parent_pid)
    # Python ignores these two, and what is ignored stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(_COMMAND_NOT_FOUND)


if __name__ == "__main__":
    _become(sys.argv[2:], parent_pid=int(sys.argv[1]))
