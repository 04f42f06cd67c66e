"""Which quarantined records a person means, on fakes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from consumer.cli.choose import addressed, chosen
from consumer.domain.errors import NotFound, UnsafeRefused, UsageFault
from consumer.domain.leaderboard import Limits, cut
from consumer.domain.outcomes import Committed
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import Choice, Head, Settled, State
from consumer.domain.records import Reason
from consumer.operations.ward import Ward, require_pending
from tests.builders import ARN, CREATED, ME, lease, poison, row, sequence_number, shard
from tests.fakes import FakeOperators, FakeTables

DAY = 86_400.0


def straight(heads: Iterator[Head], _: int) -> Iterable[Head]:
    return heads


@pytest.fixture
def ward() -> Ward:
    """Shard 0: records 999 (foo) and 1001 (bar); a day later shard 1: record 5; shard 2 has none."""
    tables = FakeTables()
    for number, at, entries in (
        (0, CREATED, [poison(999), poison(1001, reason=Reason.TIMESTAMP_INVALID)._replace(player="bar")]),
        (1, CREATED + DAY, [poison(5)._replace(player=None)]),
    ):
        tables.rows[shard(number)] = row(number, owner=ME)
        unit = cut(entries, TRIM_HORIZON, Limits(), at)
        assert tables.commit(lease(number), unit, frozenset(), fills_gap=False) == Committed()
    tables.rows[shard(2)] = row(2)
    tables.quarantine["shard-0", sequence_number(999)].state = State.DISCARDED
    operators = FakeOperators(tables)

    def unasked(call: object) -> object:
        raise AssertionError(call)

    return Ward(operators, unasked, tables.rows.keys, lambda: "me", lambda: CREATED, lambda: "token")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "positions"),
    [
        (Choice(), [1001, 5]),
        (Choice(state=None), [999, 1001, 5]),
        (Choice(state=State.DISCARDED), [999]),
        (Choice(shard="shard-1"), [5]),
        (Choice(shard=str(shard(1))), [5]),
        (Choice(shard="shard-2"), []),
        (Choice(player="bar"), [1001]),
        (Choice(reason="timestamp_invalid", state=None), [1001]),
        (Choice(since=CREATED, until=CREATED), [1001]),
        (Choice(since=CREATED + 0.001), [5]),
        (Choice(until=CREATED - 0.001), []),
    ],
)
def test_by_shard_and_number_what_is_chosen(ward: Ward, choice: Choice, positions: list[int]) -> None:
    picked = ward.pick(choice, straight)
    assert [head.sequence_number for head in picked] == [sequence_number(position) for position in positions]


def test_a_shard_that_nobody_knows(ward: Ward) -> None:
    with pytest.raises(NotFound, match="there is no shard 'shard-3': the nearest ones are shard-"):
        ward.pick(Choice(shard="shard-3"), straight)
    with pytest.raises(NotFound, match="there is no shard 'other/shard-0'"):
        ward.pick(Choice(shard="other/shard-0"), straight)


def test_one_record(ward: Ward) -> None:
    for name in ("shard-0", str(shard())):
        assert ward.find(name, sequence_number(1001)).player == "bar"
    with pytest.raises(NotFound, match=f"of the 2 that are, the nearest one is {sequence_number(999)}"):
        ward.find("shard-0", sequence_number(998))
    with pytest.raises(NotFound, match="no record of shard 'shard-2' is in quarantine"):
        ward.find("shard-2", "1")
    with pytest.raises(NotFound, match="there is no shard 'other/shard-0'"):
        ward.find("other/shard-0", sequence_number(1001))


def test_only_what_is_pending() -> None:
    head = Head("shard-0", "1", "score_type", "pending", "foo", 1, stream_arn=ARN)
    require_pending(head, "no")
    with pytest.raises(UnsafeRefused, match=r"is applied already by you at then: no$"):
        require_pending(replace(head, state="applied", settled=Settled("you", "then")), "no")
    with pytest.raises(UnsafeRefused, match=r"is discarded already: no$"):
        require_pending(replace(head, state="discarded"), "no")
    with pytest.raises(UnsafeRefused, match="no: its row is gone"):
        require_pending(None, "no")


def test_filters_are_checked_together() -> None:
    with pytest.raises(UsageFault) as fault:
        chosen(shard=None, player=None, reason="x", since="2026-01-31", until="9999-12-31T23:59:59-23:59")
    lines = str(fault.value).splitlines()
    assert lines[0].startswith("there is no reason 'x': it is one of player_missing, ")
    assert lines[1].startswith("--since is '2026-01-31': it must be an ISO time with a zone")


def test_one_record_or_filters() -> None:
    assert addressed(None, None, {"player": "a"}) is None
    assert addressed("shard-0", "12", {"player": None}) == ("shard-0", "12")
    for shard_name, number, filters in (("s", None, {}), ("s", "x", {}), ("s", "1", {"player": "a"})):
        with pytest.raises(UsageFault):
            addressed(shard_name, number, filters)
