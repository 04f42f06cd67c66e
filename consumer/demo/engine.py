"""The embedded engine, in an environment of its own: it requires another botocore than this program."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from consumer.demo.server import Server, ServerError

ENGINE_VERSION = "1.5.33"
ENGINE_VARIABLE = "CONSUMER_DEMO_ENGINE"
"""Names an interpreter that has the engine, or the `bin` folder of one; nothing is installed then."""


class Engine(Server):
    """An empty engine on 127.0.0.1; its tables are gone when it stops."""

    name = "ministack"
    ready_path = "/_ministack/health"

    def __init__(self, python: Path | None = None) -> None:
        """`python` is an interpreter that has ministack; without one, the first start finds or makes one."""
        super().__init__()
        self._python = python

    def start(self) -> None:
        """Returns once it answers. Raises ServerError when the engine, or an environment for it, is not available."""
        if self._python is None:
            self._python = engine_python()
        super().start()
        # It serves `ministack --stop`, and would outlive an engine that is killed.
        with suppress(OSError):
            Path(os.environ.get("TMPDIR", "/tmp"), f"ministack-{self.url.rpartition(':')[2]}.pid").unlink()

    def command(self, port: int) -> list[str]:  # noqa: ARG002  ministack takes its port from the environment
        """ministack, run by its own interpreter."""
        return [str(self._python), "-m", "ministack"]

    def environment(self, port: int) -> dict[str, str]:
        """What it needs to listen on this machine alone, and none of our variables."""
        # Nothing else is passed on: ministack reads dozens of variables, AWS_* and PYTHON* among them.
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        return inherited | {
            "BIND_HOST": "127.0.0.1",  # its default is every interface
            "GATEWAY_PORT": str(port),
            "SERVICES": "dynamodb,dynamodbstreams",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent",  # it would remove containers of an earlier ministack
            "LOG_LEVEL": "WARNING",
        }


def engine_python() -> Path:
    """The interpreter that has the engine: the one that CONSUMER_DEMO_ENGINE names, else one in the user's cache,
    made on first use with the standard library's venv and pip. Raises ServerError when neither is possible.
    """
    if named := os.environ.get(ENGINE_VARIABLE):
        path = Path(named)
        for python in (path, path / "python", path / "bin" / "python"):
            if python.is_file() and os.access(python, os.X_OK):
                return python.absolute()
        raise ServerError(f"{ENGINE_VARIABLE} is {path}, which is no Python interpreter and has none in it")
    environment = _cache() / f"engine-{ENGINE_VERSION}"
    if not _python(environment).exists():  # also when the Python that it was made with is gone
        _install(environment)
    return _python(environment)


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


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
        shutil.rmtree(environment, ignore_errors=True)
        folder = tempfile.TemporaryDirectory(dir=environment.parent)
    except OSError as error:
        raise ServerError(
            f"cannot write {environment.parent} ({error.strerror}): set XDG_CACHE_HOME or {ENGINE_VARIABLE}"
        ) from error
    with folder as name:
        # Made beside its place and moved there whole: an interrupted start leaves no half, two starts do not meet.
        # The engine is run as a module, so the scripts' first lines, which name the old place, do not matter.
        draft = Path(name) / "engine"
        _run([sys.executable, "-m", "venv", str(draft)], "make an environment (Debian has it in python3-venv)")
        _run([str(_python(draft)), "-m", "pip", "install", "--quiet", requirement], f"install {requirement}")
        try:
            draft.rename(environment)
        except OSError:
            if not _python(environment).exists():  # else another start was faster, and its environment is as good
                raise


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise ServerError(f"could not {purpose}:\n{done.stdout.strip()}")
