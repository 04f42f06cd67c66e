"""The daemon over ports in memory: its loop, its drain, its health. Signals and exits: the process tests."""

import os
import time
from collections.abc import Callable

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.ports import PendingRecords
from consumer.worker import daemon as daemon_module
from consumer.worker.calls import Call, Reply, execute
from consumer.worker.daemon import Daemon, Stop
from consumer.worker.event_log import EventLog
from consumer.worker.ledger_calls import Load
from consumer.worker.shard_calls import Commit, Release
from tests.support.builders import poison
from tests.support.drivers import WorkerDriver, stream
from tests.support.fakes import FakePending, FakeTables
from tests.support.fakes.tables import Quarantined
from tests.unit.test_event_log import Log, MeterLog

IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}


class DaemonFixture:
    """A daemon over ports in memory; `intercept` may reply to a call in place of its port."""

    def __init__(
        self, intercept: Callable[["DaemonFixture", Call], Reply | None], pending: PendingRecords | None = None
    ) -> None:
        self.driver = WorkerDriver(streams=stream())
        self.driver.streams.write("shard-0", IMAGE)
        self.log = Log()
        self.meters = MeterLog()
        self.stop = Stop()

        def answer(call: Call) -> Reply:
            reply = intercept(self, call)
            return execute(call, self.driver.ports) if reply is None else reply

        self.daemon = Daemon(
            self.driver.machine,
            answer,
            EventLog(self.log, self.meters),
            pending or FakePending(self.driver.tables),
            self.log,
            self.stop,
            lease_ttl_seconds=60.0,
            threads=2,
        )

    def lines(self) -> list[str]:
        return [event for _, event, _ in self.log.lines]


def stop_after_commit(fixture: DaemonFixture, call: Call) -> Reply | None:
    if isinstance(call, Commit):
        fixture.stop.request()
    return None


def test_it_runs_until_a_stop_request_and_drains() -> None:
    fixture = DaemonFixture(stop_after_commit)
    assert fixture.daemon.not_ready == ("starting: nothing has been read yet",)
    fixture.daemon.run()
    tables = fixture.driver.tables
    assert tables.board["foo"].total == 150
    assert [row.owner for row in tables.rows.values()] == [None]
    assert tables.workers == {}
    lines = fixture.lines()
    assert lines.index("worker.draining") < lines.index("lease.released") < lines.index("worker.summary")
    assert fixture.daemon.not_ready[0].startswith("draining")
    assert any(measured[0] == "snapshot" for measured in fixture.meters.measured)


def test_a_stop_request_before_the_start_counts() -> None:
    fixture = DaemonFixture(lambda _fixture, _call: None)
    fixture.stop.request()
    fixture.daemon.run()
    assert fixture.driver.tables.board == {}


def test_a_defect_leaves_the_loop() -> None:
    def broken(_fixture: DaemonFixture, call: Call) -> Reply | None:
        if isinstance(call, Commit):
            raise ZeroDivisionError("a defect")
        return None

    with pytest.raises(ZeroDivisionError, match="a defect"):
        DaemonFixture(broken).daemon.run()


def test_a_drain_that_does_not_end_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "DRAIN_SECONDS", 0.0)

    def never_released(fixture: DaemonFixture, call: Call) -> Reply | None:
        stop_after_commit(fixture, call)
        return CallFailed(FailureKind.NETWORK, "down") if isinstance(call, Release) else None

    fixture = DaemonFixture(never_released)
    fixture.daemon.run()
    assert "worker.drain_unfinished" in fixture.lines()


def test_a_failed_count_of_pending_rows_is_logged_and_nothing_more() -> None:
    class Uncountable(FakePending):
        """Its index cannot be read."""

        def count(self) -> int:
            raise CallFailed(FailureKind.THROTTLED, "busy")

    fixture = DaemonFixture(stop_after_commit, Uncountable(FakeTables()))
    fixture.daemon._finished.set()
    fixture.daemon._count_pending()
    assert fixture.lines() == ["quarantine.count_failed"]


