"""The SBOM has each locked package with its version, and the licences of the installed ones are listed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]


def test_it_covers_the_locked_set(tmp_path: Path) -> None:
    lock = ROOT / "requirements.txt"
    subprocess.run([sys.executable, ROOT / "deploy" / "sbom.py", lock, tmp_path], check=True)
    parts = json.loads((tmp_path / "sbom.cdx.json").read_text())["components"]
    locked = re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE)
    assert [(part["name"], part["version"]) for part in parts] == locked
    licences = (tmp_path / "licences.txt").read_text()
    assert "boto3" in licences
    assert "not said" not in licences
