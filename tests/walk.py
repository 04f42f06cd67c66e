"""The files of `consumer/` that one record walks through, and those of two commands: `python -m tests.walk`.

It runs the real worker, and the commands, in this process on the embedded engine, under a profiler. A record's walk
begins when GetRecords has answered with records, and ends with the log line of their commit. The list shows what ran in
each of WALKS walks: what runs beside them by chance (a heartbeat, the status of each second) is in some of them only. A
command's list shows every file of which a function ran, from its arguments to its exit code.
"""

import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import botocore.client

import consumer
from consumer.cli import app
from consumer.demo.engine import Engine
from consumer.operations.status import Verdict
from consumer.settings import load
from consumer.telemetry import logs
from consumer.wiring import worker
from tests.support.engines import TableEngine
from tests.support.processes import Game, until
from tests.support.processes.committed_shard import committed_shard

WALKS = 5
GAMES = 8
PLAYERS = 3
CODE = Path(consumer.__file__).parent
CALL_API = botocore.client.BaseClient._make_api_call.__wrapped__.__code__
"""Where every call of the SDK returns; its local `operation_name` says which call it was."""

Functions = Mapping[str, frozenset[CodeType]]
"""Functions that ran, by file (relative to the repository)."""


class Profiler:
    """Records which functions of `consumer/` run between `start` and `finish`, in every thread that begins later."""

    def __init__(self) -> None:
        self.recording = False
        self._seen: dict[str, set[CodeType]] = defaultdict(set)

    def install(self) -> None:
        """For this thread, and for those that it and others start from here on."""
        threading.setprofile(self)
        sys.setprofile(self)

    def remove(self) -> None:
        """For this thread, and for those that are still to start."""
        sys.setprofile(None)
        threading.setprofile(None)

    def start(self, frame: FrameType | None) -> None:
        """The caller's frame runs on: it belongs to what is recorded."""
        self._seen.clear()
        self.recording = True
        if frame is not None:
            self._note(frame)

    def finish(self) -> Functions:
        """What ran since `start`."""
        self.recording = False
        return {file: frozenset(codes) for file, codes in self._seen.items()}

    def __call__(self, frame: FrameType, event: str, result: Any) -> None:
        """What the interpreter calls at each call and each return."""
        if event == "return" and frame.f_code is CALL_API:
            self.replied(frame, result)
        elif self.recording and event in ("call", "return"):
            self._note(frame)
            if frame.f_back is not None:
                self._note(frame.f_back)

    def replied(self, frame: FrameType, reply: Any) -> None:
        """A call of the SDK returns. For those who measure from one on."""

    def _note(self, frame: FrameType) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if path.is_relative_to(CODE) and not code.co_name.startswith("<"):
            self._seen[str(path.relative_to(CODE.parent))].add(code)


class RecordWalks(Profiler, StringIO):
    """A profiler that is also the log's stream: it sees where a walk begins, and where it ends."""

    def __init__(self) -> None:
        Profiler.__init__(self)
        StringIO.__init__(self)
        self.lines: list[str] = []
        self.walks: list[Functions] = []

    def replied(self, frame: FrameType, reply: Any) -> None:
        """Begins a walk with a page that has records."""
        is_page = frame.f_locals["operation_name"] == "GetRecords" and reply is not None
        if is_page and not self.recording and len(self.walks) < WALKS and "SequenceNumber" in str(reply):
            self.start(frame.f_back)

    def write(self, line: str) -> int:
        """Ends the walk with the line of its commit, and the worker after the last walk."""
        self.lines.append(line)
        if '"unit.committed"' in line and self.recording:
            self.walks.append(self.finish())
            if len(self.walks) == WALKS:
                os.kill(os.getpid(), signal.SIGTERM)
        return len(line)

    def saw(self, event: str) -> bool:
        """Whether such an event was logged."""
        return any(f'"{event}"' in line for line in self.lines)

    def has(self, walks: int) -> bool:
        """Whether so many walks are complete."""
        return len(self.walks) >= walks


def record_walks() -> list[Functions]:
    """The walks of WALKS pages through a worker that has nothing else to do."""
    profiler = RecordWalks()
    with Engine() as engine, Game(TableEngine("ministack", engine.url)) as game:
        os.environ.update(game.environment(lease_ttl_seconds="300", log_level="DEBUG"))
        logs.configure("DEBUG", "json", profiler)
        player = threading.Thread(target=_play, args=(game, profiler), name="player")
        player.start()
        profiler.install()
        try:
            worker.run(load({}, needs={"stream"}))
        finally:
            profiler.remove()
            player.join()
    return profiler.walks


def _play(game: Game, profiler: RecordWalks) -> None:
    """A few games after each walk. The pauses let the worker's own start and its other work come to rest."""
    until(lambda: profiler.saw("lease.claimed"), "a worker that owns the shard")
    pause = threading.Event()
    for walk in range(1, WALKS + 1):
        pause.wait(1.5)
        game.play(GAMES, PLAYERS)
        until(partial(profiler.has, walk), f"walk {walk}")


def in_each(walks: list[Functions]) -> Functions:
    """What ran in each of these walks."""
    files = set.intersection(*(set(walk) for walk in walks))
    return {file: frozenset.intersection(*(walk[file] for walk in walks)) for file in files}


def command_walks() -> Iterator[tuple[str, Functions]]:
    """A replay that counts a shard again, and the status; the modules of both are imported before."""
    with Engine() as engine, committed_shard(TableEngine("ministack", engine.url)) as committed:
        committed.write(*(committed.game.make(f"player-{number % PLAYERS}") for number in range(GAMES)))
        os.environ.update(committed.game.environment(log_level="ERROR"))
        shard = committed.shard.shard_id
        for arguments in (["replay", shard, "--from", "TRIM_HORIZON", "--recount", "--yes"], ["status"]):
            _end(arguments[0], "--help")
            profiler = Profiler()
            profiler.install()
            try:
                profiler.start(None)
                code = _end(*arguments)
            finally:
                profiler.remove()
            assert code in (0, Verdict.NO_WORKER.exit_code), f"{arguments}: exit code {code}"
            yield " ".join(arguments), profiler.finish()


def _end(*arguments: str) -> object:
    """Runs a command, whose output is not shown; its exit code."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        try:
            app.main(arguments)
        except SystemExit as ended:
            return ended.code


def show(title: str, found: Functions) -> None:
    """Prints a line per file: how many of its functions ran, and its name."""
    print(title)
    for file in sorted(found):
        print(f"{len(found[file]):4} functions  {file}")
    print(f"{sum(map(len, found.values())):4} functions in {len(found)} files\n")


def main() -> None:
    """Prints each walk."""
    show(f"Between a page's reply and the log line of its commit, in each of {WALKS} walks:", in_each(record_walks()))
    for command, found in command_walks():
        show(f"consumer {command}:", found)


if __name__ == "__main__":
    main()
