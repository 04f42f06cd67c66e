"""The real worker, as a process of its own: started, watched by its metrics and its log, killed, stopped."""

import http.client
import json
import math
import os
import subprocess
import sys
import tempfile
from enum import StrEnum
from typing import Final

from consumer.demo import child_process

STOP_SECONDS: Final = 10.0
LOG_TAIL_CHARACTERS: Final = 3_000
LAG: Final = "leaderboard_consumer_lag_seconds "
LAG_UNKNOWN: Final = "leaderboard_consumer_lag_unknown "


class Activity(StrEnum):
    """What the process does. It is starting until it reports its lag for the first time."""

    STARTING = "starting"
    WORKING = "working"
    KILLED = "killed"
    STOPPED = "stopped"


class WorkerProcess:
    """`consumer run` on a source table. Start it from the main thread (see child_process.spawn)."""

    def __init__(self, source_table: str, worker_id: str) -> None:
        settings = {
            "CONSUMER_SOURCE_TABLE": source_table,
            "CONSUMER_WORKER_ID": worker_id,
            "CONSUMER_HTTP_PORT": "0",
            "CONSUMER_LOG_FORMAT": "json",
        }
        self.activity = Activity.STARTING
        self._port: int | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  nameless: gone with the last process that has it open
        self._process = child_process.spawn(
            [sys.executable, "-P", "-m", "consumer", "run"],  # -P: not a `consumer` in the current folder
            env=os.environ | settings,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid

    @property
    def url(self) -> str:
        """Where it serves /metrics; once it works."""
        return f"http://127.0.0.1:{self._port}"

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self.activity = Activity.KILLED
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit code; SIGKILL when it does not end in time."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.activity = Activity.STOPPED
        return self._process.returncode

    def close(self) -> None:
        """Leaves nothing of it: kills it if it has not ended."""
        self.kill()
        self._log.close()

    def lag(self) -> tuple[float, bool] | None:
        """Its lag in seconds, from /metrics, and whether it is known, not a bound; None while it reports none."""
        if self.activity in (Activity.KILLED, Activity.STOPPED):
            return None
        self._port = self._port or self._listening_port()
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
        lag, unknown = (
            next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), math.nan)
            for name in (LAG, LAG_UNKNOWN)
        )
        if math.isnan(lag):
            return None
        self.activity = Activity.WORKING
        return lag, unknown == 0

    def log_tail(self) -> str:
        """The end of its log."""
        return self._read_log()[-LOG_TAIL_CHARACTERS:].strip()

    def _listening_port(self) -> int | None:
        """The free port that it chose, from its log."""
        for line in self._read_log().splitlines():
            if '"http.listening"' in line and line.endswith("}"):
                port: int = json.loads(line)["port"]
                return port
        return None

    def _read_log(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")
