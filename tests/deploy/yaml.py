"""Reads the YAML files under deploy/ and .github/, and holds them to the schemas that others have written."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def read_yaml(name: str) -> dict[str, Any]:
    """A file's only document, by its path in the repository; merge keys are resolved."""
    document: dict[str, Any] = YAML(typ="safe").load(ROOT / name)
    return document


def schema_faults(schema: str, *names: str) -> str:
    """What one of check-jsonschema's own schemas (no network) has against files; empty when nothing."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *names]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr
