"""How operators select quarantined records, on the fakes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from consumer.cli.quarantine_filter import Selection, make_filter, select
from consumer.domain.cut import cut
from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON
from consumer.domain.quarantine import EntryState, QuarantineEntry, QuarantineFilter, Resolution
from consumer.domain.records import Reason
from consumer.domain.replies import Committed
from consumer.operations.quarantine import QuarantineService, require_state
from tests.support.builders import ARN, CREATED, ME, lease, plain_rows, poison, row, sequence_number, shard
from tests.support.commands import finish
from tests.support.fakes import FakeQuarantine, FakeTables

DAY = 86_400.0


def unwatched(entries: Iterator[QuarantineEntry], _: int) -> Iterable[QuarantineEntry]:
    return entries


@pytest.fixture
def service() -> QuarantineService:
    """Shard 0: records 999 (foo) and 1001 (bar); a day later shard 1: record 5; shard 2 has none."""
    tables = FakeTables()
    for number, at, entries in (
        (0, CREATED, [poison(999), poison(1001, reason=Reason.TIMESTAMP_INVALID)._replace(player="bar")]),
        (1, CREATED + DAY, [poison(5)._replace(player=None)]),
    ):
        tables.rows[shard(number)] = row(number, owner=ME)
        unit = cut(entries, TRIM_HORIZON, Limits(), at)
        assert tables.commit(lease(number), unit, plain_rows(unit), fills_gap=False) == Committed()
    tables.rows[shard(2)] = row(2)
    tables.quarantine["shard-0", sequence_number(999)].state = EntryState.DISCARDED
    return QuarantineService(
        FakeQuarantine(tables), tables, tables.rows.keys, lambda: "me", lambda: CREATED, lambda: "token"
    )


@pytest.mark.parametrize(
    ("filter_", "positions"),
    [
        (QuarantineFilter(), [1001, 5]),
        (QuarantineFilter(state=None), [999, 1001, 5]),
        (QuarantineFilter(state=EntryState.DISCARDED), [999]),
        (QuarantineFilter(shard="shard-1"), [5]),
        (QuarantineFilter(shard=str(shard(1))), [5]),
        (QuarantineFilter(shard="shard-2"), []),
        (QuarantineFilter(player="bar"), [1001]),
        (QuarantineFilter(reason="timestamp_invalid", state=None), [1001]),
        (QuarantineFilter(since=CREATED, until=CREATED), [1001]),
        (QuarantineFilter(since=CREATED + 0.001), [5]),
        (QuarantineFilter(until=CREATED - 0.001), []),
    ],
)
def test_selected_entries_come_by_shard_and_number(
    service: QuarantineService, filter_: QuarantineFilter, positions: list[int]
) -> None:
    selected = finish(service.select(filter_, unwatched))
    assert [entry.sequence_number for entry in selected] == [sequence_number(position) for position in positions]


def test_an_unknown_shard(service: QuarantineService) -> None:
    with pytest.raises(NotFound, match="there is no shard 'shard-3': the nearest ones are shard-"):
        finish(service.select(QuarantineFilter(shard="shard-3"), unwatched))
    with pytest.raises(NotFound, match="there is no shard 'other/shard-0'"):
        finish(service.select(QuarantineFilter(shard="other/shard-0"), unwatched))


def test_one_record(service: QuarantineService) -> None:
    for name in ("shard-0", str(shard())):
        assert finish(service.find(name, sequence_number(1001))).player == "bar"
    with pytest.raises(NotFound, match=f"of the 2 that are, the nearest one is {sequence_number(999)}"):
        finish(service.find("shard-0", sequence_number(998)))
    with pytest.raises(NotFound, match="no record of shard 'shard-2' is in quarantine"):
        finish(service.find("shard-2", "1"))
    with pytest.raises(NotFound, match="there is no shard 'other/shard-0'"):
        finish(service.find("other/shard-0", sequence_number(1001)))


def test_only_pending_records_can_be_resolved() -> None:
    entry = QuarantineEntry("shard-0", "1", "score_type", "pending", "foo", 1, stream_arn=ARN)
    require_state(entry, "no")
    with pytest.raises(UnsafeRefused, match=r"is applied already by you at then: no$"):
        require_state(replace(entry, state="applied", resolution=Resolution("you", "then")), "no")
    with pytest.raises(UnsafeRefused, match=r"is discarded already: no$"):
        require_state(replace(entry, state="discarded"), "no")
    with pytest.raises(UnsafeRefused, match="no: its row is gone"):
        require_state(None, "no")


NO_FILTERS: dict[str, str | None] = dict.fromkeys(("shard", "player", "reason", "since", "until"))


def test_filters_are_checked_together() -> None:
    with pytest.raises(UsageFault) as fault:
        make_filter({**NO_FILTERS, "reason": "x", "since": "2026-01-31", "until": "9999-12-31T23:59:59-23:59"})
    lines = str(fault.value).splitlines()
    assert lines[0].startswith("--reason: there is no reason 'x': it is one of player_missing, ")
    assert lines[1].startswith("--since is '2026-01-31': it must be an ISO time with a zone")


def test_one_record_or_filters() -> None:
    def selected(name: str | None, number: str | None, *, everything: bool = False, **filters: str | None) -> Selection:
        return select({**NO_FILTERS, "name": name, "number": number, **filters}, everything=everything)

    assert selected(None, None, player="a") == Selection(None, QuarantineFilter(player="a"))
    assert selected("shard-0", "12").one == ("shard-0", "12")
    assert selected(None, None, everything=True) == Selection(None, QuarantineFilter())
    for name, number, player in (("s", None, None), ("s", "x", None), ("s", "1", "a")):
        with pytest.raises(UsageFault):
            selected(name, number, player=player)


def test_all_records_must_be_asked_for() -> None:
    """A forgotten flag must not discard everything."""
    nothing = {**NO_FILTERS, "name": None, "number": None}
    with pytest.raises(UsageFault, match=r"which records\? .* or --all for every one that is pending"):
        select(nothing, everything=False)
    for flags, both in (
        ({"player": "a"}, "--all means every record, and --player"),
        ({"name": "s", "number": "1"}, "--all"),
    ):
        with pytest.raises(UsageFault, match=both):
            select({**nothing, **flags}, everything=True)
