"""The handler as a process of its own: when it began and ended, and what it took."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from consumer.demo.lifeline import spawn

_ROOT = Path(__file__).parents[2]


class HandlerProcess:
    """Use it in a `with`; it is killed at the end."""

    def __init__(self, environment: Mapping[str, str], stream_arn: str, leaderboard: str, records: int) -> None:
        self._process = spawn(
            [sys.executable, "-m", "tests.bench.handler", stream_arn, leaderboard, str(records)],
            env={**environment, "PYTHONPATH": os.fspath(_ROOT)},
            stdout=subprocess.PIPE,
        )
        self._moments: dict[str, float] = {}
        self._news = threading.Condition()
        self._silent = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    @property
    def pid(self) -> int:
        return self._process.pid

    def moment(self, word: str, seconds: float) -> float:
        """When it `began` or `ended`, in unix seconds. AssertionError when that does not come."""
        with self._news:
            self._news.wait_for(lambda: word in self._moments or self._silent, seconds)
            assert word in self._moments, f"the handler has not {word} after {seconds:g} s"
            return self._moments[word]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                word, moment = line.decode().split()
                with self._news:
                    self._moments[word] = float(moment)
                    self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()
