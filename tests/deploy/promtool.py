"""Debian's Prometheus: its two programs, and what to do without them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is. Without it a test is left out on a developer's machine, and fails in CI."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


def promtool(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run(
        [program("promtool"), *(os.fspath(each) for each in arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
