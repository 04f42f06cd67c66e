"""A child process dies with its parent, however the parent ends. Real processes; a closed pipe shows an end."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO

import pytest

from consumer.demo import child_process

_WAIT_SECONDS = 10
# Prints its pid, then holds its end of the pipe for as long as it lives; it ends by itself should the test fail.
_CHILD = f"import os, time; print(os.getpid(), flush=True); time.sleep({3 * _WAIT_SECONDS})"
_PARENT = f"""
import sys
from consumer.demo import child_process
child = child_process.spawn([sys.executable, "-c", {_CHILD!r}], stdout=sys.stdout.fileno())
child.wait()
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child at its parent's death")


def _read_until(pipe: IO[bytes], enough: Callable[[bytes], bool]) -> bytes:
    """Read `pipe` until `enough` or until its end, whichever is first; TimeoutError when neither comes."""
    output = b""
    while not enough(output):
        if not select.select([pipe], [], [], _WAIT_SECONDS)[0]:
            raise TimeoutError(f"after {output!r} nothing came for {_WAIT_SECONDS} s")
        chunk = os.read(pipe.fileno(), 4096)
        if not chunk:
            break
        output += chunk
    return output


def _line(output: bytes) -> bool:
    return output.endswith(b"\n")


def _never(_: bytes) -> bool:
    return False


@linux_only
def test_the_child_of_a_killed_parent_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child_pid = int(_read_until(parent.stdout, _line))
        assert child_pid != parent.pid

        parent.send_signal(signal.SIGKILL)
        assert parent.wait(_WAIT_SECONDS) == -signal.SIGKILL
        assert _read_until(parent.stdout, _never) == b"", "the pipe ends when its last holder, the child, is gone"


@linux_only
def test_a_parent_that_died_too_early_leaves_no_child() -> None:
    another_pid = str(os.getppid())
    launcher = [sys.executable, "-I", "-S", child_process.__file__, another_pid, "echo", "started"]
    done = subprocess.run(launcher, check=False, capture_output=True, text=True, timeout=_WAIT_SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "parent process is gone" in done.stderr


def test_the_pid_is_the_commands_own() -> None:
    child = child_process.spawn([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert int(_read_until(child.stdout, _line)) == child.pid
        child.terminate()
        assert child.wait(_WAIT_SECONDS) == -signal.SIGTERM


def test_the_environment_is_the_one_that_was_given() -> None:
    with child_process.spawn(["/usr/bin/env"], env={"ONLY": "this"}, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        names = {line.partition(b"=")[0] for line in _read_until(child.stdout, _never).splitlines()}
        assert names - {b"LC_CTYPE"} == {b"ONLY"}, "Python may set LC_CTYPE (PEP 538)"


def test_a_command_that_is_not_there_ends_with_127() -> None:
    with child_process.spawn(["/nonexistent/command"], stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert _read_until(child.stderr, _never) == b"/nonexistent/command: No such file or directory\n"
        assert child.wait(_WAIT_SECONDS) == 127
