"""Programs that check files under deploy/ and .github/: Prometheus' promtool and check-jsonschema."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`. Without it a test is skipped, and fails in CI."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


def promtool(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs promtool to its end."""
    return subprocess.run(
        [program("promtool"), *(os.fspath(argument) for argument in arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ROOT = Path(__file__).parents[2]


def read_yaml(name: str) -> dict[str, Any]:
    """A YAML file's only document, by its path in the repository; merge keys are resolved."""
    document: dict[str, Any] = YAML(typ="safe").load(ROOT / name)
    return document


def schema_faults(schema: str, *names: str) -> str:
    """The errors that one of check-jsonschema's own schemas (no network) finds in files; empty when none."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *names]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr
