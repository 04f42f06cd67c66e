"""The daemon over ports in memory: its loop, its drain, its health. Signals and exits: the process tests."""

import os
import time
from collections.abc import Callable

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.ports import Commits
from consumer.worker import daemon as daemon_room
from consumer.worker.calls import Call, Commit, Load, Release, Reply
from consumer.worker.daemon import Daemon
from consumer.worker.narrator import Narrator
from consumer.worker.perform import perform
from consumer.worker.stop import Stop
from tests.fakes import FakeTables
from tests.talks import Shift, stream
from tests.unit.test_narrator import Counted, Log

IMAGE = {"playerId": {"S": "foo"}, "score": {"N": "150"}, "timestamp": {"S": "2026-01-31"}}


class House:
    """A daemon with what belongs to it."""

    def __init__(self, intercept: Callable[["House", Call], Reply | None], commits: Commits | None = None) -> None:
        self.shift = Shift(streams=stream())
        self.shift.streams.write("shard-0", IMAGE)
        self.log = Log()
        self.meters = Counted()
        self.stop = Stop()

        def answer(call: Call) -> Reply:
            replied = intercept(self, call)
            return perform(call, self.shift.world) if replied is None else replied

        self.daemon = Daemon(
            self.shift.machine,
            answer,
            Narrator(self.log, self.meters),
            commits or self.shift.tables,
            self.log,
            self.stop,
            lease_ttl_seconds=60.0,
            threads=2,
        )

    def lines(self) -> list[str]:
        return [event for _, event, _ in self.log.lines]


def stop_after_commit(house: House, call: Call) -> Reply | None:
    if isinstance(call, Commit):
        house.stop.wish()
    return None


def test_it_runs_until_it_is_told_to_stop_and_drains() -> None:
    house = House(stop_after_commit)
    assert house.daemon.not_ready == ("starting: nothing has been read yet",)
    house.daemon.run()
    tables = house.shift.tables
    assert tables.board["foo"].total == 150
    assert [row.owner for row in tables.rows.values()] == [None]
    assert tables.workers == {}
    lines = house.lines()
    assert lines.index("worker.draining") < lines.index("lease.released") < lines.index("worker.summary")
    assert house.daemon.not_ready[0].startswith("draining")
    assert any(told[0] == "snapshot" for told in house.meters.told)


def test_a_wish_before_the_start_is_heard() -> None:
    house = House(lambda _house, _call: None)
    house.stop.wish()
    house.daemon.run()
    assert house.shift.tables.board == {}


def test_a_defect_leaves_the_loop() -> None:
    def broken(_house: House, call: Call) -> Reply | None:
        if isinstance(call, Commit):
            raise ZeroDivisionError("a defect")
        return None

    with pytest.raises(ZeroDivisionError, match="a defect"):
        House(broken).daemon.run()


def test_a_drain_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_room, "DRAIN_SECONDS", 0.0)

    def never_released(house: House, call: Call) -> Reply | None:
        stop_after_commit(house, call)
        return Trouble(TroubleKind.NETWORK, "down") if isinstance(call, Release) else None

    house = House(never_released)
    house.daemon.run()
    assert "worker.drain_unfinished" in house.lines()


def test_trouble_with_counting_what_is_pending_is_said_and_nothing_more() -> None:
    class Unscannable(FakeTables):
        """Its quarantine table cannot be scanned."""

        def pending(self) -> int:
            raise Trouble(TroubleKind.THROTTLED, "busy")

    house = House(stop_after_commit, commits=Unscannable())
    house.daemon._finished.set()
    house.daemon._count_pending()
    assert house.lines() == ["quarantine.count_failed"]


def test_it_is_alive_while_the_loop_turns() -> None:
    house = House(stop_after_commit)
    assert house.daemon.why_not_alive() is None
    house.daemon._turned_at = time.monotonic() - 200
    assert house.daemon.why_not_alive() == "the loop has stood still for 200 s"


def test_a_side_loop_that_dies_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    house = House(stop_after_commit)
    house.daemon._aside(broken_loop)
    assert ended == [6]
    assert house.log.lines == [
        ("critical", "worker.stalled", {"detail": "broken_loop died: ZeroDivisionError('a defect')"})
    ]


def broken_loop() -> None:
    raise ZeroDivisionError("a defect")


def test_a_loop_that_makes_no_turn_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(stop_after_commit)
    watched = house.daemon
    waits: list[float] = []

    class Finished:
        """Time that passes at once; the loop turns five times and then stands still."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            watched._turns += len(waits) <= 5
            return bool(ended)

    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(watched, "_finished", Finished())
    watched._watch()
    assert ended == [6]
    assert waits == [15.0] * (5 + 12 + 1)


def test_a_call_that_never_ends_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds a thread for ever, whatever the time-outs are."""
    house = House(stop_after_commit)
    watched = house.daemon
    waits: list[float] = []
    stuck = Load()

    class Finished:
        """Time that passes at once, while the loop turns; a thread is at the same call for ever from the third turn."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            watched._turns += 1
            monkeypatch.setitem(watched._pool._running, "data-1", stuck if len(waits) > 2 else Load())
            return bool(ended)

    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(watched, "_finished", Finished())
    watched._watch()
    assert ended == [6]
    assert len(waits) == 3 + 12 + 4 + 1, "a minute for the call itself, and three TTLs"
    assert house.log.lines[-1][2]["detail"].startswith("data-1 has made no step for 240 s in Load")
