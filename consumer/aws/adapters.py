"""What every port is made of here: a boto3 client and the names of our tables."""

from threading import Event
from typing import Any


class WorkerAdapter:
    """For the worker, who decides himself whether and when a call is made again."""

    def __init__(self, client: Any, leases: str, leaderboard: str, quarantine: str) -> None:
        self._client = client
        self._leases = leases
        self._leaderboard = leaderboard
        self._quarantine = quarantine


class OperatorAdapter:
    """For a person's command: reads that must be tried again wait on `stop`."""

    def __init__(self, client: Any, leases: str, quarantine: str, stop: Event) -> None:
        self._client = client
        self._leases = leases
        self._quarantine = quarantine
        self._stop = stop
