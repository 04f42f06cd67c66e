"""Where the embedded engine is installed: an environment of its own, for it pins another botocore than ours."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from consumer.demo.server import ServerError

ENGINE_VERSION = "1.5.33"
ENGINE_VARIABLE = "CONSUMER_DEMO_ENGINE"
"""Names an interpreter that has the engine, or the `bin` folder of one; nothing is installed then."""


def engine_python() -> Path:
    """The interpreter that has the engine: the one that CONSUMER_DEMO_ENGINE names, else one in the user's cache,
    made on first use with the standard library's venv and pip. ServerError when there is none to be had.
    """
    named = os.environ.get(ENGINE_VARIABLE)
    if named:
        return _named(Path(named))
    environment = _cache() / f"engine-{ENGINE_VERSION}"
    python = environment / "bin" / "python"
    if not python.exists():  # also when the Python it was made with is gone
        _install(environment)
    return python


def _named(path: Path) -> Path:
    candidates = (path, path / "python", path / "bin" / "python") if path.is_dir() else (path,)
    for python in candidates:
        if python.is_file() and os.access(python, os.X_OK):
            return python.absolute()
    raise ServerError(f"{ENGINE_VARIABLE} is {path}, which is no Python interpreter and has none in it")


def _cache() -> Path:
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = chosen if chosen.is_absolute() else Path.home() / ".cache"  # the XDG rule: relative paths do not count
    except RuntimeError as error:
        raise ServerError(
            f"no home folder to keep the embedded engine in: set XDG_CACHE_HOME or {ENGINE_VARIABLE}"
        ) from error
    return base / "leaderboard-consumer"


def _install(environment: Path) -> None:
    requirement = f"ministack=={ENGINE_VERSION}"
    print(f"Installing {requirement} (the embedded engine) once, into {environment}", file=sys.stderr)
    try:
        environment.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and moved there whole: an interrupted start leaves no half, two starts do not meet.
        # The engine is run as a module, so the scripts' first lines, which name the old place, do not matter.
        draft = Path(tempfile.mkdtemp(prefix=f"{environment.name}.", dir=environment.parent))
    except OSError as error:
        raise ServerError(
            f"cannot write {environment.parent} ({error.strerror}): set XDG_CACHE_HOME or {ENGINE_VARIABLE}"
        ) from error
    try:
        _run([sys.executable, "-m", "venv", str(draft)], "make an environment (Debian has it in python3-venv)")
        _run([str(draft / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement], f"install {requirement}")
        _put_in_place(draft, environment)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise ServerError(f"could not {purpose}:\n{done.stdout.strip()}")


def _put_in_place(draft: Path, environment: Path) -> None:
    if not (environment / "bin" / "python").exists():
        shutil.rmtree(environment, ignore_errors=True)
        try:
            draft.rename(environment)
        except OSError:
            if not (environment / "bin" / "python").exists():  # else somebody else was faster, and theirs is as good
                raise
