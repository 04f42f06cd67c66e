"""DynamoDB Local, Amazon's own engine for tests; it needs Java and the jars that `make test` fetches with Maven."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from consumer.demo.server import Server

_JARS = Path(__file__).parents[3] / ".dynamodb-local"
_OLDEST_JAVA = 17


class DynamoDBLocal(Server):
    """An empty engine; it has no option for the host and listens on every interface."""

    name = "DynamoDB Local"
    ready_path = "/"  # answers 400: unsigned

    def command(self, port: int) -> list[str]:
        return [
            "java",
            "-Xmx1g",
            "-XX:+UseSerialGC",
            "-Djava.net.preferIPv4Stack=true",
            "-cp",
            f"{jar_folder()}/*",
            "software.amazon.dynamodb.services.local.main.ServerRunner",
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-port",
            str(port),
        ]

    def environment(self, port: int) -> dict[str, str]:  # noqa: ARG002  the port is on the command line
        return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def jar_folder() -> Path:
    """`DYNAMODB_LOCAL_DIR`, else `.dynamodb-local` of this repository."""
    return Path(os.environ.get("DYNAMODB_LOCAL_DIR") or _JARS)


def what_is_missing() -> str | None:
    """Why DynamoDB Local cannot be started on this machine, or None when it can."""
    if not list(jar_folder().glob("DynamoDBLocal-*.jar")):
        return f"no DynamoDB Local jars in {jar_folder()} (`make dynamodb-local` fetches them)"
    java = shutil.which("java")
    if java is None:
        return "no java on the PATH"
    said = subprocess.run([java, "-version"], check=False, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        return f"Java {_OLDEST_JAVA} or later is needed, this one says: {said.strip()}"
    return None
