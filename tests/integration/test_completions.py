"""Shells complete commands, flags and values with the script that `consumer` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.demo.child_process import spawn

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def bash(script: str, home: Path) -> str:
    """What a script prints; it prints no errors."""
    variables = {"PATH": PATH, "HOME": os.fspath(home), "SHELL": "/bin/bash"}
    with spawn(
        ["bash", "--norc", "-c", script], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as shell:
        out, err = shell.communicate(timeout=60)
    assert (shell.returncode, err) == (0, b"")
    return out.decode()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("che", "checkpoint"),
        ("quarantine red", "redrive"),
        ("quarantine redrive --dr", "--dry-run"),
        ("top --by g", "gamesPlayed"),
        ("quarantine list --state d", "discarded"),
    ],
)
def test_what_is_typed_is_completed(typed: str, offered: str, tmp_path: Path) -> None:
    """With the script for bash, as bash itself would run it."""
    line = f"COMP_WORDS=(consumer {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))"
    source = 'eval "$(_CONSUMER_COMPLETE=bash_source consumer)"'
    script = f'{source}; {line}; _consumer_completion consumer; echo "${{COMPREPLY[@]}}"'
    assert bash(script, tmp_path).split() == [offered]
