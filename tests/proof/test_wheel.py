"""Wheel and sdist work without the repository, in clean environments, up to an exact demo."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from consumer import __version__

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]


def _run(*command: str | Path, cwd: Path, **more: str) -> str:
    """Runs a command that cannot reach this repository, or the demo's engine in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONSUMER_"))}
    done = subprocess.run(command, cwd=cwd, env=kept | more, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_runs_in_a_clean_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, _ = built
    _run(sys.executable, "-m", "venv", "fresh", cwd=tmp_path)
    pip: list[str | Path] = [
        tmp_path / "fresh/bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    _run(*pip, "--require-hashes", "-r", ROOT / "requirements.txt", cwd=tmp_path)
    _run(*pip, "--no-deps", wheel, cwd=tmp_path)
    consumer = tmp_path / "fresh/bin/consumer"
    assert _run(consumer, "--version", cwd=tmp_path) == f"consumer {__version__}\n"
    assert "quarantine" in _run(consumer, "--help", cwd=tmp_path)
    # The demo makes the engine's environment itself, with the standard library alone.
    output = _run(
        consumer, "demo", "--games", "1500", "--players", "50", cwd=tmp_path, XDG_CACHE_HOME=f"{tmp_path}/cache"
    )
    assert "EXACT: 1,500 games of 50 players" in output
    assert list((tmp_path / "cache").glob("*/engine-*"))


def test_the_sdist_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    _run(sys.executable, "-m", "tarfile", "-e", sdist, cwd=tmp_path)
    (source,) = tmp_path.iterdir()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    (again,) = (tmp_path / "again").iterdir()
    assert _contents(again) == _contents(wheel)
    assert not [name for name in _contents(wheel) if name.startswith("tests/")]


def _contents(wheel: Path) -> dict[str, int]:
    with ZipFile(wheel) as archive:
        return {member.filename: member.CRC for member in archive.infolist()}
