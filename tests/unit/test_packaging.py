"""What is said twice in the packaging says the same, and the locks name no index."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from consumer.demo.engine import ENGINE_VERSION

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-engine.txt",
    "requirements-image.txt",
    "requirements-deploy.txt",
)


def _stream_starts(lock: str) -> set[str]:
    lines = (ROOT / lock).read_text().splitlines()
    return {line.removesuffix("\\").strip() for line in lines if line and line[0].isalpha()}


def test_the_engines_version_is_the_locked_one() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert groups["engine"] == [f"ministack=={ENGINE_VERSION}"]
    assert f"ministack=={ENGINE_VERSION}" in _stream_starts("requirements-engine.txt")


def test_developing_includes_running() -> None:
    assert _stream_starts("requirements.txt") <= _stream_starts("requirements-dev.txt")


def test_every_lock_is_audited() -> None:
    audited = re.search(r"^LOCKS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert audited is not None
    assert tuple(sorted(audited[1].split())) == tuple(sorted(LOCKS))


def test_the_demo_installs_the_workers_packages_and_the_engine_alone(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for lock in LOCKS:
        (tmp_path / lock).touch()
    planned = subprocess.run(["make", "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"requirements\S*\.txt", planned)) == {"requirements.txt", "requirements-engine.txt"}
    assert planned.count(" install ") == planned.count("--require-hashes") == 2


def test_the_image_has_a_python_that_is_tested() -> None:
    base = re.search(r"^ARG BASE_IMAGE=python:(\d+\.\d+)-slim-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {base[1]}" in classifiers


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "index" not in text
    assert "find-links" not in text
    assert text.count("--hash=sha256:") >= len(_stream_starts(lock)) > 0
