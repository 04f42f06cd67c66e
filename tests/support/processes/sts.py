"""STS as far as `consumer` calls it: GetCallerIdentity. No engine of the tests has it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.processes import Call

ARN = "arn:aws:sts::000000000000:assumed-role/Operator/jane"
_ANSWER = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>{ARN}</Arn><UserId>AROA:jane</UserId><Account>000000000000</Account></GetCallerIdentityResult>
<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></GetCallerIdentityResponse>"""


class Sts:
    """Use it in a `with`; it answers every request alike, and keeps the requests."""

    def __init__(self, answer: str = _ANSWER) -> None:
        self.answer = answer.encode()
        self.calls: list[Call] = []
        self._server = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sts: Sts) -> None:
        self.sts = sts
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        sts = self.server.sts
        sts.calls.append(Call(len(sts.calls), "", self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", str(len(sts.answer)))
        self.end_headers()
        self.wfile.write(sts.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent."""
