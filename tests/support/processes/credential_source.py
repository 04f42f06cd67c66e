"""Where a worker gets its credentials in tests: a shared file, a `credential_process`, an endpoint as ECS has one."""

import json
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).parents[3]


def credentials(key: str, seconds: float) -> str:
    """What a source replies: credentials that expire in so many seconds."""
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    given = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "Expiration": expires}
    return json.dumps({**given, "SessionToken": "t", "Token": "t"})  # a process and an endpoint name it differently


class CredentialFiles:
    """A folder with the SDK's two files, and the script of a `credential_process`."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "give-credentials"
        self._config = folder / "config"
        self._shared = folder / "credentials"

    def variables(self) -> dict[str, str]:
        """The environment variables that name the files."""
        return {
            "AWS_CONFIG_FILE": os.fspath(self._config),
            "AWS_SHARED_CREDENTIALS_FILE": os.fspath(self._shared),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def share(self, key: str) -> None:
        """Writes this access key into the shared file."""
        self._shared.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    def give(self, key: str, seconds: float) -> None:
        """From now on the process prints credentials that expire in so many seconds."""
        module = "tests.support.processes.credential_source"
        self.run(f"cd '{_ROOT}' && exec '{sys.executable}' -m {module} {key} {seconds:g}")

    def run(self, command: str) -> None:
        """From now on the process runs this command of a shell."""
        self._config.write_text(f"[default]\ncredential_process = {self.script}\n")
        draft = self.script.with_suffix(".new")
        draft.write_text(f"#!/bin/sh\n{command}\n")
        draft.chmod(0o700)
        draft.replace(self.script)


class CredentialEndpoint:
    """Use it in a `with`; `hang` makes it take requests and never reply."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: in how many the credentials that it gives expire."""
        self.seconds = seconds
        self.requests = 0
        self._replies = threading.Event()
        self._replies.set()
        self._server = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.set()
        self._server.shutdown()
        self._server.server_close()

    def variables(self) -> dict[str, str]:
        """The environment variable that names it."""
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self._server.server_address[1]}/role"}

    def hang(self) -> None:
        """From now on no request is answered."""
        self._replies.clear()

    def recover(self) -> None:
        """From now on requests are answered again."""
        self._replies.set()

    def reply(self) -> bytes:
        """The reply to the next request, once there is one."""
        self.requests += 1
        self._replies.wait()
        return credentials("ROLE", self.seconds).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, endpoint: CredentialEndpoint) -> None:
        self.endpoint = endpoint
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = self.server.endpoint.reply()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""


if __name__ == "__main__":
    print(credentials(sys.argv[1], float(sys.argv[2])))
