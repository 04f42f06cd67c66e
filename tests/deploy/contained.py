"""Runs a command of an image as a container runtime does: read-only root, the image's user, no new privileges.

    python tests/deploy/contained.py ROOT USER:GROUP COMMAND ARGUMENT...

The network is the host's, so that a test's engine on the loopback can be reached; there is no /proc and no /dev, unlike
with a runtime. The mounts are in a namespace of their own and end with the process, which keeps its process id, its
standard streams and its environment.
"""

import ctypes
import os
import sys
from pathlib import Path

from consumer.demo import child_process

_CLONE_NEWNS = 0x20000  # <linux/sched.h>
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # <linux/mount.h>
_PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>

_libc = ctypes.CDLL(None, use_errno=True)


def main(root: str, user: str, *command: str) -> None:
    """Replaces this process by the command."""
    parent = os.getppid()
    uid, gid = map(int, user.split(":"))
    _call("unshare", _CLONE_NEWNS)
    _mount(None, "/", _MS_REC | _MS_PRIVATE)
    _mount(root, root, _MS_BIND)
    _mount(None, root, _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    child_process.follow(parent)  # only now: a change of the user resets it
    os.execve(command[0], list(command), dict(os.environ))


def _mount(source: str | None, target: str, flags: int) -> None:
    at = None if source is None else os.fsencode(source)
    _call("mount", at, os.fsencode(target), None, ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    if _libc[name](*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def as_contained(root: Path, user: str, *command: str) -> list[str]:
    """The command line that runs this file."""
    return [sys.executable, "-I", __file__, str(root), user, *command]


if __name__ == "__main__":
    main(*sys.argv[1:])