def test_a_count_that_succeeds_again_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Passing(FakePending):
        """Its first count fails; after the third the daemon ends."""

        counts = 0

        def count(self) -> int:
            self.counts += 1
            if self.counts == 1:
                raise CallFailed(FailureKind.THROTTLED, "busy")
            return 7

        def wait(self, _seconds: float) -> bool:
            return self.counts == 3

    pending = Passing(FakeTables())
    fixture = DaemonFixture(stop_after_commit, pending)
    monkeypatch.setattr(fixture.daemon, "_finished", pending)
    fixture.daemon._count_pending()
    assert fixture.lines() == ["quarantine.count_failed", "quarantine.count_recovered"]
    assert fixture.log.lines[1][2]["seconds"] >= 0


def test_without_an_index_pending_rows_are_counted_by_a_slow_scan_and_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once per hour, a page every two seconds, and it says so; with the index again every minute."""
    tables = FakeTables()
    tables.quarantine = {("shard-0", str(seq)): Quarantined(poison(seq), "pending", 0.0) for seq in range(3)}
    pending = FakePending(tables, indexed=False)
    fixture = DaemonFixture(stop_after_commit, pending)
    waits: list[float] = []
    counted: list[int | None] = []

    class Finished:
        """Time that passes at once. The index comes after the second scan."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            counted.append(fixture.daemon._pending)
            pending.indexed = waits.count(60.0) > 61
            return waits.count(60.0) > 63

    monkeypatch.setattr(fixture.daemon, "_finished", Finished())
    fixture.daemon._count_pending()
    page, minute = [2.0] * 3, [60.0]
    assert waits == [*page, *minute * 60, *page, *minute * 4]
    assert counted[:4] == [None, None, None, 3]
    assert fixture.log.lines == [("warning", "quarantine.index_missing", {"next": "consumer init"})] * 2


def test_it_is_alive_while_the_loop_runs() -> None:
    fixture = DaemonFixture(stop_after_commit)
    assert fixture.daemon.why_not_alive() is None
    fixture.daemon._iterated_at = time.monotonic() - 200
    assert fixture.daemon.why_not_alive() == "the loop has stood still for 200 s"


def test_it_is_not_ready_while_the_loop_stands_still() -> None:
    fixture = DaemonFixture(stop_after_commit)
    fixture.daemon.not_ready = ()
    assert fixture.daemon.why_not_ready() == []
    fixture.daemon._iterated_at = time.monotonic() - 200
    assert fixture.daemon.why_not_ready() == ["the loop has stood still for 200 s"]


def test_a_side_loop_that_dies_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    fixture = DaemonFixture(stop_after_commit)
    fixture.daemon._run_aside(broken_loop)
    assert ended == [6]
    assert fixture.log.lines == [
        ("critical", "worker.stalled", {"detail": "broken_loop died: ZeroDivisionError('a defect')"})
    ]


def broken_loop() -> None:
    raise ZeroDivisionError("a defect")


def test_a_loop_that_hangs_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = DaemonFixture(stop_after_commit)
    watched = fixture.daemon
    waits: list[float] = []

    class Finished:
        """Time that passes at once; the loop runs five times and then stands still."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            watched._iterations += len(waits) <= 5
            return bool(ended)

    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(watched, "_finished", Finished())
    watched._watch()
    assert ended == [6]
    assert waits == [15.0] * (5 + 12 + 1)


def test_a_call_that_never_ends_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds a thread for ever, whatever the time-outs are."""
    fixture = DaemonFixture(stop_after_commit)
    watched = fixture.daemon
    waits: list[float] = []
    stuck = Load()

    class Finished:
        """Time that passes at once while the loop runs; from the third round on a thread runs one call for ever."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            watched._iterations += 1
            monkeypatch.setitem(watched._pool._running, "data-1", stuck if len(waits) > 2 else Load())
            return bool(ended)

    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(watched, "_finished", Finished())
    watched._watch()
    assert ended == [6]
    assert len(waits) == 3 + 12 + 4 + 1, "a minute for the call itself, and three TTLs"
    assert fixture.log.lines[-1][2]["detail"].startswith("data-1 has made no progress for 240 s in load_ledger")
