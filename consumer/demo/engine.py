"""The embedded engine: ministack, a DynamoDB with streams in pure Python, as a process of its own."""

import os
from pathlib import Path

from consumer.demo.installation import engine_python
from consumer.demo.server import Server


class Engine(Server):
    """An empty engine on 127.0.0.1; its tables are gone when it stops."""

    name = "ministack"
    ready_path = "/_ministack/health"

    def __init__(self, python: Path | None = None) -> None:
        """`python` is an interpreter that has ministack; without one, the first start finds or makes one."""
        super().__init__()
        self._python = python

    def start(self) -> None:
        """Return once it answers; ServerError when it, or an environment for it, cannot be had."""
        if self._python is None:
            self._python = engine_python()
        super().start()

    def command(self, port: int) -> list[str]:  # noqa: ARG002  ministack takes its port from the environment
        """ministack, run by its own interpreter."""
        return [str(self._python), "-m", "ministack"]

    def environment(self, port: int) -> dict[str, str]:
        """What it needs to listen on this machine alone, and nothing of ours."""
        # Nothing else is passed on: ministack reads some dozens of variables, AWS_* and PYTHON* among them.
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
