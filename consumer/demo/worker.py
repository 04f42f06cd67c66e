"""The real worker, as a process of its own: started, watched by its metrics and its log, killed, stopped."""

import http.client
import json
import math
import os
import subprocess
import sys
import tempfile
from typing import Final

from consumer.demo import lifeline

STOP_SECONDS: Final = 10.0
_TAIL_BYTES: Final = 3_000
_LAG: Final = "leaderboard_consumer_lag_seconds "


class Worker:
    """One worker process after the other, all under the same worker id."""

    def __init__(self, source_table: str) -> None:
        self._settings = {
            "CONSUMER_SOURCE_TABLE": source_table,
            "CONSUMER_WORKER_ID": "demo",
            "CONSUMER_HTTP_PORT": "0",
            "CONSUMER_LOG_FORMAT": "json",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  nameless: gone with whoever has it open last
        self._log_from = 0

    def start(self) -> int:
        """Its pid. Call it from the main thread (see lifeline.spawn)."""
        self._port = None
        self._log_from = os.fstat(self._log.fileno()).st_size
        self._process = lifeline.spawn(
            [sys.executable, "-P", "-m", "consumer", "run"],  # -P: not a `consumer` in the folder we are in
            env=os.environ | self._settings,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self._process.pid

    def status(self) -> int | None:
        """Its exit status; None while it runs, and before the first start."""
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """SIGKILL: it is gone in the middle of whatever it did."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit status; SIGKILL when it does not end in time."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def close(self) -> None:
        """Nothing is left of it."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._log.close()

    def lag_seconds(self) -> float | None:
        """What it says of its lag on /metrics; None while it says nothing."""
        self._port = self._port or self._listening()
        if self._port is None:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        lag = next((float(line.removeprefix(_LAG)) for line in lines if line.startswith(_LAG)), math.nan)
        return None if math.isnan(lag) else lag

    def last_words(self) -> str:
        """The end of its log."""
        return self._read(max(self._log_from, os.fstat(self._log.fileno()).st_size - _TAIL_BYTES)).strip()

    def _listening(self) -> int | None:
        """The port that it picked, from its log."""
        for line in self._read(self._log_from).splitlines():
            if '"http.listening"' in line and line.endswith("}"):
                port: int = json.loads(line)["port"]
                return port
        return None

    def _read(self, start: int) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size - start, start).decode(errors="replace")
